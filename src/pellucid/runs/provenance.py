"""Where a run comes from: versions, commit, machine, and whatever else decided its result."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, JsonValue

from pellucid.records import Record

PACKAGES = ("pellucid", "torch", "timm", "numpy", "pillow", "scikit-learn", "safetensors")


class LeftOut(Record):
    path: str
    reason: str


class Chosen(Record):
    """What was decided before training and is not in the configuration."""

    model_config = ConfigDict(extra="allow")

    preprocessing: dict[str, JsonValue] = Field(default_factory=dict)
    weights: dict[str, JsonValue] = Field(default_factory=dict)
    threads: int | None = Field(default=None, ge=1, le=4096)
    precision: str | None = None
    fresh_norms: tuple[str, ...] = ()  # names of batch norms whose statistics were of no image yet


class Provenance(Record):
    """What provenance.json holds, each where it is known; other keys are shown in the report and not read."""

    model_config = ConfigDict(extra="allow")

    versions: dict[str, str | None] = Field(default_factory=dict)
    commit: str | None = None
    machine: dict[str, JsonValue] = Field(default_factory=dict)
    asked: tuple[str, ...] = ()
    seed: int | None = None
    data: dict[str, JsonValue] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    chosen: Chosen = Chosen()
    config: dict[str, JsonValue] = Field(default_factory=dict)


def check(text: str, path: Path) -> dict[str, Any]:
    """The plain values in the text of provenance.json; UserError where they are of another shape."""
    Provenance.from_json(text, str(path), "put an unchanged copy in its place, or train anew")
    values: dict[str, Any] = json.loads(text)
    return values


def gather(*, device: str, precision: str) -> dict[str, Any]:
    """Versions, commit and machine as plain values. No host or user name: a report is made to be passed on."""
    return {
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES},
        "commit": commit(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
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


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
