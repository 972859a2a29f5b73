"""What somebody asks of `train`, over a recipe, over the defaults: a whole configuration, checked.

Torch-free, so that `pellucid train --help` answers at once.
"""

import re
from collections.abc import Mapping, Sequence
from inspect import cleandoc, signature
from os import PathLike
from pathlib import Path
from textwrap import fill
from types import NoneType
from typing import Any, Literal, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.options import OF_TIMM, check_names, typed
from pellucid.errors import UserError
from pellucid.images.augmentation import Augmentation
from pellucid.images.labels import parse_map
from pellucid.images.samples import READING
from pellucid.names import is_own
from pellucid.networks.own import remember
from pellucid.records import Record, flat, refusal
from pellucid.spelling import as_python
from pellucid.training.config import (
    AMOUNTS,
    Config,
    Data,
    Elsewhere,
    FeatureSettings,
    Input,
    Learning,
    Machine,
    Mode,
    Option,
)
from pellucid.training.defaults import help_of
from pellucid.training.effects import idle
from pellucid.training.recipes import layers, recipes
from pellucid.training.recipes import recipe as built_in


def configure(
    data: str | Path,
    /,
    *,
    model: Any = None,
    mode: Mode | None = None,
    train_from: str | None = None,
    probe_at: str | None = None,
    weights: str | None = None,
    layout: str | None = None,
    until: str | None = None,
    recipe: str | None = None,
    train: str | float | None = None,
    validation: str | float | None = None,
    test: str | float | None = None,
    per_class: bool | None = None,
    keep_split: str | Path | None = None,
    ignore_parts: bool | None = None,
    source: str | None = None,
    label_from: str | None = None,
    map: str | dict[str, str] | None = None,
    labels: str | Path | None = None,
    group_from: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    leave_out: str | Sequence[str] | None = None,
    skip_unreadable: bool | None = None,
    size: int | None = None,
    budget: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    rate: float | None = None,
    optimizer: Literal["sgd", "adamw", "solve"] | None = None,
    views: int | None = None,
    cache_size: str | None = None,
    one_logit: bool | None = None,
    class_weights: bool | None = None,
    balanced_sampling: bool | None = None,
    seed: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    workers: int | None = None,
    runs: str | Path | None = None,
    log_every: int | None = None,
    options: Mapping[str, Option] | None = None,
    validation_from: Elsewhere | Mapping[str, Any] | None = None,
    input: Input | Mapping[str, Any] | None = None,
    augmentation: Augmentation | Mapping[str, Any] | None = None,
    learning: Learning | Mapping[str, Any] | None = None,
    features: FeatureSettings | Mapping[str, Any] | None = None,
    machine: Machine | Mapping[str, Any] | None = None,
) -> Config:
    """What `train` is to do with DATA, for `train_events`; nothing is read or trained yet.

    A setting that is not given comes from the recipe: from the built-in one that is named, or else from the one that is
    called as the mode (scratch, probe or finetune). What the recipe does not say has the default below. The value
    `none` takes back what a recipe says. The run's config.toml lists all settings.

    Parameters
    ----------
    data
        The labelled images: a folder with a folder for each class, or with such folders inside train/ and test/; a
        table with a row for each image (.csv, .xlsx, .parquet); or a flat folder, with --labels or --label-from.
    recipe
        Settings that go together: a name that `pellucid recipes` lists, or a .toml file of settings such as a run's
        config.toml. Default: the recipe that is called as the mode.
    """
    given = {name: value for name, value in locals().items() if name in SETS and value is not None}
    said = _placed(given | ({} if model is None else {"model": remember(model)}))
    parts = {"input": input, "augmentation": augmentation, "learning": learning, "features": features}
    for place, record in (parts | {"machine": machine}).items():
        said[place] = _joined(place, record, said.get(place, {}))
    ours = {"folder": str(data), "source": {}, "validation_from": _joined("validation_from", validation_from, {})}
    said["data"] = ours | said.get("data", {})
    return _configured(said | {"options": dict(options or {})}, recipe)


# What each argument sets that is no record: a field of the configuration, whose help is its own.
SETS = {
    **{name: name for name in ("model", "mode", "train_from", "probe_at", "weights", "layout", "until")},
    **{name: f"data.{name}" for name in AMOUNTS},
    **{name: f"data.source.{field}" for name, field in READING.items()},
    "skip_unreadable": "data.skip_unreadable",
    "size": "input.size",
    "budget": "budget",
    **{name: f"learning.{name}" for name in ("epochs", "batch", "rate", "optimizer")},
    "views": "features.views",
    "cache_size": "features.size",
    **{name: f"learning.{name}" for name in ("one_logit", "class_weights", "balanced_sampling")},
    "seed": "seed",
    **{name: f"machine.{name}" for name in ("device", "workers")},
    **{name: name for name in ("runs", "log_every")},
}


