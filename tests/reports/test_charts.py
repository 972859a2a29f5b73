"""Where the lines of a chart go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.reports.charts import BOTTOM, LEFT, RIGHT, TOP, accuracy_chart, nice_ticks
from pellucid.reports.history import history
from tests.reports.made import training


def test_a_chart_draws_its_points_where_the_axes_say() -> None:
    chart = accuracy_chart(history(training(3)), commonest=0.4)  # axis from 0 to 100 %
    validation = next(line for line in chart.lines if line.name == "validation")
    x, y = map(float, validation.points.split()[1].split(","))  # epoch 2 of 1..3: 14 of 20 right
    assert x == (LEFT + RIGHT) / 2
    assert y == pytest.approx(BOTTOM - 0.7 * (BOTTOM - TOP), abs=0.05)
    assert chart.best == (x, y)
    assert "epoch 2, with 70.0 %, was the best" in chart.summary


@given(st.floats(1e-6, 1e6))
def test_ticks_are_round_and_reach_the_value(high: float) -> None:
    ticks = nice_ticks(0.0, high)
    assert ticks[0] == 0
    assert ticks[-1] >= high * (1 - 1e-6)
    assert 2 <= len(ticks) <= 7
