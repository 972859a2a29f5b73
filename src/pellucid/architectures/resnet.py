"""ResNet (He et al. 2015, arXiv:1512.03385, table 1). A stage's first unit halves the map, from conv3_x on.

In units of three the 3x3 convolution has the stride, as torchvision and timm have it; the paper's and Keras' 1x1 has it
under TensorFlow's conventions.
"""

from pellucid.architectures.layers import (
    Architecture,
    Chain,
    Conventions,
    Pool,
    Residual,
    chain,
    classifier,
    conv,
)


def basic(out: int, stride: int) -> tuple[Chain, int]:
    """Figure 5, left: two 3x3 convolutions, and the channels that leave them."""
    return chain(conv1=conv(out, 3, stride), conv2=conv(out, 3, relu=False)), out


def bottleneck(out: int, stride: int) -> tuple[Chain, int]:
    """Figure 5, right: 1x1 to fewer channels, 3x3, and 1x1 to four times as many."""
    steps = chain(conv1=conv(out, 1), conv2=conv(out, 3, stride), conv3=conv(4 * out, 1, relu=False))
    return steps, 4 * out


def resnet(name: str, units: tuple[int, int, int, int], *, bottlenecks: bool) -> Architecture:
    """A column of table 1: so many units in each of the four stages."""
    unit = bottleneck if bottlenecks else basic

    def stage(count: int, out: int, *, stride: int = 2) -> Chain:
        steps, made = unit(out, stride)
        # The first unit's shortcut is projected where shapes differ: only ResNet-18's and 34's first stage is spared.
        project = None if (stride, made) == (1, 64) else conv(made, 1, stride, relu=False)
        first, rest = Residual(steps.steps, project), Residual(unit(out, 1)[0].steps)
        return Chain(tuple((f"unit_{i}", first if i == 1 else rest) for i in range(1, count + 1)))

    deep = 4 if bottlenecks else 1
    return Architecture(
        name=name,
        family="resnet",
        source="He et al. 2015, arXiv:1512.03385",
        size=224,
        tensorflow=Conventions(epsilon=1.001e-5, stride_first=True),
        published=("torchvision", "timm"),
        rows=(
            # end point    layer                                                               output at 224 px
            ("conv1",      conv(64, 7, stride=2),                                              "112x112x64"),
            ("pool1",      Pool("max", 3, stride=2, pad=1),                                    "56x56x64"),
            ("conv2_x",    stage(units[0], 64, stride=1),                                      f"56x56x{deep * 64}"),
            ("conv3_x",    stage(units[1], 128),                                               f"28x28x{deep * 128}"),
            ("conv4_x",    stage(units[2], 256),                                               f"14x14x{deep * 256}"),
            ("conv5_x",    stage(units[3], 512),                                               f"7x7x{deep * 512}"),
            *classifier(deep * 512),
        ),
    )  # fmt: skip


RESNET18 = resnet("resnet18", (2, 2, 2, 2), bottlenecks=False)
RESNET34 = resnet("resnet34", (3, 4, 6, 3), bottlenecks=False)
RESNET50 = resnet("resnet50", (3, 4, 6, 3), bottlenecks=True)
RESNET101 = resnet("resnet101", (3, 4, 23, 3), bottlenecks=True)
RESNET152 = resnet("resnet152", (3, 8, 36, 3), bottlenecks=True)
