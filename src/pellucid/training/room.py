"""Whether the disk has room for what a training writes: to find out at its end costs all that it took."""

import os
import shutil
from pathlib import Path

from torch import nn

from pellucid.errors import UserError
from pellucid.training.config import Config

SLOTS = {"adamw": 2, "sgd": 1, "solve": 0}  # numbers that an optimizer keeps of each trained weight


def check_room(place: Path, network: nn.Module, config: Config, *, trained: int, hint: str) -> None:
    """Refuse where `place`, a run's folder or the one that it will be made in, surely has too little room.

    While a file is written its old version stays: best model, checkpoint, and a second checkpoint beside it. What is
    there already counts. `trained` is the number of weights that are trained, as far as it is known.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    checkpoint = weights * (2 if config.learning.ema else 1) + 4 * trained * SLOTS.get(config.learning.optimizer, 0)
    files = [place / name for name in ("model.safetensors", "checkpoint.safetensors", "last.safetensors")]
    there = sum(file.stat().st_size for file in files if file.is_file())
    again = checkpoint if config.learning.epochs > 1 else weights
    wanted = weights + checkpoint + again - there
    existing = next(folder for folder in (place.absolute(), *place.absolute().parents) if os.path.lexists(folder))
    free = shutil.disk_usage(existing).free
    if free < wanted:
        raise UserError(
            f"{place} is on a disk with {_size(free)} free, and this training writes {_size(wanted)} there",
            hint=hint,
        )


def _size(count: int) -> str:
    return f"{max(0, count) / 1e6:,.1f} MB" if count >= 1e6 else f"{max(0, count) / 1e3:,.0f} KB"
