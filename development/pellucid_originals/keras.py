"""keras.applications' networks. Keras computes with whichever of its backends is installed."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import UserError, first_line
from pellucid.networks.table_network import TableNetwork
from pellucid.weights.sources.table import OF_LIBRARY

NAMES = OF_LIBRARY["keras"]
# Our end points, and the layer whose output each is; what the layers of both stems are called, too.
STEM = {
    **{"Conv2d_1a_3x3": "activation", "Conv2d_2a_3x3": "activation_1", "Conv2d_2b_3x3": "activation_2"},
    **{"MaxPool_3a_3x3": "max_pooling2d", "Conv2d_3b_1x1": "activation_3", "Conv2d_4a_3x3": "activation_4"},
    "MaxPool_5a_3x3": "max_pooling2d_1",
}
ENDS: Mapping[str, Mapping[str, str]] = {
    "vgg": {"fc6": "fc1", "fc7": "fc2"},
    "resnet": {"conv1": "conv1_relu", "pool1": "pool1_pool", "PreLogits": "avg_pool"},
    "inception_v3": {
        **STEM,
        **{
            f"Mixed_{place}": f"mixed{at}"
            for at, place in enumerate(["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"])
        },
        "PreLogits": "avg_pool",
    },
    "inception_resnet_v2": {
        **STEM,
        **{"Mixed_5b": "mixed_5b", "Mixed_6a": "mixed_6a", "PreAuxLogits": "block17_20_ac", "Mixed_7a": "mixed_7a"},
        **{"Conv2d_7b_1x1": "conv_7b_ac", "PreLogits": "avg_pool"},
    },
}
LAST = "predictions"


class KerasOriginal:
    """A network of keras.applications, whose images and maps are (N, H, W, channels)."""

    def __init__(self, name: str, *, size: int, classes: int, threads: int | None = None) -> None:
        if threads:
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)  # which it reads once
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its remarks on the processor
        import keras

        if name not in NAMES:
            raise UserError(f"keras has no network {name!r}", hint=f"it has {', '.join(NAMES)}")
        self._keras = keras
        keras.backend.clear_session()  # nameless layers are counted from 0 again
        build = getattr(keras.applications, NAMES[name])
        try:
            self.net: Any = build(
                weights=None, input_shape=(size, size, 3), classes=classes, classifier_activation=None
            )
        except ValueError as cause:
            raise UserError(f"keras cannot build {name} for {size} pixels", [first_line(cause)]) from cause

    def tensors(self) -> dict[str, Tensor]:
        return {weight.path: torch.from_numpy(_array(self._keras, weight)) for weight in self.net.weights}

    def load(self, path: Path, tensors: Mapping[str, Tensor]) -> None:  # noqa: ARG002 - Keras reads the file itself
        try:
            self.net.load_weights(str(path))
        except (ValueError, OSError, KeyError) as cause:
            raise UserError(f"{path} does not fit Keras' {self.net.name}", [first_line(cause)]) from cause

    def randomise(self, seed: int) -> None:
        made = torch.Generator().manual_seed(seed)
        for weight in self.net.weights:
            shape, kind = tuple(weight.shape), weight.path.rpartition("/")[2]
            if kind in ("moving_variance", "gamma"):
                weight.assign(0.5 + 1.5 * torch.rand(shape, generator=made).numpy())
            elif kind in ("moving_mean", "beta", "bias"):
                weight.assign(0.1 * torch.randn(shape, generator=made).numpy())

    def end_points(self, ours: TableNetwork, images: Tensor) -> dict[str, Tensor]:
        places = dict(self._places(ours))
        outputs = {name: self.net.get_layer(layer).output for name, layer in places.items()}
        made = self._keras.Model(self.net.input, outputs)(_channels_last(images), training=False)
        found = {name: torch.from_numpy(_array(self._keras, value).copy()) for name, value in made.items()}
        return {name: value.permute(0, 3, 1, 2) if value.ndim == 4 else value for name, value in found.items()}

    def _places(self, ours: TableNetwork) -> Iterator[tuple[str, str]]:
        layers = [layer.name for layer in self.net.layers]
        if ours.family == "vgg":
            for stage in range(1, 6):
                yield f"conv{stage}", [name for name in layers if name.startswith(f"block{stage}_conv")][-1]
                yield f"pool{stage}", f"block{stage}_pool"
        if ours.family == "resnet":
            for stage in range(2, 6):
                yield f"conv{stage}_x", [name for name in layers if name.startswith(f"conv{stage}_")][-1]
        yield from ENDS[ours.family].items()
        yield "Logits", LAST

    def stepping(self, images: Tensor, *, backward: bool) -> Callable[[], object]:
        """Keras' compiled step: one graph, which is how fit and predict run."""
        import tensorflow

        given = tensorflow.constant(_channels_last(images))

        @tensorflow.function
        def forward() -> Any:
            return self.net(given, training=False)

        @tensorflow.function
        def both() -> Any:
            with tensorflow.GradientTape() as tape:
                loss = tensorflow.reduce_mean(tensorflow.square(self.net(given, training=True)))
            return tape.gradient(loss, self.net.trainable_variables)

        def compute() -> object:
            return [made.numpy() for made in both()] if backward else forward().numpy()

        return compute


def _channels_last(images: Tensor) -> Any:
    return images.permute(0, 2, 3, 1).contiguous().numpy()


def _array(keras: Any, value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def original(name: str, *, size: int, classes: int, threads: int | None = None) -> KerasOriginal:
    """The library's network `name` for images of `size` pixels."""
    return KerasOriginal(name, size=size, classes=classes, threads=threads)