def setting(name: str) -> FieldInfo:
    """The field that an argument of `configure` sets, or which it is."""
    record: Any = Config
    *above, last = SETS.get(name, "data.validation_from" if name == "validation_from" else name).split(".")
    for place in above:
        record = record.model_fields[place].annotation
    found: FieldInfo = record.model_fields[last]
    return found


def _documented(doc: str) -> str:
    """`doc`, which says of few arguments what they are, with what the fields say of theirs."""
    head, _, rest = cleandoc(doc).partition("Parameters\n----------\n")
    own = dict(re.findall(r"^(\w+)\n((?:    .*\n?)+)", rest, flags=re.MULTILINE))
    lines = [head + "Parameters", "----------"]  # a line per paragraph: whoever shows them breaks them
    for name in signature(configure).parameters:
        about = " ".join(own[name].split()) if name in own else help_of(setting(name), SETS.get(name, name))
        lines += [name, f"    {about}"]
    return "\n".join(lines) + "\n"


SETTINGS = _documented(configure.__doc__ or "").partition("\n\n")[2]
# Its help as whoever types flags reads it.
IN_A_SHELL = f"Train a classifier on a folder of labelled images, and report how good it is.\n\n{SETTINGS}"


def documented(summary: str, more: str = "") -> str:
    """Help in Python for what takes the settings of `configure`: a summary of its own, and `more` parameters."""
    lines = as_python(SETTINGS).splitlines()
    return "\n".join([summary, "", *(fill(line, 116, subsequent_indent=_indent(line)) for line in lines)]) + f"\n{more}"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


configure.__doc__ = documented((configure.__doc__ or "").partition("\n\n")[0])


