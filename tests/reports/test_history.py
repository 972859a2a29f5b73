"""A run's events by epoch, and the means of its batches."""

import pytest

from pellucid.errors import UserError
from pellucid.reports.charts import loss_chart
from pellucid.reports.curves import curves
from pellucid.reports.history import history, means, usual_mean
from pellucid.runs.events import BatchLosses, Started, Stopped
from tests.reports.made import TIME, training


def test_the_curve_of_batches_is_the_mean_of_every_so_many() -> None:
    losses = [float(number) for number in range(1, 41)]
    told = [
        BatchLosses(time=TIME, epoch=epoch, first=first, batches=20, losses=tuple(losses[start : start + 10]))
        for epoch, first, start in ((1, 1, 0), (1, 11, 10), (2, 1, 0), (2, 1, 20), (2, 11, 30))  # a part done twice
    ]
    course = history([*training(), *told])
    assert means(course.batches, 8) == [(0.4, 4.5), (0.8, 12.5), (1.2, 20.5), (1.6, 28.5), (2.0, 36.5)]
    assert len(means(course.batches, 30)) == 1  # what is left over makes none
    assert [usual_mean(batches) for batches in (1, 200, 201, 1000, 1001, 200_000)] == [1, 1, 2, 5, 10, 1000]
    chart = loss_chart(course, every=8)
    assert len(chart.batches.split()) == 5 and chart.every == 8
    assert "thin: mean of every 8 batches" in curves([*training(), *told], every=8).svg
    with pytest.raises(UserError, match="not of 0"):
        curves(training(), every=0)


def test_a_resumed_run_counts_an_epoch_once_and_forgets_the_first_end() -> None:
    first = training(3, why="interrupted")
    again = [event for event in training(4) if isinstance(event, Started | Stopped) or getattr(event, "epoch", 0) >= 3]
    course = history([*first, *again])
    assert [lap.epoch for lap in course.laps] == [1, 2, 3, 4]
    assert course.stopped is not None
    assert course.stopped.why == "finished"
    assert course.best is not None
    assert course.best.epoch == 3
