"""A counted network as a table."""

import pytest

from pellucid.architectures.geometry import structure
from pellucid.reports.structure import structure_text
from tests import golden
from tests.reports.made import printed


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_a_structure(name: str) -> None:
    text = printed(structure_text(structure(name, classes=7)))
    assert max(map(len, text.splitlines())) <= 80
    golden.check(f"reports/structure-{name}", text)
