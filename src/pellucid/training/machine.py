"""The machine that a training runs on: its device and precision, threads, the processes that decode.

One process trains, whatever a scheduler or a launcher says of others: what it started beside this one is its own.
"""

import os

import torch

from pellucid.errors import UserError
from pellucid.images.workers import check_not_starting, may_start
from pellucid.networks.quick import keep_memory, native_bfloat16
from pellucid.training.config import Config, Machine

# Fabric reads its rank from these when it is imported, and ends where they hold no number.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_given = {name: os.environ.pop(name) for name in _RANKS if name in os.environ}
try:
    from lightning_fabric import Fabric as Fabric  # for others to import from here
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.strategies import SingleDeviceStrategy
finally:
    os.environ.update(_given)

FEW_CORES = 4  # with more, training outruns what one process can crop
MOST_WORKERS = 256  # processes, each with an interpreter of its own
MOST_THREADS = 256  # where there are not more cores than that


def check_machine(machine: Machine) -> None:
    """Take the threads that were asked for. Raises UserError for numbers that no machine bears, and where a script that
    trains is only being read by one of its own processes.
    """
    check_not_starting()
    if machine.workers is not None and machine.workers > MOST_WORKERS:
        raise UserError(
            f"{machine.workers:,} processes that decode are more than the {MOST_WORKERS} that can be had",
            hint=f"leave --workers out: this machine has {cores()} cores",
        )
    if machine.threads:
        if machine.threads > max(MOST_THREADS, os.cpu_count() or 1):
            raise UserError(
                f"{machine.threads:,} threads are more than can be had",
                hint=f"leave --machine.threads out: this machine has {cores()} cores",
            )
        torch.set_num_threads(machine.threads)


def fabric_for(config: Config) -> tuple[Fabric, str]:
    """The device and precision; "auto" takes bfloat16 where the device multiplies it itself, and float32 elsewhere."""
    device = device_for(config.machine.device)
    precision = config.machine.precision
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    if device.type == "cpu":
        keep_memory()
    fabric = Fabric(
        accelerator=device.type,
        devices=1,
        strategy=SingleDeviceStrategy(device=device),
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        plugins=[LightningEnvironment()],  # else one is chosen by what a scheduler left in the environment
    )
    fabric.launch()
    return fabric, precision


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
    if device.type == "cpu" and cores() <= FEW_CORES and decoded:
        return 0
    return min(8, cores() - 1)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
