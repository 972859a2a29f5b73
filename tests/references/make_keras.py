"""What flows in keras.applications' networks, and files as Keras writes them.

uv run --with tensorflow-cpu python -m tests.references.make_keras
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from tests.references.keep import keep

from pellucid_originals.keras import KerasOriginal

HERE = Path(__file__).parent
SIZES = {"resnet50": 64, "vgg16": 224, "inception_v3": 139, "inception_resnet_v2": 139}


def take(theirs: KerasOriginal, arrays: Mapping[str, np.ndarray]) -> None:
    for weight in theirs.net.weights:
        weight.assign(arrays[weight.path])


def small_files() -> None:
    """One small network in every format that Keras has."""
    keras.backend.clear_session()
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv1_conv"),
            layers.BatchNormalization(name="conv1_bn"),
            layers.Conv2D(5, (1, 3), use_bias=False),
            layers.BatchNormalization(scale=False),
            layers.Flatten(),
            layers.Dense(2, name="predictions"),
        ]
    )
    for index, weight in enumerate(net.weights):
        weight.assign(np.arange(np.prod(weight.shape), dtype="float32").reshape(weight.shape) + 100 * index)
    net.save(HERE / "small.keras")
    net.save(HERE / "small.h5")
    net.save_weights(HERE / "small.weights.h5")
    with h5py.File(HERE / "small_weights_only.h5", "w") as file:
        save_weights_to_hdf5_group(file, net)


if __name__ == "__main__":
    for name, size in SIZES.items():
        theirs = KerasOriginal(name, size=size, classes=7)
        keep(theirs, partial(take, theirs), "keras", name, size=size)
    small_files()
