"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556, table 1), with and without batch norm.

`fc6` averages other sizes than 224 down to 7x7 cells first, as torchvision does, so that one table serves them all.
`PreLogits` is what enters the last linear layer: `fc7` after dropout.
"""

from pellucid.architectures.layers import (
    Architecture,
    Chain,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Pool,
    Probabilities,
    Relu,
    chain,
    conv,
)

HALVE = Pool("max", 2, stride=2)


def stage(number: int, convolutions: int, out: int, *, norm: bool) -> Chain:
    """3x3 convolutions with bias (also before a batch norm: torchvision's weights have it), named as in Caffe."""
    layer = conv(out, 3, bias=True, norm=norm)
    return Chain(tuple((f"conv{number}_{i}", layer) for i in range(1, convolutions + 1)))


def vgg(name: str, depths: tuple[int, int, int, int, int], *, norm: bool) -> Architecture:
    """A column of table 1: `depths` convolutions in each of the five stages."""
    one, two, three, four, five = depths
    return Architecture(
        name=name,
        family="vgg",
        source="Simonyan & Zisserman 2014, arXiv:1409.1556",
        size=224,
        dropout=0.5,
        published=("torchvision", "timm"),
        rows=(
            # end point   layer                                                                 output at 224 px
            ("conv1",     stage(1, one, 64, norm=norm),                                         "224x224x64"),
            ("pool1",     HALVE,                                                                "112x112x64"),
            ("conv2",     stage(2, two, 128, norm=norm),                                        "112x112x128"),
            ("pool2",     HALVE,                                                                "56x56x128"),
            ("conv3",     stage(3, three, 256, norm=norm),                                      "56x56x256"),
            ("pool3",     HALVE,                                                                "28x28x256"),
            ("conv4",     stage(4, four, 512, norm=norm),                                       "28x28x512"),
            ("pool4",     HALVE,                                                                "14x14x512"),
            ("conv5",     stage(5, five, 512, norm=norm),                                       "14x14x512"),
            ("pool5",     HALVE,                                                                "7x7x512"),
            ("fc6",       chain(pool=GlobalPool(7), flatten=Flatten(), linear=Linear(4096), relu=Relu()),"4096"),
            ("fc7",       chain(dropout=Dropout(), linear=Linear(4096), relu=Relu()),           "4096"),
            ("PreLogits", Dropout(),                                                            "4096"),
            ("Logits",    Linear("classes"),                                                    "1000"),
            ("Predictions", Probabilities(),                                                    "1000"),
        ),
    )  # fmt: skip


# Columns A, B, D and E.
DEPTHS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
VGGS = tuple(
    vgg(f"{name}_bn" if norm else name, depths, norm=norm) for name, depths in DEPTHS.items() for norm in (False, True)
)
