"""A disk that is full from some write on, or may not be written to: what is told, and that nothing is lost."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.records import SCRATCH, write
from pellucid.runs.run_folder import RunFolder
from tests.pictures import make_classes

FLAGS = ["--model", "small", "--size", "32", "--epochs", "2", "--batch", "8", "--workers", "0", "--device", "cpu"]
NARROW = ["--options.width", "0.25"]


class Disk:
    """Takes `room` writes, and none after them; counts all."""

    def __init__(self, room: int, code: int = errno.ENOSPC) -> None:
        self.room, self.code, self.writes = room, code, 0

    def note(self, path: Path) -> None:
        self.writes += 1
        if self.writes > self.room:
            raise OSError(self.code, os.strerror(self.code), None if self.code == errno.ENOSPC else str(path))


class Written:
    """A file open for writing on such a disk."""

    def __init__(self, file: Any, path: Path, disk: Disk) -> None:
        self.file, self.path, self.disk = file, path, disk

    def write(self, content: Any) -> Any:
        try:
            self.disk.note(self.path)
        except OSError:
            self.file.write(content[: len(content) // 2])  # as a disk that fills up does it
            raise
        return self.file.write(content)

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextmanager
def disk(room: int) -> Iterator[Disk]:
    full, patch, opened = Disk(room), pytest.MonkeyPatch(), Path.open

    def opens(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = opened(path, mode, *arguments, **options)
        return Written(file, path, full) if set(mode) & set("wxa+") else file

    patch.setattr(Path, "open", opens)
    try:
        yield full
    finally:
        patch.undo()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFolder, int]:
    """Photographs whose pixels are cached, a run on them that nothing disturbed, and how many writes it took."""
    place = tmp_path_factory.mktemp("disk")
    make_classes(place / "photos", images=8)
    assert command(["train", str(place / "photos"), *FLAGS, *NARROW, "--runs", str(place / "before")]) == 0
    with disk(10**9) as counted:
        assert command(["train", str(place / "photos"), *FLAGS, *NARROW, "--runs", str(place / "runs")]) == 0
    return place / "photos", RunFolder(next((place / "runs").iterdir())), counted.writes


def filled(
    whole: tuple[Path, RunFolder, int], room: int, capsys: pytest.CaptureFixture[str], folder: Path = Path("runs")
) -> None:
    """Train on a disk with that much room, then resume with more: told, whole, and to the same weights."""
    photos, undisturbed, _ = whole
    with disk(room):
        code = command(["train", str(photos), *FLAGS, *NARROW, "--runs", str(folder)])
    told = capsys.readouterr()
    assert code == 2 and "no space is left on its disk" in told.err, told.err
    assert "our fault" not in told.err and "hint: free some space" in told.err
    for path in folder.rglob("*"):
        assert not SCRATCH.fullmatch(path.name), path
    runs = list(folder.iterdir()) if folder.exists() else []
    if not runs:  # it was full before there was anything to keep
        return
    [run] = [RunFolder(path) for path in runs]
    assert all(event.event for event in run.events())
    assert command(["runs", str(folder)]) == 0 and "damaged" not in capsys.readouterr().out
    if run.left() != "finished":
        assert command(["resume", str(run.path)]) == 0, capsys.readouterr().err
    elif not run.evaluation_path.exists():
        assert command(["evaluate", str(run.path)]) == 0
    assert command(["report", str(run.path)]) == 0
    capsys.readouterr()
    for name in ("model.safetensors", "last.safetensors"):
        ours, theirs = weights(run.path / name), weights(undisturbed.path / name)
        assert ours == theirs, name


def weights(path: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: array.tobytes() for name, array in load_file(path).items()}


@pytest.mark.parametrize("share", [0.0, 0.4, 0.6, 0.9])
def test_a_training_on_a_disk_that_fills_up_is_told_and_goes_on_where_there_is_room(
    whole: tuple[Path, RunFolder, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    share: float,
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(whole, int(share * whole[2]), capsys)


@pytest.mark.slow
def test_whichever_write_finds_the_disk_full(
    whole: tuple[Path, RunFolder, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for room in range(whole[2]):
        (tmp_path / str(room)).mkdir()
        monkeypatch.chdir(tmp_path / str(room))
        filled(whole, room, capsys)


@pytest.mark.parametrize(
    "verb",
    [
        ["evaluate", "run"],
        ["report", "run"],
        ["split", "photos", "parts.json"],
        ["split", "photos", "laid-out", "--how", "copy"],
        ["structure", "small", "--format", "html", "--out", "page.html"],
        ["structure", "small", "--format", "csv", "--out", "rows.csv"],
    ],
    ids=" ".join,
)
def test_every_verb_that_writes_tells_of_a_full_disk_and_changes_nothing(
    whole: tuple[Path, RunFolder, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole[1].path, "run")
    Path("photos").symlink_to(whole[0])
    if "copy" in verb:
        patch = shutil.copyfile
        monkeypatch.setattr(shutil, "copyfile", lambda *_: Disk(0).note(Path("x")) or patch)
    before, there = contents(Path("run")), {path.name for path in Path().iterdir()}
    with disk(0):
        assert command(verb) == 2
    told = capsys.readouterr()
    assert "no space is left on its disk" in told.err and "our fault" not in told.err
    assert contents(Path("run")) == before and {path.name for path in Path().iterdir()} == there
    if verb[0] == "evaluate":
        assert "accuracy" in told.out and "what was measured could not be kept" in told.err


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space is left"),
        (errno.EDQUOT, "your share of its disk is used up"),
        (errno.EROFS, "its disk can only be read"),
        (errno.EACCES, "permission is denied"),
        (errno.EIO, "reports an error"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EUCLEAN, "tructure needs cleaning"),  # in the system's own words
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace", "mkdir"])
def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, step: str
) -> None:
    path = tmp_path / "kept.json"
    path.write_text("old")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, step)), refuse)
    with pytest.raises(UserError, match=words) as refused:
        write(path, "new")
    assert str(path) in refused.value.problem
    assert contents(tmp_path) == {"kept.json": b"old"}


@pytest.mark.slow
@pytest.mark.parametrize("size", ["300k", "1000k"])
def test_a_real_disk_that_is_too_small(tmp_path: Path, size: str) -> None:
    """In a mount of our own; the check that comes first is told that there is room."""
    make_classes(tmp_path / "photos", images=8)
    (tmp_path / "small").mkdir()
    program = (
        "import shutil, types; shutil.disk_usage = lambda _: types.SimpleNamespace(free=10**12)\n"
        "from pellucid.cli.main import main; main()"
    )
    train = [sys.executable, "-c", program, "train", "photos", *FLAGS, "--runs", "small"]
    script = f'mount -t tmpfs -o size={size} tmpfs small || exit 77; "$@"; code=$?; ls -A small/*; exit $code'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *train], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    if ran.returncode in (1, 77) and "our fault" not in ran.stderr:
        pytest.skip("mounting is not permitted here")
    assert ran.returncode == 2, ran.stderr
    assert "no space is left on its disk" in ran.stderr and "free some space" in ran.stderr
