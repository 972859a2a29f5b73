"""The temperature and the probability from which a model is sure, on answers whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.measures.calibration import fit_temperature, sure_from


def drawn(n: int, *, scale: float, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from a network's own probabilities; its logits, were it `scale` times as sure."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(n, classes))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(classes, p=share) for share in shares])
    return scale * logits, labels


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_too_much_or_too_little_certainty(scale: float) -> None:
    assert fit_temperature(*drawn(4000, scale=scale), one_logit=False) == pytest.approx(scale, rel=0.1)


def test_one_logit_has_the_temperature_of_the_two_whose_difference_it_is() -> None:
    logits, labels = drawn(500, scale=2.0, classes=2)
    one = logits[:, 1:] - logits[:, :1]
    assert fit_temperature(one, labels, one_logit=True) == pytest.approx(
        fit_temperature(logits, labels, one_logit=False), rel=1e-3
    )


def test_no_mistake_at_all_does_not_ask_for_certainty() -> None:
    labels = np.arange(100) % 2
    logits = np.where(labels[:, None] == [0, 1], 3.0, -3.0)
    # Platt's targets are 51/52: the likeliest difference of the logits is log(51), where it was 6.
    assert fit_temperature(logits, labels, one_logit=False) == pytest.approx(6 / np.log(51), rel=1e-3)


def test_few_images_change_nothing() -> None:
    logits, labels = drawn(19, scale=5.0)
    assert fit_temperature(logits, labels, one_logit=False) == 1.0


def test_sure_from_is_the_least_level_that_is_right_often_enough() -> None:
    confidence = np.linspace(1.0, 0.5, 100)
    right = np.ones(100, dtype=bool)
    right[60:] = False  # of the 63 surest 60 are right, 95.2 %; of 64 no longer
    assert sure_from(confidence, right) == pytest.approx(confidence[62])


def test_sure_from_never_cuts_equals_in_two() -> None:
    confidence, right = np.full(40, 0.9), np.array([True] * 30 + [False] * 10)
    assert sure_from(confidence, right) is None
    assert sure_from(confidence[::-1], right[::-1]) is None


def levels() -> st.SearchStrategy[list[tuple[float, bool]]]:
    return st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]), st.booleans()), max_size=120)


@given(levels())
def test_what_sure_from_promises_holds(answers: list[tuple[float, bool]]) -> None:
    confidence = np.array([level for level, _ in answers], dtype=float)
    right = np.array([one for _, one in answers], dtype=bool)

    def holds(level: float) -> bool:
        above = right[confidence >= level]
        return len(above) >= 20 and above.sum() >= 0.95 * len(above)

    found = sure_from(confidence, right)
    good = [level for level in sorted(set(confidence.tolist())) if holds(level)]
    assert found == (good[0] if good else None)
