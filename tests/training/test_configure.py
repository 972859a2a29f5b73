"""What is asked of a training: flags over a file, over a recipe, over the defaults, for every setting there is."""

import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import BaseModel

from pellucid.cli import runs as verbs
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.runs.run_folder import to_toml
from pellucid.training.config import Config, Elsewhere
from pellucid.training.configure import configure
from pellucid.training.recipes import recipes

# Each setting by dotted name, with what a recipe and a flag say of it, neither of them the default; together with the
# settings in front, which are the recipe's, and without which they would have no effect.
Values = dict[str, tuple[Any, Any]]
ASKED: list[tuple[dict[str, Any], Values]] = [
    (
        {"learning.optimizer": "sgd", "options.auxiliary": True},
        {
            "model": ("resnet34", "resnet50"),
            "layout": ("timm", "torchvision"),
            "train_from": ("conv4_x", "conv5_x"),
            "probe_at": ("all", "conv2_x"),
            "options.width": (0.5, 0.25),
            "seed": (3, 4),
            "runs": ("there", "elsewhere"),
            "log_every": (20, 7),
            "data.train": ("0.5", "0.6"),
            "data.validation": ("0.2", "30"),
            "data.test": ("0.1", "20%"),
            "data.per_class": (True, False),
            "data.keep_split": ("runs/one", "parts.json"),
            "data.ignore_parts": (True, False),
            "data.skip_unreadable": (True, False),
            "data.source.kind": ("table", "file-names"),
            "data.source.path_column": ("file", "image"),
            "data.source.label_column": ("class", "finding"),
            "data.source.split_column": ("part", "fold"),
            "data.source.group_column": ("patient", "eye"),
            "data.source.labels": ("a.csv", "b.csv"),
            "data.source.label_from": ("(?P<label>.)", "(?P<label>..)"),
            "data.source.group_from": ("(?P<group>.)", "(?P<group>..)"),
            "data.source.map": ({"P": "pm", "H": "high"}, {"N": "none"}),
            "input.size": (96, 128),
            "input.resize": (100, 140),
            "input.crops": (2, 3),
            "input.region": (300, 400),
            "input.interpolation": ("box", "bicubic"),
            "input.background": ((1, 2, 3), (4, 5, 6)),
            "input.mean": ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
            "input.std": ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
            "input.channels": ("BGR", "RGB"),
            "augmentation.decode": ("full", "reduced"),
            "augmentation.scale": ((0.1, 0.9), (0.2, 0.8)),
            "augmentation.ratio": ((0.5, 2.0), (0.6, 1.5)),
            "augmentation.flip": (0.1, 0.2),
            "augmentation.vertical_flip": (0.1, 0.2),
            "augmentation.policy": ("randaugment", "trivialaugment"),
            "augmentation.erasing": (0.1, 0.2),
            "augmentation.blur": (0.1, 0.2),
            "augmentation.blur_sigma": ((0.5, 1.0), (0.6, 1.1)),
            "augmentation.jpeg": (0.1, 0.2),
            "augmentation.jpeg_quality": ((40, 60), (30, 50)),
            "data.source.leave_out": (("raw",), ("old", "new")),
            "learning.epochs": (30, 40),
            "learning.batch": (8, 16),
            "learning.rate": (0.02, 0.03),
            "learning.momentum": (0.5, 0.6),
            "learning.nesterov": (True, False),
            "learning.weight_decay": (0.2, 0.3),
            "learning.decay_norms": (True, False),
            "learning.warm_up": (2.0, 3.0),
            "learning.label_smoothing": (0.1, 0.2),
            "learning.class_weights": (True, False),
            "learning.clip": (1.0, 2.0),
            "learning.accumulate": (2, 3),
            "learning.ema": (0.9, 0.99),
            "learning.patience": (3, 4),
            "learning.best_by": ("loss", "balanced_accuracy"),
            "learning.one_logit": (True, False),
            "learning.head": ("random", "solved"),
            "learning.input_rate": (0.1, 0.2),
            "learning.unfreeze": (2, 3),
            "learning.norms": ("kept", "learned"),
            "learning.auxiliary_weight": (0.1, 0.2),
            "features.views": (2, 3),
            "features.most_views": (5, 6),
            "features.precision": ("float32", "float16"),
            "features.pixels": ("off", "auto"),
            "features.size": ("1GB", "2GB"),
            "features.folder": ("here", "there"),
            "machine.device": ("cpu", "cuda"),
            "machine.precision": ("float32", "bfloat16"),
            "machine.workers": (1, 2),
            "machine.threads": (1, 2),
        },
    ),
    ({}, {"mode": ("probe", "finetune"), "weights": ("a.pth", "b.pth"), "until": ("conv4_x", "conv3_x")}),
    ({}, {"learning.optimizer": ("sgd", "adamw"), "learning.schedule": ("constant", "exponential")}),
    ({"learning.schedule": "step"}, {"learning.step_epochs": (3, 4), "learning.step_factor": (0.5, 0.6)}),
    ({"learning.schedule": "exponential"}, {"learning.decay_epochs": (3, 4), "learning.decay_factor": (0.5, 0.6)}),
    ({}, {"augmentation.crop": ("random", "centre"), "features.cache": ("off", "auto"), "budget": ("5m", "9m")}),
    ({}, {"augmentation.mixup": (0.1, 0.2), "augmentation.cutmix": (0.3, 0.4)}),
    ({}, {"learning.balanced_sampling": (True, False)}),
    (
        {},
        {
            "data.validation_from.data": ("there", "elsewhere"),
            "data.validation_from.labels": ("a.csv", "b.csv"),
            "data.validation_from.label_from": ("(?P<label>.)", "(?P<label>..)"),
            "data.validation_from.map": ("1=pm", "2=pm"),
            "data.validation_from.path_column": ("file", "image"),
            "data.validation_from.label_column": ("class", "finding"),
            "data.validation_from.group_column": ("patient", "eye"),
            "data.validation_from.group_from": ("(?P<group>.)", "(?P<group>..)"),
            "data.validation_from.leave_out": (("raw",), ("old", "new")),
        },
    ),
]
SHORT = {
    **{f"data.source.{name}": name for name in ("path_column", "label_column", "split_column", "group_column")},
    **{f"data.source.{name}": name for name in ("labels", "label_from", "group_from", "map", "leave_out")},
    **{f"data.{name}": name for name in ("train", "validation", "test", "per_class", "skip_unreadable")},
    **{f"data.{name}": name for name in ("keep_split", "ignore_parts")},
    **{f"data.validation_from.{name}": f"validation_from.{name}" for name in Elsewhere.model_fields},
    "data.source.kind": "source",
    "learning.epochs": "epochs",
    "features.size": "cache_size",
}
ALONE = {"data.folder", "machine.devices"}  # the first is always said, and the second is always one


