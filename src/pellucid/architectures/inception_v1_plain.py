"""Inception V1 as paddle.vision publishes it: inception_v1's table with what differs there.

A 5x5 window where the paper has it; no batch norm; no ReLU but one after each block, so that the convolutions inside
a block follow each other linearly; and pooling windows that never reach beyond the edge.
"""

from dataclasses import replace

from pellucid.architectures.inception_v1 import INCEPTION_V1
from pellucid.architectures.layers import (
    Branches,
    Chain,
    Conv,
    Dropout,
    Flatten,
    Head,
    Layer,
    Linear,
    Pool,
    Relu,
    Row,
    chain,
    changed,
    conv,
    path,
)

SMALLER = {"56x56": "55x55", "28x28": "27x27", "14x14": "13x13", "7x7": "6x6"}  # maps, for want of padding
NAMES = {"MaxPool_5a_2x2": "MaxPool_5a_3x3"}


def plain(layer: Layer) -> Layer:
    match layer:
        case Conv():
            return replace(layer, norm=False, relu=False)
        case Pool(stride=2):
            return Pool("max", 3, stride=2)
        case Branches(paths=(alone, three, (name, Chain(steps=((_, few), (_, Conv() as wide)))), pooled)):
            five = path(few, replace(wide, kernel=(5, 5), pad=(2, 2)))
            return chain(join=Branches((alone, three, (name, five), pooled)), relu=Relu())
    return layer


def row(name: str, layer: Layer, output: str) -> Row:
    side, _, channels = output.rpartition("x")
    return NAMES.get(name, name), changed(layer, plain), f"{SMALLER.get(side, side)}x{channels}" if side else output


def head(**relu: Relu) -> Chain:
    """Only the first of the two has a ReLU."""
    return chain(
        pool=Pool("average", 5, stride=3),
        conv=conv(128, 1, norm=False, relu=False),
        flatten=Flatten(),
        fc1=Linear(1024),
        **relu,
        dropout=Dropout(0.7),
        fc2=Linear("classes"),
    )


INCEPTION_V1_PLAIN = replace(
    INCEPTION_V1,
    name="inception_v1_plain",
    family="inception_v1_plain",
    source="paddle.vision's GoogLeNet, after Szegedy et al. 2014, arXiv:1409.4842",
    dropout=0.4,
    published=(),
    heads=(Head("AuxLogits_1", "Mixed_4b", head(relu=Relu())), Head("AuxLogits_2", "Mixed_4e", head())),
    rows=tuple(row(*entry) for entry in INCEPTION_V1.rows),
)
