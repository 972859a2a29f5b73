"""Inception V3 (Szegedy et al. 2015, arXiv:1512.00567, table 1). Start here to understand the Inceptions.

The idea: each block looks at its input through several windows at once and joins what they see. Large windows are
factored into small ones (two 3x3 for a 5x5, a 1x7 and a 7x1 for a 7x7), which see as much for fewer multiply-adds.
The stem, the first kind of block and the auxiliary head are in inception.py, since later Inceptions have them too.
"""

from pellucid.architectures.inception import AVERAGE, SHRINK, STEM, TENSORFLOW, auxiliary, block_a
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


def block_b(mid: int) -> Branches:
    """Figure 6 with n = 7: a 7x7 factored into 1x7 and 7x1, once and twice; the earlier blocks have a smaller `mid`."""
    return branches(
        (conv(192, 1),),
        (conv(mid, 1), conv(mid, (1, 7)), conv(192, (7, 1))),
        (conv(mid, 1), conv(mid, (7, 1)), conv(mid, (1, 7)), conv(mid, (7, 1)), conv(192, (1, 7))),
        (AVERAGE, conv(192, 1)),
    )


def block_c() -> Branches:
    """Figure 7: on the smallest maps the factors stand side by side, for more channels rather than larger windows."""
    wide, high = conv(384, (1, 3)), conv(384, (3, 1))
    return branches(
        (conv(320, 1),),
        (conv(384, 1), fan(wide, high, first=1)),
        (conv(448, 1), conv(384, 3), fan(wide, high, first=2)),
        (AVERAGE, conv(192, 1)),
    )


# Figure 10: convolutions and a pooling halve the maps side by side, so that nothing is squeezed through a bottleneck.
REDUCE_A = branches(
    (conv(384, 3, stride=2, pad=0),),
    (conv(64, 1), conv(96, 3), conv(96, 3, stride=2, pad=0)),
    (SHRINK,),
)
REDUCE_B = branches(
    (conv(192, 1), conv(320, 3, stride=2, pad=0)),
    (conv(192, 1), conv(192, (1, 7)), conv(192, (7, 1)), conv(192, 3, stride=2, pad=0)),
    (SHRINK,),
)

INCEPTION_V3 = Architecture(
    name="inception_v3",
    family="inception_v3",
    source="Szegedy et al. 2015, arXiv:1512.00567",
    size=299,
    dropout=0.2,
    torch=Conventions(epsilon=1e-3),
    tensorflow=TENSORFLOW,
    published=("torchvision", "timm"),
    heads=(Head("AuxLogits", "Mixed_6e", auxiliary("AvgPool_1a_5x5", "Conv2d_2a_5x5", "Conv2d_2b_1x1")),),
    rows=(
        # end point        layer                                              output at 299 px
        *STEM,
        ("Mixed_5b",       block_a(pool=32),                                  "35x35x256"),
        ("Mixed_5c",       block_a(pool=64),                                  "35x35x288"),
        ("Mixed_5d",       block_a(pool=64),                                  "35x35x288"),
        ("Mixed_6a",       REDUCE_A,                                          "17x17x768"),
        ("Mixed_6b",       block_b(mid=128),                                  "17x17x768"),
        ("Mixed_6c",       block_b(mid=160),                                  "17x17x768"),
        ("Mixed_6d",       block_b(mid=160),                                  "17x17x768"),
        ("Mixed_6e",       block_b(mid=192),                                  "17x17x768"),
        ("Mixed_7a",       REDUCE_B,                                          "8x8x1280"),
        ("Mixed_7b",       block_c(),                                         "8x8x2048"),
        ("Mixed_7c",       block_c(),                                         "8x8x2048"),
        *classifier(2048),
    ),
)  # fmt: skip
