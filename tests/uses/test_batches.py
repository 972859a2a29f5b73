"""How many images are computed at once: fewer where a container has little memory left, and said so."""

from pathlib import Path

import pytest

from pellucid import granted
from pellucid.cli.main import run as command
from pellucid.runs.card import Card, read_card
from pellucid.uses.batches import BYTES_PER_PIXEL, batch_for, little_memory
from tests.models import photographs, saved


@pytest.fixture
def model(tmp_path: Path) -> Path:
    pytest.importorskip("torch")
    return saved(tmp_path / "model.safetensors", size=32)


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group with a limit, of which all is used but what a test leaves (cgroups(7))."""
    monkeypatch.setattr(granted, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(granted, "MEMBERSHIP", tmp_path / "membership")
    (tmp_path / "groups").mkdir()
    return tmp_path / "groups"


def leave(container: Path, left: int) -> None:
    (container / "memory.max").write_text(str(1 << 30))
    (container / "memory.current").write_text(str((1 << 30) - left))


def of_size(model: Path, size: int) -> Card:
    card = read_card(model)
    return card.model_copy(update={"preprocessing": card.preprocessing.model_copy(update={"size": size})})


@pytest.mark.parametrize(("images", "batch"), [(1000, 32), (64, 32), (20, 10), (2, 1), (0, 1)])
def test_a_batch_takes_half_of_the_memory_that_is_left(model: Path, container: Path, images: int, batch: int) -> None:
    card = of_size(model, 50)
    leave(container, images * BYTES_PER_PIXEL * 50 * 50)
    assert batch_for(card, None) == batch
    assert bool(little_memory(batch)) == (batch < 32)


def test_what_was_asked_for_is_taken(model: Path, container: Path) -> None:
    leave(container, 0)
    assert batch_for(read_card(model), 64) == 64


def test_nobody_says_how_much_there_is(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pellucid.uses.batches.memory_left", lambda: None)
    assert batch_for(read_card(model), None) == 32


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_smaller_batch_is_told(
    model: Path, container: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("class 0", "class 1"):
        photographs(tmp_path / "photos" / name, 2)
    leave(container, 2 * 3 * BYTES_PER_PIXEL * 32**2)
    assert command([verb, str(model), str(tmp_path / "photos"), "--format", "json"]) == 0
    told = capsys.readouterr()
    assert "computing 3 images at once, not 32: 0.0 GB of memory are left here (--batch sets it)" in told.err
    assert "computing" not in told.out
    assert command([verb, str(model), str(tmp_path / "photos"), "--batch", "2", "--format", "json"]) == 0
    assert "at once" not in capsys.readouterr().err
