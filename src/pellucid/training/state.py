"""What training must remember between two steps, written as one file so that it is never half of two states.

Random numbers are not in it: every draw is a function of (seed, epoch, step), so there is nothing to restore.
"""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pellucid.errors import UserError
from pellucid.names import kind_of, textual
from pellucid.records import Record, write, write_json
from pellucid.runs.events import Spent
from pellucid.runs.model_file import plain_tensors
from pellucid.runs.run_folder import DAMAGED, RunFolder
from pellucid.training.optimizers import Optimizer


class Best(Record):
    epoch: int
    value: float
    loss: float


class Sums(Record):
    """Totals over the current epoch so far."""

    images: int = 0
    right: int = 0
    loss: float = 0.0
    auxiliary: float = 0.0
    waiting: float = 0.0  # seconds
    computing: float = 0.0


class Position(Record):
    """Where training stands: `epoch` full epochs, `batch` batches of the next, `step` optimiser steps in all."""

    epoch: int = Field(default=0, ge=0)
    batch: int = Field(default=0, ge=0)
    step: int = Field(default=0, ge=0)
    sums: Sums = Sums()
    best: Best | None = None
    stale: int = 0  # validations since the best
    seconds: float = 0.0  # of all sittings
    spent: Spent = Spent()
    ended: bool = False

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if bool(self.batch) != bool(self.sums.images > 0):
            raise ValueError(f"{self.batch} batches of an epoch with {self.sums.images} images")
        return self


def save_checkpoint(
    run: RunFolder, position: Position, *, network: nn.Module, optimizer: Optimizer, average: nn.Module | None
) -> None:
    """Write the state whole or not at all; checkpoint.json repeats its position for people to read."""
    tensors = _prefixed("network.", network.state_dict())
    if average is not None:
        tensors |= _prefixed("average.", average.state_dict())
    for index, slots in optimizer.slots().items():
        tensors |= _prefixed(f"optimizer.{index}.", slots)
    write(run.checkpoint, save(plain_tensors(tensors), metadata={"position": position.model_dump_json()}))
    write_json(run.path / "checkpoint.json", position.model_dump())


def load_checkpoint(run: RunFolder, *, network: nn.Module, optimizer: Optimizer, average: nn.Module | None) -> Position:
    """Put the state back into what is given; training goes on bit for bit as if it had not stopped."""
    position, tensors = _read(run)
    load_network(run, network)
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        index, _, slot = name.partition(".")
        # The optimizer keeps what it is given; what is mapped would hold the old file's room on the disk for good.
        slots.setdefault(int(index), {})[slot] = tensor.clone()
    try:
        if average is not None:
            average.load_state_dict(_under("average.", tensors))
        optimizer.restore(slots)
    except (RuntimeError, ValueError, KeyError) as cause:
        raise UserError(f"{run.checkpoint} does not fit this run's configuration", [str(cause)]) from cause
    return position


def load_network(run: RunFolder, network: nn.Module) -> None:
    """Put the network's weights back as they were at the checkpoint."""
    _, tensors = _read(run, "network.")
    try:
        network.load_state_dict(_under("network.", tensors))
    except RuntimeError as cause:
        raise UserError(f"{run.checkpoint} does not fit this run's configuration", [str(cause)]) from cause


def read_position(run: RunFolder) -> Position | None:
    """Where the run stands, or None where it has no checkpoint yet."""
    return None if kind_of(run.checkpoint) == "nothing" else _read(run, "nothing of")[0]


def _read(run: RunFolder, prefix: str = "") -> tuple[Position, dict[str, Tensor]]:
    """The checkpoint's position, and its tensors with that prefix; UserError where it is damaged."""
    path = run.checkpoint
    hint = f"{DAMAGED}; models beside it can be used as they are"
    try:
        with textual(path) as place, safe_open(place, framework="pt") as file:
            text = (file.metadata() or {}).get("position", "")
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - it is not a mapping
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as cause:
        raise UserError(f"{path} is damaged", [str(cause)], hint=hint) from cause
    return Position.from_json(text, f"the state in {path}", hint=hint), tensors


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
