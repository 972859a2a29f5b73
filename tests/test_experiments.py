"""The tutorials' experiments: their commands can be typed, and the table says what was measured."""

import importlib.util
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from pellucid.cli.main import app

HERE = Path(__file__).parents[1]


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("repeat", HERE / "experiments" / "repeat.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


repeat = program()


@pytest.mark.parametrize("name", repeat.experiments())
def test_its_commands_are_understood(name: str) -> None:
    for command in repeat.experiments()[name].commands:
        verb, *rest = shlex.split(command.format(data="DATA"))
        assert verb == "pellucid"
        app.parse_args(rest, exit_on_error=False, print_error=False)


def test_the_table_is_what_was_measured() -> None:
    page = repeat.PAGE.read_text()
    assert repeat.with_table(page) == page, "python experiments/repeat.py --table writes it anew"
    assert {file.stem for file in (repeat.HERE / "measured").iterdir()} <= set(repeat.experiments())


def test_repeating_measures_what_the_commands_print() -> None:
    layers = repeat.Experiment(
        tutorial="002",
        job="a ResNet-18",
        reported="",
        commands=("pellucid structure resnet18 --format json",),
        result="layers",
    )
    found = repeat.repeated(layers, None)
    # 20 convolutions and the linear layer; torchvision's number of parameters
    assert "21 with weights, 11,689,512 parameters" in found.found
    assert 0 < found.first_word <= found.seconds
