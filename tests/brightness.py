"""A model that one can work out by hand: an image's grey level says which class it is."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pellucid.images.preprocessing import Preprocessing, normalise
from pellucid.runs.card import FORMAT, Card, Proof
from pellucid.uses.predict import Classifier

SIZE = 8  # pixels per side of every image


class Brightness:
    """An engine whose logit of `bright` is 0 for mid-grey, 4 for white, -4 for black; other classes have logit 0."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.batches: list[int] = []

    def logits_of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        self.batches.append(len(pixels))
        inputs = normalise(pixels, self.card.preprocessing)
        bright = 8 * (inputs.mean(axis=(1, 2, 3)) - 0.5)
        if self.card.one_logit:
            return bright[:, None].astype(np.float32)
        zeros = np.zeros_like(bright)
        columns = [bright if name == "bright" else zeros for name in self.card.classes]
        return np.stack(columns, axis=1).astype(np.float32)


def probability(grey: int) -> float:
    """Of `bright` against `dark`, for an image of this grey level."""
    return 1 / (1 + np.exp(-8 * (grey / 255 - 0.5)))


def card(**changes: Any) -> Card:
    values: dict[str, Any] = {
        "format": FORMAT,
        "architecture": "brightness",
        "options": {},
        "classes": ("dark", "bright"),
        "one_logit": False,
        "preprocessing": Preprocessing(
            resize=None, interpolation=None, size=SIZE, background=(255, 255, 255), mean=(0, 0, 0), std=(1, 1, 1)
        ),
        "temperature": 1.0,
        "threshold": None,
        "sure_from": None,
        "provenance": {},
        "results": (),
        "proof": Proof(image="none", pixels=(), logits={}, probabilities={}),
    }
    return Card(**values | changes)


def classifier(model: Path, **changes: Any) -> Classifier:
    """The model as if it had been opened from `model`, which is made if it is not there."""
    model.parent.mkdir(parents=True, exist_ok=True)
    if not model.is_dir():
        model.touch()
    return Classifier(Brightness(card(**changes)), model=model)


def image(grey: int) -> Image.Image:
    return Image.new("RGB", (SIZE, SIZE), (grey, grey, grey))


def save(path: Path, grey: int) -> Path:
    """An image of one grey level as a PNG; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image(grey).save(path)
    return path
