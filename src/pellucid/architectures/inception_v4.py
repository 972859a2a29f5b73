"""Inception V4 (Szegedy et al. 2016, arXiv:1602.07261, figures 3 to 9): V3's blocks, made uniform, and more of them."""

from pellucid.architectures.inception import AVERAGE, SHRINK, TENSORFLOW, auxiliary
from pellucid.architectures.layers import (
    Architecture,
    Branches,
    Conventions,
    Head,
    branches,
    classifier,
    conv,
    fan,
)

# Figure 3: the stem, in three blocks.
STEM_1 = branches((SHRINK,), (conv(96, 3, stride=2, pad=0),))
STEM_2 = branches(
    (conv(64, 1), conv(96, 3, pad=0)),
    (conv(64, 1), conv(64, (1, 7)), conv(64, (7, 1)), conv(96, 3, pad=0)),
)
STEM_3 = branches((conv(192, 3, stride=2, pad=0),), (SHRINK,))


def block_a() -> Branches:
    """Figure 4."""
    return branches(
        (conv(96, 1),),
        (conv(64, 1), conv(96, 3)),
        (conv(64, 1), conv(96, 3), conv(96, 3)),
        (AVERAGE, conv(96, 1)),
    )


def block_b() -> Branches:
    """Figure 5."""
    return branches(
        (conv(384, 1),),
        (conv(192, 1), conv(224, (1, 7)), conv(256, (7, 1))),
        (conv(192, 1), conv(192, (7, 1)), conv(224, (1, 7)), conv(224, (7, 1)), conv(256, (1, 7))),
        (AVERAGE, conv(128, 1)),
    )


def block_c() -> Branches:
    """Figure 6."""
    wide, high = conv(256, (1, 3)), conv(256, (3, 1))
    return branches(
        (conv(256, 1),),
        (conv(384, 1), fan(wide, high, first=1)),
        (conv(384, 1), conv(448, (3, 1)), conv(512, (1, 3)), fan(wide, high, first=3)),
        (AVERAGE, conv(256, 1)),
    )


# Figures 7 (with k = 192, l = 224, m = 256, n = 384) and 8.
REDUCE_A = branches(
    (conv(384, 3, stride=2, pad=0),),
    (conv(192, 1), conv(224, 3), conv(256, 3, stride=2, pad=0)),
    (SHRINK,),
)
REDUCE_B = branches(
    (conv(192, 1), conv(192, 3, stride=2, pad=0)),
    (conv(256, 1), conv(256, (1, 7)), conv(320, (7, 1)), conv(320, 3, stride=2, pad=0)),
    (SHRINK,),
)

INCEPTION_V4 = Architecture(
    name="inception_v4",
    family="inception_v4",
    source="Szegedy et al. 2016, arXiv:1602.07261",
    size=299,
    dropout=0.2,
    torch=Conventions(epsilon=1e-3, counted=False),
    tensorflow=TENSORFLOW,
    published=("timm",),
    heads=(Head("AuxLogits", "Mixed_6h", auxiliary("AvgPool_1a_5x5", "Conv2d_2a", "Aux_logits")),),
    rows=(
        # end point        layer                                              output at 299 px
        ("Conv2d_1a_3x3",  conv(32, 3, stride=2, pad=0),                      "149x149x32"),
        ("Conv2d_2a_3x3",  conv(32, 3, pad=0),                                "147x147x32"),
        ("Conv2d_2b_3x3",  conv(64, 3),                                       "147x147x64"),
        ("Mixed_3a",       STEM_1,                                            "73x73x160"),
        ("Mixed_4a",       STEM_2,                                            "71x71x192"),
        ("Mixed_5a",       STEM_3,                                            "35x35x384"),
        *((f"Mixed_5{letter}", block_a(),                                     "35x35x384") for letter in "bcde"),
        ("Mixed_6a",       REDUCE_A,                                          "17x17x1024"),
        *((f"Mixed_6{letter}", block_b(),                                     "17x17x1024") for letter in "bcdefgh"),
        ("Mixed_7a",       REDUCE_B,                                          "8x8x1536"),
        *((f"Mixed_7{letter}", block_c(),                                     "8x8x1536") for letter in "bcd"),
        *classifier(1536),
    ),
)  # fmt: skip
