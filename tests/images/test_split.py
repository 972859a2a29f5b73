"""Splits: complete, disjoint, alike in every class, whole in groups and twins, the same everywhere."""

import os
import random
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import pellucid as pl
from pellucid.errors import UserError
from pellucid.images.manifest import read_manifest, write_manifest
from pellucid.images.samples import Sample, Samples, Source
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.reports.live_table import LiveTable
from pellucid.training.configure import configure
from pellucid.training.train import train_events
from tests.golden import check
from tests.pictures import make_classes
from tests.shared import shared


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_classes(Path("photos"), images=20, size=8, names=("a", "b", "c"))


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_disjoint_complete_and_alike(photos: Path, seed: int) -> None:
    parts = split(read_samples(photos), train="0.6", validation="0.2", test="rest", seed=seed)
    assert sorted(map(parts.below, parts.files)) == sorted(
        sample.path.relative_to(photos).as_posix() for sample in read_samples(photos)
    )
    assert parts.counts() == {
        "train": {"a": 12, "b": 12, "c": 12},
        "validation": {"a": 4, "b": 4, "c": 4},
        "test": {"a": 4, "b": 4, "c": 4},
    }


def test_twins_stay_together_and_are_noted(photos: Path) -> None:
    for number in range(6):
        (photos / "a" / f"twin{number}.png").write_bytes((photos / "a" / "000.png").read_bytes())
    for seed in range(8):
        parts = split(read_samples(photos), train="0.5", test="rest", seed=seed)
        twins = {file.part for file in parts.files if "twin" in file.path.name or parts.below(file) == "a/000.png"}
        assert len(twins) == 1
    assert "6 images are exact copies of others" in parts.notes


def test_groups_stay_together(photos: Path) -> None:
    samples = read_samples(photos, Source(group_from=r"(?P<group>\d)\.png"))
    parts = split(samples, train="0.5", test="rest")
    assert all(
        len({file.part for file in parts.files if file.group == group}) == 1
        for group in {file.group for file in parts.files}
    )


def test_neither_order_nor_place_decides(photos: Path, tmp_path: Path) -> None:
    samples = read_samples(photos)
    shuffled = list(samples.samples)
    random.Random(1).shuffle(shuffled)
    again = Samples(samples.root, samples.kind, tuple(shuffled), samples.classes)
    moved = make_classes(tmp_path / "elsewhere", images=20, size=8, names=("a", "b", "c"))
    wanted = {file.sha256: file.part for file in split(samples, train="30", test="rest", seed=3).files}
    for other in (again, read_samples(moved)):
        assert {file.sha256: file.part for file in split(other, train="30", test="rest", seed=3).files} == wanted


def test_counts_are_exact_also_by_class(photos: Path) -> None:
    assert Counter(file.part for file in split(read_samples(photos), train="50", test="rest").files)["train"] == 50
    of_each = split(read_samples(photos), train="5", validation="2", test="3", per_class=True)
    assert of_each.counts()["test"] == {"a": 3, "b": 3, "c": 3}
    assert len(of_each.files) == 30


def test_a_manifest_is_data_again(photos: Path) -> None:
    parts = split(read_samples(photos), train="0.5", test="rest")
    write_manifest(parts, Path("parts.json"))
    assert read_manifest(Path("parts.json")) == parts
    assert split(read_samples("parts.json")).part("test") == parts.part("test")


def test_tables_and_names_are_read_like_folders(photos: Path) -> None:
    import pandas

    rows = [(f"photos/{s.path.relative_to(photos).as_posix()}", s.label) for s in read_samples(photos)]
    frame = pandas.DataFrame(rows, columns=["path", "label"])
    frame.to_csv("t.csv", index=False)
    frame.to_csv("t.tsv", index=False, sep="\t")
    frame.to_parquet("t.parquet")
    frame.to_excel("t.xlsx", index=False)
    wanted = pl.split(read_samples(photos)).fingerprint()
    for name in ("t.csv", "t.tsv", "t.parquet", "t.xlsx"):
        assert pl.split(read_samples(name)).fingerprint() == wanted
    Path("flat").mkdir()
    for sample in read_samples(photos):
        (Path("flat") / f"{sample.label}{sample.path.name}").write_bytes(sample.path.read_bytes())
    named = read_samples("flat", Source(label_from="^(?P<label>[abc])"))
    assert pl.split(named).fingerprint() == wanted


