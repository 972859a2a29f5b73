"""The help of a setting tells what it is where nobody says it."""

from pathlib import Path
from typing import Any

import pytest

from pellucid.training.config import Augmentation, Learning, Mode
from pellucid.training.configure import configure
from pellucid.training.defaults import help_of

MODES: tuple[Mode, ...] = ("scratch", "probe", "finetune")


def told(default: str, mode: Mode) -> list[str]:
    """The words that stand for a mode, of `scratch 60, probe 15, finetune 12` or of one value for all."""
    each = dict(part.split(" ", 1) for part in default.split(", ")) if default.startswith(MODES[0]) else {}
    return each.get(mode, default).split()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("place", "record"), [("learning", Learning), ("augmentation", Augmentation)])
def test_what_help_calls_the_default_is_what_a_training_of_that_mode_has(
    place: str, record: Any, mode: Mode, tmp_path: Path
) -> None:
    config = configure(tmp_path, mode=mode)
    checked = 0
    for name, field in record.model_fields.items():
        value = getattr(getattr(config, place), name)
        _, found, default = help_of(field, f"{place}.{name}").partition(" Default: ")
        if "Default" in (field.description or "") or isinstance(value, bool):
            continue
        values = value if isinstance(value, tuple) else (value,)
        words = told(default.removesuffix("."), mode)
        assert found and len(words) == len(values), name
        for word, one in zip(words, values, strict=True):
            assert word == one if isinstance(one, str) else float(word) == pytest.approx(one, rel=0.01), name
        checked += 1
    assert checked > 10


def test_a_setting_whose_default_is_more_than_a_value_says_it_once() -> None:
    assert help_of(Learning.model_fields["optimizer"], "learning.optimizer").count("Default") == 1
