"""What the machine, or the container we are in, really grants: processors and memory. Not what is built into it.

A container often sees all of its host's 64 processors and may use two; with a thread on each, all wait for all.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")  # of Linux: what a container or a scheduler allows, folder by folder
MEMBERSHIP = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")


def processors() -> int:
    """How many processors this process may keep busy: at least 1.

    The least of those that it may run on (its affinity) and of the time that each control group around it allows:
    half a processor's time counts as one.
    """
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = [math.ceil(share) for share in _shares()]
    return max(1, min([ours, *allowed]))


def memory_left() -> int | None:
    """Bytes that this machine, or the container we are in, still has; None where nobody says."""
    left = []
    with suppress(OSError, ValueError, StopIteration):
        lines = MEMORY.read_text().splitlines()
        left.append(next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    for group in _groups("memory"):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):  # "max" is no number
                left.append(max(0, int((group / most).read_text()) - int((group / used).read_text())))
    return min(left, default=None)


def _shares() -> Iterator[float]:
    """The processors' time that each group allows, 1.5 for one and a half; groups without a limit say nothing."""
    for group in _groups("cpu"):
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError, ZeroDivisionError):
            allowed = int((group / "cpu.cfs_quota_us").read_text())
            if allowed > 0:
                yield allowed / int((group / "cpu.cfs_period_us").read_text())


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process is in, from the innermost outwards; of both versions.

    Within a container its own group is most often the root of what is shown.
    """
    with suppress(OSError, ValueError):
        for line in MEMBERSHIP.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = GROUPS / controllers if controllers else GROUPS
            root = root if root.is_dir() else GROUPS / controller
            place = root / name.lstrip("/")
            while place != root and root in place.parents:
                yield place
                place = place.parent
    yield GROUPS
    yield GROUPS / controller
