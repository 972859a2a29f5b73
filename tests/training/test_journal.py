"""The loss of every batch is kept, once, whatever interrupts a training; what happens can be followed as it happens."""

from pathlib import Path
from typing import Any

import pytest

import pellucid as pl
from pellucid.interruption import Interruption
from pellucid.runs.events import BatchLosses, Epoch
from pellucid.runs.run_folder import open_run
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"model": "small", "size": 32, "epochs": 2, "batch": 4, "train": "20", "workers": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


def by_batch(events: Any) -> dict[tuple[int, int], float]:
    return {
        (event.epoch, number): loss
        for event in events
        if isinstance(event, BatchLosses)
        for number, loss in enumerate(event.losses, start=event.first)
    }


def test_what_happens_can_be_followed_as_it_happens(photos: Path, tmp_path: Path) -> None:
    events = list(pl.train_events(pl.configure(photos, **QUICK, log_every=2, runs=tmp_path)))
    progress = [event for event in events if event.event == "progress" and event.phase == "train"]
    kept = by_batch(events)
    assert list(kept) == [(epoch, batch) for epoch in (1, 2) for batch in range(1, 6)]  # 20 images, 4 a batch
    # A batch's own loss, not the mean so far; and the epoch's is the mean of its batches, which are of one size.
    assert [event.loss for event in progress] == pytest.approx(list(kept.values()), rel=1e-5)
    for done in (event for event in events if isinstance(event, Epoch)):
        own = [loss for (epoch, _), loss in kept.items() if epoch == done.epoch]
        assert done.loss == pytest.approx(sum(own) / 5, rel=1e-5)
    told = [(event.epoch, event.first + len(event.losses) - 1) for event in events if getattr(event, "told", False)]
    assert told == [(1, 2), (1, 4), (2, 2), (2, 4)]
    (run,) = tmp_path.iterdir()
    assert by_batch(open_run(run).events()) == kept


def test_a_resumed_run_has_each_batch_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pl.train(photos, **QUICK, runs=tmp_path / "whole")
    steps = iter(range(1000))
    monkeypatch.setattr(Interruption, "asked", property(lambda _: next(steps) >= 2, lambda *_: None), raising=False)
    list(pl.train_events(pl.configure(photos, **QUICK, runs=tmp_path / "cut")))
    monkeypatch.undo()
    (cut,) = (tmp_path / "cut").iterdir()
    resumed = pl.resume(cut)
    losses = [loss for event in resumed.events() if isinstance(event, BatchLosses) for loss in event.losses]
    assert losses == list(by_batch(whole.events()).values())


def test_a_solved_head_has_no_batches(photos: Path) -> None:
    with pytest.raises(pl.UserError, match="no batch has a loss"):
        pl.configure(photos, model="small", mode="probe", weights="none", log_every=20)
