"""From a model's path to the engine that computes it. Torch is imported only where the model needs it."""

from os import PathLike
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pellucid.errors import UserError
from pellucid.images.preprocessing import Pixels
from pellucid.runs.card import Card
from pellucid.runs.run_folder import locate


class Engine(Protocol):
    """What maps pixels to logits."""

    @property
    def card(self) -> Card: ...

    def logits_of_pixels(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """uint8 (N, seen, seen, 3), as preprocessing.crop makes them, to (N, classes); (N, 1) for one logit."""
        ...


def open_engine(model: str | PathLike[str], *, device: str = "auto") -> Engine:
    """Open a run folder's best model file, or a .safetensors; its proof is replayed on opening.

    `device`: "auto", "cpu", "cuda", "cuda:1". Raises UserError for what is not there, is no model file, was changed
    after it was saved, or asks for a device that is not here.
    """
    path = locate(model)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is not a model", hint="a model is a run folder or a .safetensors file")

    from pellucid.engines.torch_engine import TorchEngine
    from pellucid.runs.model_file import read_model_file

    return TorchEngine(read_model_file(path), device=device)
