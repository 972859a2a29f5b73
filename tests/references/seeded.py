"""Weights and an image from a seed, the same wherever NumPy is: a reference needs to keep only what flowed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SAMPLES = 64  # values kept of each end point
SEED = 3


def seeded_weights(shapes: Mapping[str, Sequence[int]], *, out_first: bool, seed: int) -> dict[str, np.ndarray]:
    """Weights for these names and shapes, such that values keep their size from layer to layer.

    `out_first`: convolutions are (out, in, height, width), as torch and Paddle keep them; otherwise out is last.
    """
    random = np.random.RandomState(seed)  # whose stream never changes from one NumPy to another
    made = {}
    for name, shape in shapes.items():
        kind = name.removesuffix(":0").replace(".", "/").rsplit("/", 1)[-1]
        if len(shape) > 1:
            inputs = np.prod(shape[1:]) if out_first and len(shape) == 4 else np.prod(shape[:-1])
            if kind == "depthwise_weights":
                inputs = shape[0] * shape[1]
            made[name] = random.standard_normal(shape) * np.sqrt(2 / inputs)
        elif kind in ("gamma", "moving_variance", "_variance", "weight"):
            made[name] = random.uniform(0.5, 1.5, shape)
        else:
            made[name] = random.standard_normal(shape) * 0.1
    return made


def seeded_image(size: int, *, seed: int) -> np.ndarray:
    """(1, size, size, 3), from -1 to 1."""
    return np.random.RandomState(seed).uniform(-1, 1, (1, size, size, 3))


def sampled(array: np.ndarray) -> np.ndarray:
    """Values spread over the whole of `array`, flattened with its channels last, and then its mean and spread."""
    flat = np.asarray(array, dtype=np.float64).ravel()
    at = np.linspace(0, flat.size - 1, SAMPLES).astype(np.int64)
    return np.concatenate([flat[at], [flat.mean(), flat.std()]])


def write(file: str, shapes: Mapping[str, Sequence[int]], size: int, end_points: Mapping[str, np.ndarray]) -> None:
    """Keep, in `file`.npz, the names and shapes of a network's tensors and samples of its end points."""
    longest = max(map(len, shapes.values()))
    np.savez_compressed(
        HERE / f"{file}.npz",
        names=np.array(list(shapes)),
        shapes=np.array([[*shape, *[0] * (longest - len(shape))] for shape in shapes.values()]),
        size=size,
        **{f"end_points/{name}": sampled(value) for name, value in end_points.items()},
    )
    print(file, len(shapes), "tensors;", {name: float(value.std().round(4)) for name, value in end_points.items()})
