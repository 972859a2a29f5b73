"""Recipes: what each is said to do, shown whole, found by its old name; and what a size means over one."""

import json
import re
from pathlib import Path

import pytest

from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.training.configure import configure
from pellucid.training.recipes import FORMER, Recipe, recipe, recipes

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
OURS = {"demo", "finetune", "probe", "scratch"}  # what we do


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_says_what_it_does_and_what_we_would_do_instead(name: str) -> None:
    found = recipe(name)
    assert found.about.endswith(".") and (name in OURS or found.instead.endswith("."))
    for flag in re.findall(r"--recipe ([\w-]+)", found.instead):
        assert flag in recipes()


@pytest.mark.parametrize("name", recipes())
def test_what_is_shown_of_a_recipe_is_a_file_that_does_the_same(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["recipes", name]) == 0
    shown = capsys.readouterr().out
    (tmp_path / "copy.toml").write_text(shown)
    again = configure("photos", recipe=str(tmp_path / "copy.toml"))
    assert again.model_dump() == configure("photos", recipe=name).model_dump()
    said = {line.split(" = ")[0] for line in shown.splitlines() if " = " in line and not line.endswith("# the default")}
    settings = recipe(name).settings
    inner = {key for table in settings.values() if isinstance(table, dict) for key in table}
    assert said == {key for key, value in settings.items() if not isinstance(value, dict)} | inner


def test_all_recipes_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["recipes"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    for name in recipes():
        assert f"{name} {recipe(name).about}" in listed and recipe(name).instead in listed
    assert command(["recipes", "--format", "json"]) == 0
    lines = [Recipe.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.name for line in lines] == recipes()
    assert command(["recipes", "probe", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["learning"]["momentum"] == 0.9  # a default


def test_the_page_says_what_the_recipes_say() -> None:
    words = " ".join(PAGE.read_text(encoding="utf-8").split())
    for name in recipes():
        assert f"`{name}` | {recipe(name).about} | {recipe(name).instead or '–'} |" in words


@pytest.mark.parametrize("former", FORMER)
def test_a_former_name_leads_to_those_in_its_place(former: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'recipe = "{former}"\n')
    for name in (former, str(tmp_path / "mine.toml")):
        with pytest.raises(UserError, match=f"there is no recipe '{former}' any more") as refused:
            configure("photos", recipe=name)
        assert set(FORMER[former]) <= set(re.findall(r"--recipe ([\w-]+)", refused.value.hint))
    assert set(FORMER[former]) <= set(recipes())
    assert command(["recipes", former]) == 2


def test_a_size_over_a_recipes_own_shows_as_much_of_an_image() -> None:
    faces = configure("photos", recipe="fake-faces-cnn", size=112)
    assert (faces.input.size, faces.input.resize) == (112, 128)  # half of 224 and of 256
    assert faces.remarks == (
        "input.resize is 128 at 112 pixels, so that the network sees as much of an image as with the recipe's size",
    )
    eyes = configure("photos", recipe="myopia-resnet50", input={"size": 64})
    assert eyes.input.resize == (64, 64)
    said = configure("photos", recipe="fake-faces-cnn", size=112, input={"resize": 256})
    assert said.input.resize == 256 and not said.remarks
    assert not configure("photos", recipe="fake-faces-cnn").remarks
    assert configure("photos", recipe="demo", size=64).input.resize == "native"


def test_a_files_size_over_the_recipe_that_it_names_does_too(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('recipe = "fake-faces-cnn"\n[input]\nsize = 112\n')
    assert configure("photos", recipe=str(tmp_path / "mine.toml")).input.resize == 128
    assert configure("photos", recipe=str(tmp_path / "mine.toml"), size=56).input.resize == 64


def test_a_recipe_for_another_network_keeps_the_options_of_its_own_to_itself() -> None:
    for model in ("timm/mobilenetv2_100", "faces.py:Net"):  # which do not know them
        asked = configure("photos", recipe="fake-faces-cnn", model=model)
        assert not asked.options and (asked.learning.epochs, asked.input.resize) == (192, 256)
        assert asked.remarks == ("what the recipe says of its own network is left out: initialisation",)
    timms = configure("photos", recipe="fake-faces-vgg11", model="timm/vgg11")
    assert timms.options == {"dropout": 0.5} and not timms.remarks
    said = configure("photos", recipe="fake-faces-cnn", model="faces.py:Net", options={"width": 2.0})
    assert said.options == {"width": 2.0}
    assert configure("photos", recipe="fake-faces-cnn", model="vgg11").options == {"initialisation": "torch"}
