"""Inception V2 with batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167, appendix), as TF-Slim has it.

Its stem is a separable convolution; blocks have two 3x3 convolutions where V1 has one 5x5.
"""

from pellucid.architectures.inception import AVERAGE, TENSORFLOW
from pellucid.architectures.layers import (
    Architecture,
    Branches,
    Conventions,
    Pool,
    Separable,
    branches,
    classifier,
    conv,
)

AROUND = Pool("max", 3, 1, pad=1)
HALVE = Pool("max", 3, stride=2, ceil=True)


def mixed(
    alone: int, three: tuple[int, int], double: tuple[int, int], pool: int, *, around: Pool = AVERAGE
) -> Branches:
    """The appendix's columns: #1x1, #3x3 reduce and #3x3, double #3x3 reduce and double #3x3, pooling and its 1x1."""
    return branches(
        (conv(alone, 1),),
        (conv(three[0], 1), conv(three[1], 3)),
        (conv(double[0], 1), conv(double[1], 3), conv(double[1], 3)),
        (around, conv(pool, 1)),
    )


def halved(three: tuple[int, int], double: tuple[int, int]) -> Branches:
    """A block that passes every second row and column on."""
    return branches(
        (conv(three[0], 1), conv(three[1], 3, stride=2)),
        (conv(double[0], 1), conv(double[1], 3), conv(double[1], 3, stride=2)),
        (Pool("max", 3, stride=2, pad=1),),
    )


INCEPTION_V2 = Architecture(
    name="inception_v2",
    family="inception_v2",
    source="Ioffe & Szegedy 2015, arXiv:1502.03167, as TF-Slim's inception_v2",
    size=224,
    dropout=0.2,
    torch=Conventions(epsilon=1e-3),
    tensorflow=TENSORFLOW,
    rows=(
        # end point        layer                                              output at 224 px
        ("Conv2d_1a_7x7",  Separable(64, (7, 7), stride=2, pad=(3, 3)),       "112x112x64"),
        ("MaxPool_2a_3x3", HALVE,                                             "56x56x64"),
        ("Conv2d_2b_1x1",  conv(64, 1),                                       "56x56x64"),
        ("Conv2d_2c_3x3",  conv(192, 3),                                      "56x56x192"),
        ("MaxPool_3a_3x3", HALVE,                                             "28x28x192"),
        ("Mixed_3b",       mixed(64, (64, 64), (64, 96), 32),                 "28x28x256"),
        ("Mixed_3c",       mixed(64, (64, 96), (64, 96), 64),                 "28x28x320"),
        ("Mixed_4a",       halved((128, 160), (64, 96)),                      "14x14x576"),
        ("Mixed_4b",       mixed(224, (64, 96), (96, 128), 128),              "14x14x576"),
        ("Mixed_4c",       mixed(192, (96, 128), (96, 128), 128),             "14x14x576"),
        ("Mixed_4d",       mixed(160, (128, 160), (128, 160), 96),            "14x14x576"),
        ("Mixed_4e",       mixed(96, (128, 192), (160, 192), 96),             "14x14x576"),
        ("Mixed_5a",       halved((128, 192), (192, 256)),                    "7x7x1024"),
        ("Mixed_5b",       mixed(352, (192, 320), (160, 224), 128),           "7x7x1024"),
        ("Mixed_5c",       mixed(352, (192, 320), (192, 224), 128, around=AROUND), "7x7x1024"),
        *classifier(1024),
    ),
)  # fmt: skip
