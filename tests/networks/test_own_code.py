"""The code that a model was trained with is told apart from other code, by what of it changed."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from torch import nn

import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks import own
from pellucid.networks.build import network as known
from pellucid.runs.run_folder import find_runs
from pellucid.training.configure import configure
from pellucid.training.train import train_events
from tests.networks.own_nets import FILE, QUICK


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("bend(self.conv(x)).mean((2, 3))", "bend(self.conv(x)).amax((2, 3))"), "Net is not defined as it was"),
        (("leaky_relu(x, SLOPE)", "elu(x)"), "bend is not defined as it was"),
        (("SLOPE = 0.1", "SLOPE = 0.2"), "SLOPE is not defined as it was"),
        (("self.conv = nn.Conv2d(3, 4, 3)", "self.conv = nn.Conv2d(3, 4, 5)"), "Net is not defined as it was"),
    ],
)
def test_a_model_file_refuses_other_code_and_says_what_changed(
    tmp_path: Path, change: tuple[str, str], why: str, elsewhere: Callable[[], None]
) -> None:
    file, other = tmp_path / "net.py", tmp_path / "other.py"
    file.write_text(FILE, encoding="utf-8")
    net = pl.network(f"{file}:Net", 2, size=16)
    other.write_text(FILE.replace(*change), encoding="utf-8")
    elsewhere()
    own.remember(f"{other}:Net")
    with pytest.raises(UserError, match=r"is not the net\.py:Net that was trained") as caught:
        known(net.name, 2, **net.options)
    assert why in caught.value.details
    # What else the file holds, and where it lies, does not matter.
    other.write_text(f"# a note\n\n{FILE}\nEPOCHS = 3\n", encoding="utf-8")
    elsewhere()
    own.remember(f"{other}:Net")
    assert known(net.name, 2, **net.options).name == "net.py:Net"


def test_a_class_of_no_source_is_told_by_its_layers(photos: Path, tmp_path: Path) -> None:
    scope: dict[str, Any] = {"nn": nn, "__name__": "__prompt__"}
    text = """
    class Net(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.fc = nn.Linear(3 * 16 * 16, classes)
        def forward(self, x):
            return self.fc(x.flatten(1))
    """
    exec(dedent(text), scope)
    events = list(
        train_events(configure(photos, model=scope["Net"], **QUICK | {"size": 16, "epochs": 1}, runs=tmp_path))
    )
    (run,) = find_runs(tmp_path)
    assert any(event.event == "noted" and "source of Net cannot be read" in event.words for event in events)
    assert pl.load(run.path, model=scope["Net"]).classes == ("grainy", "smooth")
