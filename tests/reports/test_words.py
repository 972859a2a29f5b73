"""Numbers as people read them."""

import pytest

from pellucid.reports.words import disk_space


@pytest.mark.parametrize(
    ("needed", "said"), [(944_640, "945 KB"), (1_889_280, "1.9 MB"), (2 * 10**10, "20.0 GB"), (0.4, "0 KB")]
)
def test_room_on_a_disk_has_a_unit_however_little_it_is(needed: float, said: str) -> None:
    assert disk_space(needed) == said
