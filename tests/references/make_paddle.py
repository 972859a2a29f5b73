"""What flows in paddle.vision's networks, and a file as Paddle writes it.

uv run --with paddlepaddle python -m tests.references.make_paddle
"""

from pathlib import Path

import paddle
from tests.references.keep import keep

from pellucid_originals.paddle import PaddleOriginal

SIZES = {"resnet18": 64, "resnet50": 64, "vgg11_bn": 224, "inception_v3": 139, "inception_v1_plain": 224}


def small_files() -> None:
    """Two formats that paddle.save has had: protocol 4, and 2, which is what published files have."""
    net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 2, 3), paddle.nn.BatchNorm2D(2), paddle.nn.Linear(4, 3))
    for index, value in enumerate(net.state_dict().values()):
        count = int(paddle.numel(value))
        value.set_value(paddle.arange(count, dtype="float32").reshape(value.shape) + 100 * index)
    for protocol in (2, 4):
        paddle.save(net.state_dict(), str(Path(__file__).parent / f"small_{protocol}.pdparams"), protocol=protocol)


if __name__ == "__main__":
    for name, size in SIZES.items():
        theirs = PaddleOriginal(name, classes=7)
        keep(theirs, theirs.net.set_state_dict, "paddle", name, size=size)
    small_files()
