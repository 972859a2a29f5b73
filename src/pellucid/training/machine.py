"""The machine that a training runs on: its device and precision, threads, the processes that decode.

One process trains, whatever a scheduler or a launcher says of others: what it started beside this one is its own.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import UserError
from pellucid.granted import processors
from pellucid.images.workers import check_not_starting, may_start
from pellucid.networks.quick import keep_memory, native_bfloat16
from pellucid.training.config import Config, Machine

FEW_CORES = 4  # with more, training outruns what one process can crop
MOST_WORKERS = 256  # processes, each with an interpreter of its own
MOST_THREADS = 256  # where there are not more cores than that


@dataclass(frozen=True)
class Hardware:
    """The one device that computes, and with what numbers: in bfloat16, what torch's autocast takes for safe."""

    device: torch.device
    precision: str  # float32 or bfloat16

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()

    def forward(self, compute: Callable[[Tensor], Any], inputs: Tensor) -> Any:
        """What `compute` says of `inputs`, a tensor or several; float32 in, float32 out."""
        with self.autocast():
            said = compute(inputs.bfloat16() if self.precision == "bfloat16" else inputs)
        return said.float() if isinstance(said, Tensor) else type(said)(each.float() for each in said)

    def to(self, network: nn.Module) -> nn.Module:
        return network.to(self.device)


def check_machine(machine: Machine) -> None:
    """Take the threads that were asked for. Raises UserError for numbers that no machine bears, and where a script that
    trains is only being read by one of its own processes.
    """
    check_not_starting()
    if machine.workers is not None and machine.workers > MOST_WORKERS:
        raise UserError(
            f"{machine.workers:,} processes that decode are more than the {MOST_WORKERS} that can be had",
            hint=f"leave --workers out: there are {processors()} processors",
        )
    if machine.threads:
        if machine.threads > max(MOST_THREADS, os.cpu_count() or 1):
            raise UserError(
                f"{machine.threads:,} threads are more than can be had",
                hint=f"leave --machine.threads out: there are {processors()} processors",
            )
        torch.set_num_threads(machine.threads)


def hardware_for(config: Config) -> Hardware:
    """The device and precision; "auto" takes bfloat16 where the device multiplies it itself, and float32 elsewhere."""
    device = device_for(config.machine.device)
    precision = config.machine.precision
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    if device.type == "cpu":
        keep_memory()
    return Hardware(device, precision)


def device_for(asked: str) -> torch.device:
    """The device of that kind; "auto": the best there is. Raises UserError where there is none."""
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    if asked == "auto":
        asked = next(kind for kind, is_there in there.items() if is_there())
    if not there[asked]():
        raise UserError(f"there is no {asked.upper()} device here", hint="--device cpu, or leave --device out")
    return torch.device(asked) if asked == "cpu" else torch.device(asked, 0)


def workers_for(config: Config, *, decoded: bool, device: torch.device) -> int:
    """Processes that decode: all cores we may use but one, at most 8, since one process collects the batches.

    None where a few cores also train and nothing is left to be `decoded`: a crop takes half of a millisecond, and
    forking the process made the first epoch and the first validation take two and five times as long (2 cores).
    """
    plain = config.learning.optimizer == "solve" and (config.features.views or 1) == 1
    if not may_start() or (decoded and plain):  # what is kept and not varied needs no work
        return 0
    if config.machine.workers is not None:
        return config.machine.workers
    if device.type == "cpu" and processors() <= FEW_CORES and decoded:
        return 0
    return min(8, processors() - 1)
