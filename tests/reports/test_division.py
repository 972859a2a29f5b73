"""How images were divided, in words that need no manual."""

from pathlib import Path

import pytest

from pellucid.images.manifest import Split, read_manifest, write_manifest
from pellucid.images.samples import Source
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.reports.division import division
from tests.pictures import make_classes

BEFORE = Path(__file__).parents[1] / "images" / "manifest_of_before.json"
TWINS = "Files with the same content stay in one part."
RANDOM = (
    "Otherwise the part of an image is drawn at random, with the same outcome on every machine: it depends on seed 0 "
    "and the files' contents."
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_classes(tmp_path / "photos", images=20, size=8, names=("a", "b"))


def test_shares_are_percents_of_every_class(photos: Path) -> None:
    parts = split(read_samples(photos), train="0.6", validation="15%", test="rest")
    assert division(parts) == (
        f"60 % to train, 15 % to validate, the rest to test, and the same shares of every class. {TWINS} {RANDOM}"
    )


def test_numbers_are_of_images(photos: Path) -> None:
    assert division(split(read_samples(photos), train="12", test="rest")).startswith("12 images to train, the rest to ")
    each = division(split(read_samples(photos), train="12", test="rest", per_class=True))
    assert each.startswith(f"12 images of each class to train, the rest to test. {TWINS}")


def test_groups_are_told_of_where_there_are_some(photos: Path) -> None:
    said = division(split(read_samples(photos, Source(group_from=r"(?P<group>\d)\.png"))))
    assert "Files with the same content, and images of one group, stay in one part." in said
    assert said.endswith("it depends on seed 0, the files' contents and the groups' names.")


def test_ready_parts_are_not_random(tmp_path: Path) -> None:
    for part in ("train", "test"):
        make_classes(tmp_path / "ready" / part, images=12, size=8, names=("a", "b"))
    carved = division(split(read_samples(tmp_path / "ready")))
    assert carved.startswith(
        "The data came divided into parts. It had no validation part: 15 % of its train part became one, and the same "
    )
    further = division(split(read_samples(tmp_path / "ready"), train="4", validation="rest"))
    assert "Its train part was divided further: 4 images to train, the rest to validate" in further
    make_classes(tmp_path / "ready" / "validation", images=4, size=8, names=("a", "b"))
    assert division(split(read_samples(tmp_path / "ready"))) == "The data came divided into parts."


def test_an_earlier_split_is_named(photos: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "parts: 1 image as in.json"
    new = sorted((photos / "a").iterdir())[:5]
    for image in new:
        image.rename(tmp_path / image.name)
    write_manifest(split(read_samples(photos)), earlier)
    for image in new:
        (tmp_path / image.name).rename(image)
    said = division(split(read_samples(photos), keep_split=earlier))
    assert said.startswith(f"35 images are in the parts that they have in {earlier}; 5 are new. The rest to train, ")


def test_older_manifests_are_read_too() -> None:
    old = read_manifest(BEFORE)
    assert division(old).startswith("50 % to train, the rest to validate, and the same shares of every class. Files ")
    carved = "the parts that the data came with; validation carved from train (0.15), every class alike, twins together"
    assert "15 % of its train part became one" in division(old.model_copy(update={"rule": carved}))
    further = "the parts that the data came with; of train validation 0.2, test 5, every class alike, twins together"
    assert "further: 20 % to validate, 5 images to test" in division(old.model_copy(update={"rule": further}))
    unnamed = Split(root=".", rule=old.rule, seed=3, classes=(), files=())
    assert "random" not in division(unnamed)


def test_a_rule_in_other_words_stands_as_it_is() -> None:
    assert division(Split(root=".", rule="by hand", seed=3, classes=(), files=())) == "by hand; seed 3."