def test_bad_data_and_wishes_are_told_plainly(photos: Path) -> None:
    def told(name: str, data: str = "photos", source: Source | None = None, **amounts: str | bool) -> None:
        with pytest.raises(UserError) as caught:
            split(read_samples(data, source), **amounts)  # type: ignore[arg-type]
        check(f"images/{name}", str(caught.value))

    Path("empty").mkdir()
    Path("hollow/a").mkdir(parents=True)
    Path("flat").mkdir()
    Path("flat/a1.png").write_bytes(next(photos.rglob("*.png")).read_bytes())
    Path("t.csv").write_text("file,lable\nphotos/a/000.png,a\n")
    Path("u.csv").write_text("path,label\nphotos/a/000.png,a\nphotos/a/none.png,b\n")
    Path("v.csv").write_text("path,label\nphotos/a/000.png,a\nphotos/a/000.png,b\n")
    told("no-data", "nowhere")
    told("empty", "empty")
    told("class-without-images", "hollow")
    told("flat-without-pattern", "flat")
    told("no-column", "t.csv")
    told("missing-files", "u.csv")
    told("two-labels", "v.csv")
    told("pattern-without-group", "flat", Source(label_from="[a-z]"))
    told("bad-pattern", "flat", Source(label_from="("))
    told("unmatched-names", "flat", Source(label_from="^(?P<label>x)"))
    told("unmapped-label", "flat", Source(label_from="^(?P<label>.)", map={"b": "bee"}))
    told("too-few", train="100", test="rest")
    told("too-few-of-a-class", train="15", test="10", per_class=True)
    told("no-amount", train="many")
    told("two-rests", train="rest", test="rest")
    told("more-than-all", train="0.8", test="0.4")
    told("nothing-left", train="60", test="rest")


def test_the_real_sets_are_read_as_their_readme_says() -> None:
    eyes = read_samples(
        shared("data/myopia/PALM-Training400"),
        Source(label_from="^(?P<label>[HNP])", map={"P": "pm", "H": "nonpm", "N": "nonpm"}),
    )
    assert eyes.counts() == {"nonpm": 187, "pm": 210}
    insects = split(read_samples(shared("data/hymenoptera"))).counts()
    assert insects["train"] == {"ants": 123, "bees": 121} and insects["validation"] == {"ants": 70, "bees": 83}


def test_ready_made_parts_keep_their_images_and_report_twins() -> None:
    sample = Sample(Path(__file__), "x", "train")
    twin = Sample(Path(__file__), "x", "validation")
    parts = split(Samples(Path(__file__).parent, "table", (sample, twin), ("x",)))
    assert any("more than one of the parts" in note for note in parts.notes)


def test_what_a_split_has_to_say_is_told_in_the_terminal_before_training(photos: Path) -> None:
    (photos / "a" / "twin.png").write_bytes((photos / "b" / "000.png").read_bytes())
    console = Console(file=StringIO(), width=100)
    with LiveTable(console) as table:
        for event in train_events(configure(photos, model="small", size=32)):
            if event.event == "started":
                break
            table.show(event)
    assert "! 1 image is an exact copy of another" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "in two classes at once" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_class_that_a_part_lacks_is_told_before_training(photos: Path) -> None:
    Path("parts/test").mkdir(parents=True)
    photos.rename("parts/train")
    Path("parts/train/b").rename("parts/test/b")
    Path("parts/test/a").mkdir()
    Path("parts/train/a/000.png").rename("parts/test/a/000.png")
    notes = split(read_samples("parts")).notes
    assert "the test part has no image of c" in notes and "the train part has no image of b" in notes
    with pytest.raises(UserError, match="the training part has no image of b") as caught:
        for _ in train_events(configure("parts", model="small", size=32)):
            pass
    assert "--seed" not in str(caught.value)  # the data came like this


def test_what_is_no_file_ends_a_split_with_its_name(photos: Path) -> None:
    """A pipe would never end; data that another tool keeps are links until it has fetched them."""
    first = next(folder for folder in photos.iterdir() if folder.is_dir())
    (first / "fetched later.jpg").symlink_to("../.git/annex/objects/aa")
    with pytest.raises(UserError, match=r"a link to ../.git/annex/objects/aa, where nothing is"):
        split(read_samples(photos))
    (first / "fetched later.jpg").unlink()
    os.mkfifo(first / "pipe.jpg")
    with pytest.raises(UserError, match=r"pipe.jpg is not a file"):
        split(read_samples(photos))


def test_a_number_that_could_not_be_met_is_told(photos: Path) -> None:
    samples = read_samples(photos)
    assert not any("asked for" in note for note in split(samples, test="7", validation="6").notes)
    write_manifest(split(samples, test="6"), Path("old.json"))
    kept = split(samples, test="12", keep_split="old.json")
    assert len(kept.part("test")) == 6
    assert any("the test part has 6 images, not the 12" in note and "earlier split" in note for note in kept.notes)
    grouped = read_samples(photos, Source(group_from="(?P<group>^.)"))
    assert any("not the 7" in note and "stay whole" in note for note in split(grouped, test="7").notes)


@pytest.mark.usefixtures("photos")
def test_json_of_another_kind_is_no_manifest_with_faults() -> None:
    Path("coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(UserError, match="but other JSON"):
        read_samples("coco.json")
