"""Where a run comes from: versions, commit, machine, and whatever else decided its result."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("pellucid", "torch", "timm", "lightning-fabric", "numpy", "pillow", "scikit-learn", "safetensors")


def gather(*, device: str, precision: str) -> dict[str, Any]:
    """Versions, commit and machine as plain values. No host or user name: a report is made to be passed on."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "device": device,
            "precision": precision,
        },
    }


def commit() -> str | None:
    """The commit of the checkout that pellucid runs from, `+changes` if it was edited; None for an installed copy."""
    package = Path(__file__).parents[1]
    if not (package.parents[1] / ".git").exists():
        return None
    try:
        head = _git(package, "rev-parse", "HEAD")
        return head + ("+changes" if _git(package, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(place: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(place), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return run.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
