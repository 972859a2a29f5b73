"""What an engine is: a model file that is open, and maps pixels to logits.

What is the same whoever computes is here and nowhere else: crops averaged, large batches taken apart, the proof.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pellucid.images.preprocessing import Pixels, cropped
from pellucid.runs.card import Card
from pellucid.runs.proof import replay

Logits = npt.NDArray[np.float32]


class Runtime(Protocol):
    """What computes a network: a library, with the file opened in it. It knows neither crops nor proofs."""

    @property
    def name(self) -> str:
        """torch, onnxruntime or openvino."""
        ...

    @property
    def precision(self) -> str:
        """What is computed in: float32, or a key of proof.TOLERANCES."""
        ...

    @property
    def device(self) -> str:
        """cpu, cuda:0."""
        ...

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 (N, size, size, 3), red first, to (N, classes), or (N, 1) for one logit.

        Of a file that prepares its images itself: (N, height, width, 3) to probabilities (N, classes).
        """
        ...


class Engine:
    """A model file that is open. On opening its proof is replayed, by what computes it and as it computes.

    The proof is of one image: what runtimes do to larger batches is left to their tests.
    """

    def __init__(self, card: Card, runtime: Runtime, path: Path) -> None:
        self.card = card
        self.runtime = runtime
        self.path = path
        self.chosen_from = ""  # why it was chosen, in words, where there was a choice
        replay(card, self.logits_of_pixels, str(path), precision=runtime.precision)

    def logits_of_pixels(self, pixels: Pixels) -> Logits:
        """uint8 (N, seen, seen, 3), as preprocessing.crop makes them, to (N, classes); (N, 1) for one logit.

        With `card.inside`, whole images of one extent (N, height, width, 3), as decode.open_image gives them.
        """
        return logits_by(self.card, self.runtime, pixels)

    def __repr__(self) -> str:
        return f"<Engine {self.words}: {self.path}>"

    @property
    def words(self) -> str:
        """Who computes, in what precision, and where: "onnxruntime, float32, cpu"."""
        precision = self.runtime.precision
        if self.card.precision not in (precision, "float32"):
            precision = f"{self.card.precision} weights, {precision}"
        return f"{self.runtime.name}, {precision}, {self.runtime.device}"


def logits_by(card: Card, runtime: Runtime, pixels: Pixels) -> Logits:
    """What `runtime` says of pixels as Engine takes them: of several crops the mean."""
    if not card.inside:
        crops = cropped(pixels, card.preprocessing)
        return np.mean([runtime.logits(crop) for crop in crops], axis=0, dtype=np.float32)
    # Logits that give the probabilities: what softmax does not show is lost.
    logs = np.log(np.clip(runtime.logits(pixels), np.finfo(np.float32).tiny, None)) * np.float32(card.temperature)
    return logs[:, 1:] - logs[:, :1] if card.one_logit else logs
