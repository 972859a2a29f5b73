"""Inception-ResNet-v2 (Szegedy et al. 2016, arXiv:1602.07261, figures 15 to 18), as TF-Slim and timm have it.

Blocks add to their input what their branches see, scaled down (section 3.3), so that deep stacks train. Each stack of
blocks belongs to the end point that TF-Slim names after it.
"""

from pellucid.architectures.inception import SHRINK, STEM, TENSORFLOW, auxiliary, block_a
from pellucid.architectures.layers import (
    Architecture,
    Branches,
    Chain,
    Conventions,
    Head,
    Residual,
    branches,
    chain,
    classifier,
    conv,
)


def block(mixed: Branches, *, scale: float, relu: bool = True) -> Residual:
    """What the branches see, brought back to as many channels as came in, scaled and added."""
    back = conv("input", 1, bias=True, norm=False, relu=False)
    return Residual((("mixed", mixed), ("Conv2d_1x1", back)), scale=scale, relu=relu)


BLOCK_35 = branches(
    (conv(32, 1),),
    (conv(32, 1), conv(32, 3)),
    (conv(32, 1), conv(48, 3), conv(64, 3)),
)
BLOCK_17 = branches(
    (conv(192, 1),),
    (conv(128, 1), conv(160, (1, 7)), conv(192, (7, 1))),
)
BLOCK_8 = branches(
    (conv(192, 1),),
    (conv(192, 1), conv(224, (1, 3)), conv(256, (3, 1))),
)
REDUCE_A = branches(
    (conv(384, 3, stride=2, pad=0),),
    (conv(256, 1), conv(256, 3), conv(384, 3, stride=2, pad=0)),
    (SHRINK,),
)
REDUCE_B = branches(
    (conv(256, 1), conv(384, 3, stride=2, pad=0)),
    (conv(256, 1), conv(288, 3, stride=2, pad=0)),
    (conv(256, 1), conv(288, 3), conv(320, 3, stride=2, pad=0)),
    (SHRINK,),
)


def repeated(name: str, count: int, mixed: Branches, *, scale: float) -> Chain:
    return Chain(tuple((f"{name}_{i}", block(mixed, scale=scale)) for i in range(1, count + 1)))


INCEPTION_RESNET_V2 = Architecture(
    name="inception_resnet_v2",
    family="inception_resnet_v2",
    source="Szegedy et al. 2016, arXiv:1602.07261",
    size=299,
    dropout=0.2,
    torch=Conventions(epsilon=1e-3, counted=False),
    tensorflow=TENSORFLOW,
    published=("timm",),
    heads=(Head("AuxLogits", "PreAuxLogits", auxiliary("Conv2d_1a_3x3", "Conv2d_2a_5x5", "Logits")),),
    rows=(
        # end point        layer                                                            output at 299 px
        *STEM,
        ("Mixed_5b",       block_a(alone=96, pool=64),                                          "35x35x320"),
        ("Mixed_6a",       chain(Repeat=repeated("block35", 10, BLOCK_35, scale=0.17),
                                 Mixed_6a=REDUCE_A),                                        "17x17x1088"),
        ("PreAuxLogits",   chain(Repeat_1=repeated("block17", 20, BLOCK_17, scale=0.10)),   "17x17x1088"),
        ("Mixed_7a",       REDUCE_B,                                                        "8x8x2080"),
        ("Conv2d_7b_1x1",  chain(Repeat_2=repeated("block8", 9, BLOCK_8, scale=0.20),
                                 Block8=block(BLOCK_8, scale=1.0, relu=False),
                                 Conv2d_7b_1x1=conv(1536, 1)),                              "8x8x1536"),
        *classifier(1536),
    ),
)  # fmt: skip
