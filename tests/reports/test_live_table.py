"""A training as it happens, on a terminal and elsewhere."""

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from pellucid.reports.live_table import LiveTable
from pellucid.runs.events import BatchLosses, Epoch, Event, Failed, Preparing, Progress, Validated
from tests import golden
from tests.reports.made import TIME, training


def shown(events: list[Event], *, terminal: bool, **console: Any) -> str:
    ticks = iter(range(1_000_000))
    target = Console(width=80, file=io.StringIO(), force_terminal=terminal, legacy_windows=False, **console)
    with LiveTable(target, clock=lambda: next(ticks)) as table:
        for event in events:
            table.show(event)
    return target.file.getvalue()  # type: ignore[attr-defined]


def with_progress(events: list[Event]) -> list[Event]:
    seen: list[Event] = [Preparing(phase="checking the images", done=done, total=60) for done in (0, 30, 60)]
    for event in events:
        if isinstance(event, Epoch):
            seen += [
                Progress(phase="train", epoch=event.epoch, epochs=3, step=step, steps=4, loss=0.4, mean_loss=0.5,
                         images_per_second=410.0, seconds_left=None if event.epoch == 1 else 61.0)
                for step in range(1, 5)
            ]  # fmt: skip
        seen.append(event)
    return seen


def test_without_a_terminal_each_epoch_is_one_plain_line() -> None:
    text = shown(with_progress(training()), terminal=False)
    assert "\x1b" not in text
    golden.check("reports/training-plain", text)


@pytest.mark.parametrize("terminal", [False, True])
def test_batch_losses_are_told_where_they_were_asked_for(terminal: bool) -> None:
    seen = {"time": "", "epoch": 1, "batches": 40}
    asked = BatchLosses(**seen, first=1, losses=(*[0.7] * 19, 0.6861), told=True)
    rest = BatchLosses(**seen, first=21, losses=(0.123,))
    text = shown([asked, rest], terminal=terminal)
    assert "epoch 1, batch 20 of 40: loss 0.686" in text and "0.123" not in text


def test_auxiliary_heads_are_told_of() -> None:
    first, *rest = training()
    begun = first.model_copy(update={"heads": 1, "head_weight": 0.3})
    learned = next(event for event in rest if event.event == "epoch").model_copy(update={"auxiliary_loss": 0.712})
    text = shown([begun, learned], terminal=False)
    assert f"loss {learned.loss:.3f}, auxiliary loss 0.712, accuracy" in text


def test_on_a_terminal_finished_rows_are_written_once() -> None:
    text = shown(with_progress(training()), terminal=True, no_color=True)
    kept = [
        line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", text).replace("\r", "\n").split("\n") if line.strip()
    ]
    assert [sum(line.strip().startswith(f"{epoch}/3 ") for line in kept) for epoch in (1, 2, 3)] == [1, 1, 1]
    assert max(map(cell_len, kept)) <= 80
    moving = [line for line in kept if "━" in line]
    assert moving
    lasting = [line.rstrip() for line in kept if "━" not in line and "╸" not in line]
    golden.check("reports/training-terminal", "\n".join(dict.fromkeys(lasting)))
    assert "left: not yet known" in text
    assert "1:01 left" in text


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(with_progress(training()), terminal=True)
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|38|9[0-7])[0-9;]*m", text)


def test_an_interruption_says_what_was_reached() -> None:
    text = shown(training(why="interrupted"), terminal=False)
    assert "interrupted after 3 epochs and 2:29\nbest was epoch 2: validation accuracy 70.0 %" in text


def test_an_epoch_without_validation_is_shown_too() -> None:
    events = [event for event in training() if not isinstance(event, Validated)]
    assert shown(events, terminal=False).count("\nepoch ") == 3


def test_what_went_wrong_is_left_to_who_catches_it() -> None:
    text = shown([*training(why=None), Failed(time=TIME, epoch=3, problem="the loss became nan")], terminal=False)
    assert "stopped by an error after epoch 3" in text  # of three, perhaps: while the last was saved
    assert "nan" not in text