def _placed(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, by argument, as tables of the configuration."""
    tables: dict[str, Any] = {}
    for name, value in given.items():
        *above, last = SETS[name].split(".")
        inside = tables
        for place in above:
            inside = inside.setdefault(place, {})
        taken_back = value == "none" and NoneType in get_args(setting(name).annotation)
        inside[last] = None if taken_back else _as_written(name, value)
    return tables


def _as_written(name: str, value: Any) -> Any:
    """An argument as a recipe would say it."""
    if name == "map":
        return parse_map(value)
    if isinstance(value, PathLike) or name in ("train", "validation", "test"):
        return str(value)
    return list(value) if name == "leave_out" and not isinstance(value, str) else value


def _configured(said: Mapping[str, Any], recipe: str | None) -> Config:
    """Flags over a file, over the recipe that it names (or the mode's own), over the defaults: decided here alone."""
    file, named = layers(recipe)
    if "epochs" in said["learning"] and not said.get("budget"):
        file.pop("budget", None)  # epochs that are said, against time that the file allows
    remarks: list[str] = []
    named = _for_its_model(named, said.get("model", file.get("model")), remarks)
    file = _at_its_size(named or {}, file, remarks)
    by_hand = _overlay(file, _at_its_size(_overlay(named or {}, file), said, remarks))
    once = said if said.get("budget") else by_hand
    if once.get("budget") and "epochs" in once["learning"]:
        hint = "leave one of them out" if once is said or recipe is None else "a flag, --epochs or --budget, decides"
        raise UserError("--budget and --epochs both decide how many epochs there are", hint=hint)
    values = _overlay(named or {}, by_hand)
    model, weights = values.setdefault("model", "resnet18"), values.get("weights")
    mode = values.setdefault("mode", _default_mode(model, weights))
    values.setdefault("weights", "none" if mode == "scratch" else "own" if is_own(model) else "imagenet")
    usual = built_in(mode).settings if named is None and mode in recipes() else named or {}
    values = _overlay(usual, values)
    values["options"] = _options(model, values["options"])
    learning = by_hand["learning"]
    solves = values["learning"].get("optimizer") == "solve" and "optimizer" not in learning
    if solves and (learning.keys() & {"epochs", "rate"}):
        values["learning"]["optimizer"] = "adamw"  # whoever says how many epochs or how fast asks for steps
    try:
        config = Config.model_validate(values)
    except ValidationError as cause:
        ours = recipe is None or all(_says(said, error["loc"]) for error in cause.errors())
        if ours:
            raise refusal(Config, cause, "this configuration", called=_flag_at) from cause
        raise refusal(Config, cause, f"recipe {recipe}") from cause
    flags, others = dict(flat(said)), dict(flat(_overlay(_defaults(), usual)))
    wishes = [name for name, value in flat(file) if _plain(value) != _plain(others.get(name))]
    if problems := list(idle(config, flags=flags, recipe=wishes)):
        raise UserError("some settings would have no effect", problems, hint="leave it out, or change the other")
    return config.noting(sorted({*flags, *dict(flat(_overlay(named or {}, file)))}), remarks)


def _for_its_model(named: dict[str, Any] | None, model: str | None, remarks: list[str]) -> dict[str, Any] | None:
    """The built-in recipe `named`, without those options of its network that another `model`, said over it, has not."""
    if named is None or model is None or not (is_own(model) or model.startswith("timm/")):
        return named
    known = () if is_own(model) else OF_TIMM
    options = named.get("options", {})
    if lost := [name for name in options if name not in known]:
        remarks.append(f"what the recipe says of its own network is left out: {', '.join(lost)}")
    return {**named, "options": {name: value for name, value in options.items() if name in known}}


def _at_its_size(below: Mapping[str, Any], said: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    """What is `said`, and where that is a size alone: the recipe `below` resizes for its own, and is meant to show as
    much of the image at this one.
    """
    theirs, ours = below.get("input", {}), said.get("input", {})
    before, size = theirs.get("size"), ours.get("size")
    if not (isinstance(before, int) and isinstance(size, int)) or size == before:
        return dict(said)
    changes = {name: _scaled(theirs.get(name), size / before) for name in ("resize", "region") if name not in ours}
    changes = {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        told = "x".join(map(str, value)) if isinstance(value, list) else value
        remarks.append(
            f"input.{name} is {told} at {size} pixels, so that the network sees as much of an image as with the "
            "recipe's size"
        )
    return {**said, "input": {**ours, **changes}}


def _scaled(side: Any, factor: float) -> int | list[int] | None:
    """Pixels per side, or of both sides; None for what is neither."""
    if isinstance(side, list) and all(isinstance(one, int) for one in side):
        return [max(1, round(one * factor)) for one in side]
    return max(1, round(side * factor)) if isinstance(side, int) else None


def _options(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The network's own settings, typed and checked where it is known which it has; `none` takes one back.

    What one's own network takes, its code says, which is not run yet.
    """
    if is_own(model):
        return dict(options)
    said = {name: value for name, value in options.items() if value != "none"}
    if model in ARCHITECTURES:
        return typed(model, said)
    if model.startswith("timm/"):
        check_names(model, said, OF_TIMM)
        return typed(model, said)
    return said


def _default_mode(model: str, weights: str | None) -> Mode:
    if weights is None:
        return "scratch" if model.startswith("small") or is_own(model) else "finetune"
    return "scratch" if weights == "none" else "finetune"


def _joined(place: str, record: Record | Mapping[str, Any] | None, short: Mapping[str, Any]) -> dict[str, Any]:
    """What was said explicitly, in a record and by the short flags of its fields; defaults are left to the recipe."""
    said = record.model_dump(exclude_unset=True) if isinstance(record, Record) else dict(record or {})
    if twice := [name for name in short if name in said and said[name] != short[name]]:
        values = [f"{place}.{name}: {short[name]} and {said[name]}" for name in twice]
        raise UserError("one setting is given two values", values, hint="leave one of them out")
    return said | dict(short)


def _overlay(base: Mapping[str, Any], said: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """`said` over `base`, table by table; labels are mapped by one of them alone. None is a word too: back to none."""
    joined = {name: dict(value) if isinstance(value, Mapping) else value for name, value in base.items()}
    for name, value in said.items():
        if isinstance(value, Mapping) and f"{place}{name}" != "data.source.map":
            joined[name] = _overlay(joined.get(name, {}), value, f"{place}{name}.")
        else:
            joined[name] = value
    return joined


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _flag_at(place: str) -> str:
    """The flag that sets what lies there."""
    name = next((name for name, field in SETS.items() if field == place), place.removeprefix("data."))
    return "DATA" if name == "folder" else "--" + name.replace("_", "-")


def _says(said: Any, place: Sequence[int | str]) -> bool:
    """Whether flags gave what is found at that place, or what is above it; a rule about several settings is theirs."""
    for part in place:
        if not isinstance(said, Mapping):
            return True
        if part not in said:
            return False
        said = said[part]
    return True


def _defaults() -> dict[str, Any]:
    return Config(model="small", mode="scratch", weights="none", data=Data(folder=".")).model_dump()
