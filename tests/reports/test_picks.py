"""Which images are shown where there is no room for all."""

from hypothesis import given
from hypothesis import strategies as st

from pellucid.reports.picks import spread, spread_by_class


@given(st.lists(st.integers(), max_size=50), st.integers(1, 20))
def test_spread_keeps_order_and_takes_what_it_may(items: list[int], most: int) -> None:
    indices = spread(range(len(items)), most)
    assert len(indices) == min(most, len(items))
    assert indices == sorted(set(indices))


def test_each_class_has_its_share() -> None:
    items = ["a"] * 100 + ["b"] * 3
    assert spread_by_class(items, ["a", "b"], str, 10) == ["a"] * 5 + ["b"] * 3
