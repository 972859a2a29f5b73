"""Recipes: settings that go together, by name; each is a file beside this one, and says what it does.

What lies over what is decided in `configure`. Torch-free, as that is.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pellucid.errors import UserError, nearest
from pellucid.records import Record, read_text

WORDS = ("model", "mode", "weights", "recipe")
TABLES = ("options", "data", "input", "augmentation", "learning", "features", "machine")
# Names that there were, and what does what they said.
FORMER = {
    "myopia-tutorial": ("myopia-resnet50",),
    "fake-faces-tutorial": ("fake-faces-cnn", "fake-faces-vgg11", "fake-faces-frozen", "fake-faces-finetuned"),
    "tf-slim": ("inception-v3-slim",),
}


class Recipe(Record):
    """A built-in recipe: what it does, what we would do instead ("" for our own), and the settings that it says."""

    name: str
    about: str
    instead: str
    settings: dict[str, Any]


def recipes() -> list[str]:
    """The names that `--recipe` knows."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def recipe(name: str) -> Recipe:
    """The built-in recipe `name`. Raises UserError where there is none."""
    if name not in recipes():
        raise no_recipe(name)
    values = _parsed((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"), name)
    return Recipe(
        name=name, about=values.pop("about"), instead=values.pop("instead", ""), settings=_checked(values, name)
    )


def layers(name: str | None) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a file says, and the built-in recipe below it; None where that is to be the mode's own."""
    if name is None:
        return {}, None
    if name in recipes():
        return {}, recipe(name).settings
    if not (name.endswith(".toml") or Path(name).is_file()):
        raise no_recipe(name, ", or a .toml file")
    file = _parsed(read_text(Path(name)), name)
    for words in ("about", "instead"):
        file.pop(words, None)
    below = _checked(file, name).pop("recipe", None)
    if below is not None and below not in recipes():
        raise no_recipe(str(below), f"; {name} builds on it")
    return file, None if below is None else recipe(below).settings


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise UserError(f"{name} is not valid TOML: {cause}") from cause


def _checked(values: dict[str, Any], name: str) -> dict[str, Any]:
    problems = [f"{word}: a word is wanted, not {values[word]!r}" for word in WORDS if not _is(values, word, str)]
    problems += [
        f"{table}: a table of settings is wanted: [{table}]" for table in TABLES if not _is(values, table, dict)
    ]
    if not problems and not _is(values.get("data", {}), "source", dict):
        problems = ["data.source: a table of settings is wanted: [data.source]"]
    if problems:
        raise UserError(f"recipe {name} cannot be used", problems)
    return values


def _is(values: Mapping[str, Any], name: str, kind: type) -> bool:
    return name not in values or isinstance(values[name], kind)


def no_recipe(name: str, besides: str = "") -> UserError:
    """The error for a name that no recipe has; one that a recipe had before names those that took its place."""
    if name in FORMER:
        return UserError(
            f"there is no recipe {name!r} any more: it did not do what that tutorial does",
            [f"{new}: {recipe(new).about}" for new in FORMER[name]],
            hint=" or ".join(f"--recipe {new}" for new in FORMER[name]),
        )
    right = nearest(name, recipes())
    return UserError(
        f"there is no recipe {name!r}",
        [f"known are {', '.join(recipes())}{besides}"],
        hint=f"did you mean {right}?" if right else "`pellucid recipes` says what each does",
    )
