"""A .safetensors computed by torch."""

from pathlib import Path
from typing import Any

import torch

from pellucid.engines.engine import Logits
from pellucid.errors import UserError
from pellucid.granted import processors
from pellucid.images.loading import prepare
from pellucid.images.preprocessing import Pixels, single
from pellucid.networks.quick import keep_memory, native_bfloat16, quick
from pellucid.runs.model_file import ModelFile, read_model_file


class TorchRuntime:
    """Holds the network on one device, made quick.

    On a GPU convolutions round their input to TensorFloat-32, unless float32 is asked for.
    """

    name = "torch"

    def __init__(self, model_file: ModelFile, *, device: str = "auto", precision: str | None = None) -> None:
        chosen = choose_device(device)
        self.device = str(chosen)
        self.precision = precision or ("tensorfloat32" if chosen.type == "cuda" else "float32")
        check_precision(self.precision, chosen.type)
        if chosen.type == "cpu":
            keep_memory()
        self._preprocessing = single(model_file.card.preprocessing)
        self._network = quick(model_file.network).to(chosen)

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 (N, size, size, 3) to (N, classes), or (N, 1) for one logit."""
        images = prepare(torch.from_numpy(pixels).permute(0, 3, 1, 2), self.device, self._preprocessing)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=self.precision == "tensorfloat32"):
            if self.precision == "bfloat16":
                with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                    given = self._network(images)
            else:
                given = self._network(images)
            logits: Logits = given.float().cpu().numpy()
        return logits


def open_file(path: Path, *, device: str, precision: str | None, threads: int | None) -> TorchRuntime:
    """Build the network that the card names, with the weights in the file."""
    take_threads(threads)
    return TorchRuntime(read_model_file(path), device=device, precision=precision)


def take_threads(threads: int | None) -> None:
    """Compute with so many threads; by default as many as torch wants, but no more than are granted.

    Torch knows the processors that this process may run on, and OMP_NUM_THREADS, but no container's share of time.
    """
    torch.set_num_threads(threads or min(torch.get_num_threads(), processors()))


def precisions() -> tuple[str, ...]:
    """What the best device here computes in faster than it would imitate it, the first without being asked."""
    device = choose_device("auto")
    first = ("tensorfloat32", "float32") if device.type == "cuda" else ("float32",)
    return (*first, "bfloat16") if native_bfloat16(device) else first


def check_precision(precision: str, kind: str) -> None:
    """Raises UserError for what torch does not compute in on such a device."""
    known = ("float32", "bfloat16", *(("tensorfloat32",) if kind == "cuda" else ()))
    if precision not in known:
        raise UserError(f"torch on {kind} does not compute in {precision}", hint=f"--precision {' or '.join(known)}")


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
