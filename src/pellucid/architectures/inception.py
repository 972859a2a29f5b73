"""What the Inceptions from V3 on have in common: the stem, the first block, and the auxiliary head."""

from pellucid.architectures.layers import (
    Branches,
    Chain,
    Conventions,
    Flatten,
    GlobalPool,
    Linear,
    Pool,
    Row,
    branches,
    conv,
)

AVERAGE = Pool("average", 3, 1, pad=1)
SHRINK = Pool("max", 3, stride=2)
TENSORFLOW = Conventions(epsilon=1e-3, same=True, counted=False, scaled=False)  # TF-Slim's, of V1 and V2 as well

# end point        layer                                              output at 299 px
STEM: tuple[Row, ...] = (
    ("Conv2d_1a_3x3",  conv(32, 3, stride=2, pad=0),                  "149x149x32"),
    ("Conv2d_2a_3x3",  conv(32, 3, pad=0),                            "147x147x32"),
    ("Conv2d_2b_3x3",  conv(64, 3),                                   "147x147x64"),
    ("MaxPool_3a_3x3", SHRINK,                                        "73x73x64"),
    ("Conv2d_3b_1x1",  conv(80, 1),                                   "73x73x80"),
    ("Conv2d_4a_3x3",  conv(192, 3, pad=0),                           "71x71x192"),
    ("MaxPool_5a_3x3", SHRINK,                                        "35x35x192"),
)  # fmt: skip


def block_a(*, alone: int = 64, pool: int) -> Branches:
    """V3's figure 5: 1x1, 5x5, a 5x5 factored into two 3x3, and an average."""
    return branches(
        (conv(alone, 1),),
        (conv(48, 1), conv(64, 5)),
        (conv(64, 1), conv(96, 3), conv(96, 3)),
        (AVERAGE, conv(pool, 1)),
    )


def auxiliary(average: str, wide: str, last: str) -> Chain:
    """A second classifier, whose loss keeps gradients alive (V3's figure 8). For small images its kernel shrinks.

    `average`, `wide` and `last` are TF-Slim's names of its pooling, its large convolution and its linear layer.
    """
    return Chain((
        (average, Pool("average", 5, stride=3)),
        ("Conv2d_1b_1x1", conv(128, 1)),
        (wide, conv(768, 5, pad=0, fits=True)),
        ("pool", GlobalPool()),
        ("flatten", Flatten()),
        (last, Linear("classes")),
    ))  # fmt: skip
