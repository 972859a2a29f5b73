"""ResNet (He et al. 2015, arXiv:1512.03385, table 1). A stage's first unit halves the map, from conv3_x on."""

from pellucid.architectures.layers import (
    Architecture,
    Chain,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Pool,
    Probabilities,
    Residual,
    chain,
    conv,
)


def basic(out: int, *, stride: int, project: bool) -> Residual:
    """Figure 5, left: two 3x3 convolutions, and a shortcut that is projected where shapes differ."""
    steps = chain(conv1=conv(out, 3, stride), conv2=conv(out, 3, relu=False)).steps
    return Residual(steps, conv(out, 1, stride, relu=False) if project else None)


def stage(units: int, out: int, *, stride: int = 2, project: bool = True) -> Chain:
    first = basic(out, stride=stride, project=project)
    rest = basic(out, stride=1, project=False)
    return Chain(tuple((f"unit_{i}", first if i == 1 else rest) for i in range(1, units + 1)))


RESNET18 = Architecture(
    name="resnet18",
    family="resnet",
    source="He et al. 2015, arXiv:1512.03385",
    size=224,
    published=("torchvision", "timm"),
    rows=(
        # end point    layer                                                                   output at 224 px
        ("conv1",      conv(64, 7, stride=2),                                                  "112x112x64"),
        ("pool1",      Pool("max", 3, stride=2, pad=1),                                        "56x56x64"),
        ("conv2_x",    stage(2, 64, stride=1, project=False),                                  "56x56x64"),
        ("conv3_x",    stage(2, 128),                                                          "28x28x128"),
        ("conv4_x",    stage(2, 256),                                                          "14x14x256"),
        ("conv5_x",    stage(2, 512),                                                          "7x7x512"),
        ("PreLogits",  chain(pool=GlobalPool(), flatten=Flatten(), dropout=Dropout()),         "512"),
        ("Logits",     Linear("classes"),                                                      "1000"),
        ("Predictions", Probabilities(),                                                       "1000"),
    ),
)  # fmt: skip
