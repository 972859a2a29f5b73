"""What a container grants counts, not what is built into the machine. Files as Linux writes them (cgroups(7))."""

import os
from pathlib import Path

import pytest

from pellucid import granted

MANY = set(range(64))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 64 processors and 8 GiB, whose control groups are files below the folder."""
    (tmp_path / "groups").mkdir()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: MANY, raising=False)
    monkeypatch.setattr(granted, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(granted, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(granted, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_limits_all_processors_are_granted(machine: Path) -> None:
    put(machine / "groups" / "cpu.max", "max 100000\n")
    assert granted.processors() == 64


@pytest.mark.parametrize(("limit", "processors"), [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1)])
def test_a_container_grants_a_share_of_time(machine: Path, limit: str, processors: int) -> None:
    put(machine / "groups" / "cpu.max", limit)
    assert granted.processors() == processors


def test_the_narrowest_group_around_us_counts(machine: Path) -> None:
    put(machine / "membership", "0::/slice/job/step\n")
    put(machine / "groups" / "slice" / "cpu.max", "800000 100000")
    put(machine / "groups" / "slice" / "job" / "cpu.max", "300000 100000")
    put(machine / "groups" / "slice" / "job" / "step" / "cpu.max", "max 100000")
    assert granted.processors() == 3


def test_the_first_version_of_control_groups_is_read_too(machine: Path) -> None:
    put(machine / "membership", "4:memory:/box\n2:cpu,cpuacct:/box\n")
    put(machine / "groups" / "cpu,cpuacct" / "box" / "cpu.cfs_quota_us", "400000\n")
    put(machine / "groups" / "cpu,cpuacct" / "box" / "cpu.cfs_period_us", "100000\n")
    put(machine / "groups" / "memory" / "box" / "memory.limit_in_bytes", "1000000\n")
    put(machine / "groups" / "memory" / "box" / "memory.usage_in_bytes", "400000\n")
    assert granted.processors() == 4
    assert granted.memory_left() == 600_000


def test_no_quota_of_the_first_version_is_no_limit(machine: Path) -> None:
    put(machine / "groups" / "cpu" / "cpu.cfs_quota_us", "-1\n")
    put(machine / "groups" / "cpu" / "cpu.cfs_period_us", "100000\n")
    assert granted.processors() == 64


def test_affinity_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    put(machine / "groups" / "cpu.max", "800000 100000")
    assert granted.processors() == 2


def test_memory_is_what_the_machine_and_its_groups_leave(machine: Path) -> None:
    assert granted.memory_left() == 8 << 30
    put(machine / "groups" / "memory.max", "1073741824")
    put(machine / "groups" / "memory.current", "1000000000")
    assert granted.memory_left() == 73_741_824


def test_nobody_says(machine: Path) -> None:
    (machine / "meminfo").unlink()
    put(machine / "groups" / "cpu.max", "nonsense")
    assert granted.memory_left() is None
    assert granted.processors() == 64
