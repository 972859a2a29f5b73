"""Wilson's interval against published values, and how a measured number is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.measures.intervals import Measured, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: score, without continuity correction.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_gives_the_published_bounds(right, n, low, high):
    measured = wilson(right, n)
    assert (round(measured.low, 4), round(measured.high, 4)) == (low, high)
    assert (measured.value, measured.n) == (right / n, n)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_within_0_and_1_and_mirrors(case):
    right, n = case
    measured, mirrored = wilson(right, n), wilson(n - right, n)
    assert 0 <= measured.low <= measured.value <= measured.high <= 1
    assert measured.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_a_share_of_nothing_is_undefined():
    assert wilson(0, 0) == Measured(value=None, low=None, high=None, n=0)


def test_more_right_than_there_are_is_our_mistake():
    with pytest.raises(AssertionError):
        wilson(3, 2)


def test_a_measured_number_is_never_written_naked():
    assert str(wilson(121, 132)) == "91.7 % [85.7, 95.3] n = 132"
    assert Measured(value=0.274, low=0.201, high=0.352, n=132).plain() == "0.274 [0.201, 0.352] n = 132"
    assert Measured(value=0.274, low=None, high=None, n=132).plain(1) == "0.3 n = 132"
    assert Measured(value=None, low=None, high=None, n=0).percent() == "undefined n = 0"
