"""The lists of networks and of runs."""

from pellucid.measures.intervals import wilson
from pellucid.reports.lists import ModelRow, RunRow, models_text, runs_text
from tests import golden
from tests.reports.made import printed


def test_models() -> None:
    rows = [
        ModelRow("small", 96, 123_456, 12_345_678, ""),
        ModelRow("resnet18", 224, 11_689_512, 1_814_073_344, "torchvision"),
    ]
    golden.check("reports/models", printed(models_text(rows)))


def test_runs() -> None:
    rows = [
        RunRow("photos-resnet18-20261120-2304", "finished", "test", wilson(121, 132)),
        RunRow("photos-small-20261121-0911", "interrupted", "validation", wilson(33, 40)),
        RunRow("photos-small-20261121-0954", "unfinished", "", None),
    ]
    golden.check("reports/runs", printed(runs_text(rows)))
