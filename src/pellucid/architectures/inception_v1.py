"""Inception V1, GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842, table 1), with batch norm.

As TF-Slim and torchvision have it: 3x3 where the paper says 5x5, since the published weights need that.
"""

from pellucid.architectures.inception import TENSORFLOW
from pellucid.architectures.layers import (
    Architecture,
    Branches,
    Chain,
    Conventions,
    Dropout,
    Flatten,
    GlobalPool,
    Head,
    Linear,
    Pool,
    Relu,
    branches,
    chain,
    classifier,
    conv,
)

AROUND = Pool("max", 3, 1, pad=1)
HALVE = Pool("max", 3, stride=2, ceil=True)


def mixed(alone: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> Branches:
    """Figure 2b; the arguments are table 1's columns #1x1, #3x3 reduce and #3x3, #5x5 reduce and #5x5, pool proj."""
    return branches(
        (conv(alone, 1),),
        (conv(three[0], 1), conv(three[1], 3)),
        (conv(five[0], 1), conv(five[1], 3)),
        (AROUND, conv(pool, 1)),
    )


def head() -> Chain:
    """Section 5: 4x4 averages, 128 channels, 1024 units, 70 % dropout."""
    return chain(
        pool=GlobalPool(4),
        conv=conv(128, 1),
        flatten=Flatten(),
        fc1=Linear(1024),
        relu=Relu(),
        dropout=Dropout(0.7),
        fc2=Linear("classes"),
    )


INCEPTION_V1 = Architecture(
    name="inception_v1",
    family="inception_v1",
    source="Szegedy et al. 2014, arXiv:1409.4842",
    size=224,
    dropout=0.2,
    torch=Conventions(epsilon=1e-3),
    tensorflow=TENSORFLOW,
    published=("torchvision",),
    heads=(Head("AuxLogits_1", "Mixed_4b", head()), Head("AuxLogits_2", "Mixed_4e", head())),
    rows=(
        # end point        layer                                              output at 224 px
        ("Conv2d_1a_7x7",  conv(64, 7, stride=2),                             "112x112x64"),
        ("MaxPool_2a_3x3", HALVE,                                             "56x56x64"),
        ("Conv2d_2b_1x1",  conv(64, 1),                                       "56x56x64"),
        ("Conv2d_2c_3x3",  conv(192, 3),                                      "56x56x192"),
        ("MaxPool_3a_3x3", HALVE,                                             "28x28x192"),
        ("Mixed_3b",       mixed(64, (96, 128), (16, 32), 32),                "28x28x256"),
        ("Mixed_3c",       mixed(128, (128, 192), (32, 96), 64),              "28x28x480"),
        ("MaxPool_4a_3x3", HALVE,                                             "14x14x480"),
        ("Mixed_4b",       mixed(192, (96, 208), (16, 48), 64),               "14x14x512"),
        ("Mixed_4c",       mixed(160, (112, 224), (24, 64), 64),              "14x14x512"),
        ("Mixed_4d",       mixed(128, (128, 256), (24, 64), 64),              "14x14x512"),
        ("Mixed_4e",       mixed(112, (144, 288), (32, 64), 64),              "14x14x528"),
        ("Mixed_4f",       mixed(256, (160, 320), (32, 128), 128),            "14x14x832"),
        ("MaxPool_5a_2x2", Pool("max", 2, stride=2, ceil=True),               "7x7x832"),
        ("Mixed_5b",       mixed(256, (160, 320), (32, 128), 128),            "7x7x832"),
        ("Mixed_5c",       mixed(384, (192, 384), (48, 128), 128),            "7x7x1024"),
        *classifier(1024),
    ),
)  # fmt: skip