def names_of(record: type[BaseModel], place: str = "") -> set[str]:
    found = set()
    for name, field in record.model_fields.items():
        inner = field.annotation
        below = isinstance(inner, type) and issubclass(inner, BaseModel)
        found |= names_of(inner, f"{place}{name}.") if below else {place + name}
    return found


def nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *tables, last = name.split(".")
        inside = tree
        for table in tables:
            inside = inside.setdefault(table, {})
        inside[last] = value
    return tree


def found(config: Config, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def words(name: str, value: Any) -> list[str]:
    """As it is written on the command line."""
    place, _, last = SHORT.get(name, name).replace("_", "-").rpartition(".")
    place = f"{place}." if place else ""
    match value:
        case bool():
            return [f"--{place}{last}" if value else f"--{place}no-{last}"]
        case dict():
            return [f"--{place}{last}", ",".join(f"{label}={meant}" for label, meant in value.items())]
        case (str(), *_):
            return [word for each in value for word in (f"--{place}{last}", each)]
        case tuple():
            return [f"--{place}{last}", *map(str, value)]
    return [f"--{place}{last}", str(value)]


def given(name: str, value: Any) -> dict[str, Any]:
    """As it is given in Python."""
    return nested({SHORT.get(name, name): value})


def test_every_setting_is_asked_for_below() -> None:
    known = {"options.width" if name == "options" else name for name in names_of(Config)} - ALONE
    assert {name for _, values in ASKED for name in values} == known


@pytest.mark.parametrize("group", range(len(ASKED)))
def test_flags_win_over_a_recipe_which_wins_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    besides, values = ASKED[group]
    recipe, caught = tmp_path / "mine.toml", []
    monkeypatch.setattr(verbs, "_train", lambda config: caught.append(config) or 0)
    recipe.write_text(tomli_w.dumps(nested(besides | {name: theirs for name, (theirs, _) in values.items()})))
    asked = configure("photos", recipe=str(recipe))
    assert {name: found(asked, name) for name in values} == {name: theirs for name, (theirs, _) in values.items()}
    flags = [word for name, (_, ours) in values.items() for word in words(name, ours)]
    assert command(["train", "photos", "--recipe", str(recipe), *flags]) == 0
    assert {name: found(caught[0], name) for name in values} == {name: ours for name, (_, ours) in values.items()}
    assert {name.removesuffix(".P") for name in asked.asked} >= values.keys() - {"data.source.map"}


@pytest.mark.parametrize("group", range(len(ASKED)))
def test_a_flag_that_says_the_default_wins_too(tmp_path: Path, group: int) -> None:
    besides, values = ASKED[group]
    recipe, usual = tmp_path / "mine.toml", configure("photos", model="resnet18", mode="finetune")
    recipe.write_text(tomli_w.dumps(nested(besides | {name: theirs for name, (theirs, _) in values.items()})))
    for name in values.keys() - {"options.width", "mode"}:
        default = found(usual, name)
        if default is None and (name in SHORT or "." not in name):
            if name.startswith("data."):
                continue  # None says nothing there
            said = {name: "none"}
        else:
            said = given(name, default)
        try:
            assert found(configure("photos", recipe=str(recipe), **said), name) == default, name
        except UserError as refused:  # another setting of the recipe does not go with it
            assert "learning.head" in str(refused) or "weights" in str(refused), name


def test_none_takes_back_what_a_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[Config] = []
    monkeypatch.setattr(verbs, "_train", lambda config: caught.append(config) or 0)
    recipe = tmp_path / "mine.toml"
    recipe.write_text('budget = "5m"\n[learning]\nclip = 1.0\n[input]\nsize = 96\n')
    flags = ["--budget", "none", "--learning.clip", "none", "--input.size", "none"]
    assert command(["train", "photos", "--recipe", str(recipe), *flags]) == 0
    assert (caught[0].budget, caught[0].learning.clip, caught[0].input.size) == (None, None, None)


def test_a_file_lies_over_the_recipe_it_names_or_over_its_modes_own(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("seed = 7\n")
    assert configure("photos", recipe=str(recipe)).learning == configure("photos").learning
    recipe.write_text('recipe = "resnet-paper"\n[learning]\nrate = 0.2\n')
    papers = configure("photos", recipe="resnet-paper").learning
    assert configure("photos", recipe=str(recipe)).learning == papers.model_copy(update={"rate": 0.2})
    assert configure("photos", recipe="scratch").mode == "scratch" and configure("photos", recipe="probe").solvable


def test_a_runs_configuration_is_a_recipe(tmp_path: Path) -> None:
    for settings in ({}, {"mode": "probe"}, {"mode": "probe", "epochs": 3}, {"recipe": "demo"}):
        asked = configure("photos", **settings)
        (tmp_path / "config.toml").write_text(to_toml(asked.model_dump()))
        again = configure("photos", recipe=str(tmp_path / "config.toml"))
        assert again.model_dump() == asked.model_dump(), settings


def test_epochs_and_a_budget_are_one_or_the_other(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('budget = "5m"\n')
    assert configure("photos", recipe=str(recipe), epochs=3).budget is None
    assert configure("photos", recipe=str(recipe)).budget == "5m"
    recipe.write_text("[learning]\nepochs = 3\n")
    assert configure("photos", recipe=str(recipe), budget="1m").budget == "1m"
    recipe.write_text('budget = "5m"\n[learning]\nepochs = 3\n')
    for settings in ({"budget": "1m", "epochs": 3}, {"budget": "1m", "learning": {"epochs": 3}}):
        with pytest.raises(UserError, match="--budget and --epochs both decide"):
            configure("photos", **settings)
    with pytest.raises(UserError, match="--budget and --epochs both decide"):
        configure("photos", recipe=str(recipe))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sede = 3", r"recipe .*mine.toml cannot be used\n  sede is not known here\nhint: did you mean seed"),
        ("[learning]\nrat = 3", r"learning.rat is not known here\nhint: did you mean rate"),
        ("[data.source]\nkindd = 'table'", r"data.source.kindd is not known here"),
        ("learning = 3", "learning: a table of settings is wanted"),
        ("data = {source = 3}", "data.source: a table of settings is wanted"),
        ("model = 3", "model: a word is wanted, not 3"),
        ("recipe = 'resnet-papper'", "did you mean resnet-paper"),
        ("seed = -1", r"recipe .*mine.toml cannot be used\n  seed: at least 0 is wanted, not -1"),
        ("machine = {devices = 2}", r"machine.devices: one device trains"),
        ("machine = {devices = 'gpu'}", r"machine.devices: one device trains.* not 'gpu'"),
        ("machine = {threads = 'all'}", r"machine.threads: a whole number is wanted, not 'all'"),
        ("learning = {patience = 2, optimizer = 'adamw', momentum = 0.5}", "learning.momentum: .*--optimizer sgd"),
    ],
)
def test_what_a_recipe_says_and_cannot_mean_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=r"cannot be used|no effect|no recipe") as refused:
        configure("photos", recipe=str(tmp_path / "mine.toml"))
    assert re.search(told, str(refused.value)), refused.value


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--source", "folders"], "--source: auto, class-folders, .* or manifest is wanted, not 'folders'"),
        (["--input.resize", "foo"], "--input.resize: 2 values, a whole number or native is wanted, not 'foo'"),
        (["--machine.threads", "all"], "--machine.threads: a whole number is wanted, not 'all'"),
        (["--learning.schedule", "line"], "--learning.schedule: constant, .* or exponential is wanted, not 'line'"),
        (["--size", "3"], "--size: at least 8 is wanted, not 3"),
        (["--validation-from.map", "1=a"], "--validation-from.map says how .*: say where, with --validation-from.data"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_flag_in_plain_words(
    capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert command(["train", "photos", *flags]) == 2
    said = capsys.readouterr().err
    assert re.search(told, said) and not re.search(r"nput should|data\.|source\.", said), said


def test_a_fault_in_a_flag_is_not_told_of_the_recipe() -> None:
    with pytest.raises(UserError, match=r"^this configuration cannot be used\n  --rate: more than 0 is wanted"):
        configure("photos", recipe="demo", rate=-1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning": {"momentum": 0.9}},
        {"learning": {"nesterov": True}},
        {"learning": {"step_epochs": 3}},
        {"learning": {"decay_factor": 0.5}},
        {"learning": {"weight_decay": 0.0, "decay_norms": True}},
        {"learning": {"warm_up": 5.0}, "epochs": 3},
        {"learning": {"unfreeze": 4}, "epochs": 3},
        {"learning": {"auxiliary_weight": 0.5}},
        {"learning": {"head": "solved"}, "mode": "scratch"},
        {"learning": {"head": "solved"}, "features": {"cache": "off"}},
        {"learning": {"input_rate": 0.1}, "mode": "probe", "epochs": 3},
        {"learning": {"clip": 1.0}, "mode": "probe"},
        {"learning": {"patience": 3}, "mode": "probe"},
        {"mode": "probe", "optimizer": "solve", "epochs": 3},
        {"mode": "probe", "optimizer": "adamw", "budget": "5m"},
        {"mode": "probe", "augmentation": {"flip": 0.1}},
        {"augmentation": {"crop": "centre", "scale": (0.5, 1.0)}},
        {"augmentation": {"blur_sigma": (1.0, 2.0)}},
        {"augmentation": {"jpeg_quality": (10, 20)}},
        {"input": {"resize": "native", "interpolation": "bicubic"}},
        {"views": 3},
        {"views": 3, "mode": "scratch"},
        {"views": 3, "train_from": "conv5_x", "augmentation": {"mixup": 0.2}},
        {"features": {"views": 4, "most_views": 3}, "train_from": "conv5_x"},
        {"features": {"precision": "float32"}, "mode": "scratch"},
        {"layout": "timm", "mode": "scratch"},
        {"options": {"head_initialisation": "uniform"}},
        {"options": {"head_initialisation": "uniform"}, "mode": "probe"},
    ],
    ids=str,
)
def test_what_would_have_no_effect_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="would have no effect"):
        configure("photos", **settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"machine": {"devices": 2}}, "--machine.devices: one device trains"),
        ({"learning": {"class_weights": True, "balanced_sampling": True}}, "count rare ones twice"),
        ({"optimizer": "sgd", "learning": {"nesterov": True, "momentum": 0.0}}, "looks ahead by the momentum"),
        ({"seed": 2**64}, "--seed: less than 9223372036854775808 is wanted"),
        ({"cache_size": "9" * 400 + "GB"}, "--cache-size: this is not a size"),
        ({"budget": "9" * 400 + "h"}, "budget: this is not a time"),
        ({"augmentation": {"mixup": 1e-320}}, "mixup is 0, which mixes nothing, or at least 0.001"),
        ({"augmentation": {"cutmix": 1e300}}, r"--augmentation.cutmix: at most 1000 is wanted, not 1e\+300"),
        ({"epochs": 3, "learning": {"epochs": 4}}, "learning.epochs: 3 and 4"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        configure("photos", **settings)


def floats_of(record: type[BaseModel], place: str = "") -> set[str]:
    """The settings that take a number with a fraction, or several."""
    inner: dict[str, Any] = {name: field.annotation for name, field in record.model_fields.items()}
    below = {name: kind for name, kind in inner.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    here = {place + name for name, kind in inner.items() if name not in below and re.search(r"\bfloat\b", str(kind))}
    return here.union(*(floats_of(kind, f"{place}{name}.") for name, kind in below.items()))


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_no_setting_is_infinite_or_no_number(number: float) -> None:
    asked = floats_of(Config)
    assert len(asked) > 20
    for name in asked:
        usual = getattr(configure("photos"), name.partition(".")[0])
        usual = getattr(usual, name.partition(".")[2], None) if "." in name else None
        value = (number,) * len(usual) if isinstance(usual, tuple) else number
        value = (number,) * 3 if name in ("input.mean", "input.std") else value
        said = nested({name: {"dropout": number} if name == "options" else value})
        with pytest.raises(UserError, match=r"cannot be used\n(.*\n)?.*finite number"):
            configure("photos", **said)


def test_no_recipe_of_ours_says_how_other_peoples_data_lies() -> None:
    for name in recipes():
        assert configure("photos", recipe=name).data == configure("photos").data, name


def test_a_layout_that_is_not_said_is_none_that_could_be_idle() -> None:
    assert configure("photos", model="small", layout="auto").layout == "auto"
    with pytest.raises(UserError, match="layout: no weights are loaded"):
        configure("photos", model="small", layout="keras")
