"""A model file computed by torch: pixels in, logits out."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pellucid.errors import UserError
from pellucid.images.loading import prepare
from pellucid.images.preprocessing import Input, Pixels, averaged
from pellucid.networks.quick import keep_memory, quick
from pellucid.runs.card import Card
from pellucid.runs.model_file import ModelFile, prove


class TorchEngine:
    """Holds the network on one device, made quick; the proof is replayed on it as it is then, once.

    The proof is of one image: what `winograd` does to larger batches is left to its tests.
    """

    def __init__(self, model_file: ModelFile, *, device: str = "auto") -> None:
        self.card: Card = model_file.card
        self.device = choose_device(device)
        if self.device.type == "cpu":
            keep_memory()
        self._network = quick(model_file.network).to(self.device)
        with torch.backends.cudnn.flags(allow_tf32=False):
            prove(model_file, self.logits)

    def logits_of_pixels(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """uint8 (N, seen, seen, 3), as preprocessing.crop makes them, to (N, classes); (N, 1) for one logit."""
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return self._logits(prepare(batch, self.device, self.card.preprocessing))

    def logits(self, inputs: Input) -> npt.NDArray[np.float32]:
        """The same of float32 (N, 3, seen, seen), as preprocessing.prepare makes them: a proof keeps some of those."""
        return self._logits(torch.from_numpy(inputs).to(self.device))

    def _logits(self, images: torch.Tensor) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            images = images.contiguous(memory_format=torch.channels_last)
            given = averaged(self._network, images, self.card.preprocessing)
            logits: npt.NDArray[np.float32] = given.float().cpu().numpy()
        return logits


def choose_device(device: str) -> Any:
    """The torch device called `device`; "auto" is a CUDA GPU if there is one, else the processor."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as cause:  # torch asserts where it was built without the device
        raise UserError(
            f"there is no device {device!r} here", hint="auto, cpu, or cuda where there is a GPU"
        ) from cause
    return chosen
