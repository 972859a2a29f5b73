"""The learning rate at every step, beside torch's own schedulers and arithmetic by hand."""

from math import cos, pi
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler, StepLR

from pellucid.training.config import Learning
from pellucid.training.schedule import rate_at


def rates(learning: Learning, *, steps_per_epoch: int) -> list[float]:
    total = learning.epochs * steps_per_epoch
    return [rate_at(learning, step=step, steps_per_epoch=steps_per_epoch) for step in range(total)]


def torchs(scheduler: type[LRScheduler], turns: int, *, rate: float, **options: Any) -> list[float]:
    """The rates that a scheduler of torch gives, one a turn (an epoch or a step)."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    turning = scheduler(optimizer, **options)
    found = []
    for _ in range(turns):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        turning.step()
    return found


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 12), st.floats(0.05, 1.0))
def test_steps_are_torchs_once_an_epoch(epochs: int, per_epoch: int, every: int, factor: float) -> None:
    learning = Learning(
        epochs=epochs, rate=0.1, schedule="step", step_epochs=every, step_factor=factor, warm_up=0, optimizer="sgd"
    )
    theirs = torchs(StepLR, epochs, rate=0.1, step_size=every, gamma=factor)
    expected = [rate for rate in theirs for _ in range(per_epoch)]
    assert rates(learning, steps_per_epoch=per_epoch) == pytest.approx(expected)


def test_exponential_falls_in_stairs_of_eight_epochs_as_inceptions_did() -> None:
    learning = Learning(epochs=24, rate=0.045, schedule="exponential", decay_epochs=8, decay_factor=0.96, warm_up=0)
    ours = rates(learning, steps_per_epoch=2)
    assert ours == pytest.approx([0.045] * 16 + [0.045 * 0.96] * 16 + [0.045 * 0.96**2] * 16)
    each = learning.model_copy(update={"decay_epochs": 1})
    assert rates(each, steps_per_epoch=1) == pytest.approx(torchs(ExponentialLR, 24, rate=0.045, gamma=0.96))


@given(st.integers(1, 20), st.integers(1, 9))
def test_a_cosine_is_torchs_step_by_step(epochs: int, per_epoch: int) -> None:
    learning = Learning(epochs=epochs, rate=0.02, schedule="cosine", warm_up=0)
    steps = epochs * per_epoch
    assert rates(learning, steps_per_epoch=per_epoch) == pytest.approx(
        torchs(CosineAnnealingLR, steps, rate=0.02, T_max=steps)
    )


def test_a_warm_up_rises_evenly_to_the_rate_and_the_cosine_falls_from_there() -> None:
    learning = Learning(epochs=3, rate=0.8, schedule="cosine", warm_up=1)
    ours = rates(learning, steps_per_epoch=4)
    assert ours[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert ours[4:] == pytest.approx([0.4 * (1 + cos(pi * step / 8)) for step in range(8)])


def test_a_warm_up_longer_than_the_training_still_reaches_the_rate() -> None:
    learning = Learning(epochs=2, rate=1.0, schedule="constant", warm_up=50)
    assert rates(learning, steps_per_epoch=2) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_warm_up_of_half_an_epoch() -> None:
    learning = Learning(epochs=2, rate=1.0, schedule="constant", warm_up=0.5)
    assert rates(learning, steps_per_epoch=4) == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 1])
