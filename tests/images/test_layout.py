"""Layouts: a tree of folders is read as classes or parts only where a person would; else it is refused, or told."""

import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.images.folders import find_images
from pellucid.images.samples import Samples, Source
from pellucid.images.sources import read_samples


def encoded(kind: str, shade: int = 0) -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4), (shade, 9, 9)).save(file, kind)
    return file.getvalue()


PNG = encoded("PNG")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lay(*places: str, content: bytes = PNG) -> None:
    """An image at each place; `d/cat/` gets one called 1.png."""
    for place in places:
        path = Path(place + "1.png" if place.endswith("/") else place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def parts(samples: Samples) -> dict[str, str | None]:
    return {sample.path.relative_to(samples.root).as_posix(): sample.part for sample in samples}


def refused(data: str = "d", **source: object) -> str:
    with pytest.raises(UserError) as caught:
        read_samples(data, Source(**source))  # type: ignore[arg-type]
    return str(caught.value)


def told(samples: Samples) -> str:
    return "\n".join(samples.notes)


PAIRS = [
    ("training", "testing"),
    ("training_set", "test_set"),
    ("train_images", "test_images"),
    ("Train Data", "Test Data"),
    ("seg_train", "seg_test"),
    ("01_train", "02_test"),
    ("tr", "te"),
    ("trainset", "testset"),
    ("TrainingSet", "TestSet"),
    ("train-2024", "test-2024"),
    ("train2017", "test2017"),
    ("x_train", "x_test"),
    ("train (1)", "test (1)"),
    ("Training Images", "Test Images"),
    ("TRAIN", "HOLDOUT"),
    ("train", "hold-out"),
    ("train_val", "test"),
    ("train", "eval"),
    ("flowers-train", "flowers-test"),
    ("traindata", "testingdata"),
    ("entraînement", "test"),
    ("训练集", "测试集"),
    ("dogtrain", "dogtest"),
    ("Trainingsdaten", "Testdaten"),
    ("train_resized_256px", "test_resized_256px"),
]


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_names_of_parts_are_understood_word_by_word(train, test):
    lay(f"d/{train}/cat/", f"d/{train}/dog/", f"d/{test}/cat/", f"d/{test}/dog/")
    samples = read_samples("d")
    assert samples.classes == ("cat", "dog")
    assert parts(samples) == {
        f"{train}/cat/1.png": "train",
        f"{train}/dog/1.png": "train",
        f"{test}/cat/1.png": "test",
        f"{test}/dog/1.png": "test",
    }
    plain = (train, test) == ("train", "test")
    assert plain or (train in told(samples) and "--source class-folders" in told(samples))
    assert read_samples("d", Source(kind="class-folders")).classes == tuple(sorted((train, test)))


@pytest.mark.parametrize("validation", ["dev", "Validation Images", "val2017", "valid_set", "development", "eval"])
def test_validation_has_many_names(validation):
    lay(*(f"d/{part}/{name}/" for part in ("train", validation, "test") for name in ("cat", "dog")))
    assert parts(read_samples("d"))[f"{validation}/cat/1.png"] == "validation"


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_parts_without_classes_are_no_classes(train, test):
    lay(f"d/{train}/", f"d/{test}/")
    said = refused()
    assert "looks divided into parts" in said and "--label-from" in said
    assert read_samples("d", Source(kind="class-folders")).classes == tuple(sorted((train, test)))


@pytest.mark.parametrize(
    "classes",
    [
        ("train", "bus", "car"),
        ("test", "control"),
        ("valid", "invalid"),
        ("bullet_train", "freight_train", "tram"),
        ("train_station", "airport"),
        ("test_tube", "beaker"),
        ("tr", "de", "fr"),
        ("trains", "planes"),
        ("mask", "no_mask"),
        ("with_mask", "without_mask"),
        ("masks", "gloves"),
        ("real", "fake"),
        ("oval", "square"),
        ("contest", "protest"),
        ("contest", "interval"),
        ("valley", "coast"),
        ("valley_train", "steam_train"),
        ("testa", "stelo"),
        ("photos", "drawings"),
        ("labels", "no labels"),
        ("dev", "prod"),
        ("1", "2", "10"),
        ("2023", "2024"),
        ("Class 1-samples", "Class 2-samples"),
        ("Sample001", "Sample002"),
        ("A1", "A2"),
        ("part_3001", "part_3002"),
        ("a", "b"),
        ("img", "photo"),
        ("set1", "set_b"),
    ],
)
def test_classes_that_people_have_stay_classes(classes):
    lay(*(f"d/{name}/" for name in classes))
    assert read_samples("d").classes == tuple(sorted(classes))


def test_folders_by_year_in_each_class_are_taken_together_and_told():
    lay(*(f"d/{name}/{year}/" for name in ("cat", "dog") for year in ("2023", "2024")))
    samples = read_samples("d")
    assert samples.counts() == {"cat": 2, "dog": 2} and "taken together" in told(samples)


@pytest.mark.parametrize(
    "places",
    [
        ("benign/SOB/adenosis/", "benign/SOB/fibroma/", "malignant/SOB/ductal/", "malignant/SOB/lobular/"),
        ("cat/black/", "cat/white/", "dog/black/", "dog/brown/"),
        (
            "cat/1.png",
            "cat/old/",
            "cat/indoor/",
            "dog/1.png",
            "dog/outdoor/",
            "cow/1.png",
            "cow/indoor/",
            "cow/outdoor/",
        ),
        ("cat/1/", "cat/2/", "dog/1/", "dog/2/"),
        ("ok/cam1/", "ok/cam2/", "nok/cam1/", "nok/cam2/"),
        ("cat/batch_1/", "cat/batch_2/", "dog/batch_1/", "dog/batch_2/"),
    ],
)
def test_folders_that_order_the_images_of_a_class_are_no_classes(places):
    lay(*(f"d/{place}" for place in places))
    assert set(read_samples("d").classes) == {place.split("/")[0] for place in places}


def test_a_lone_name_of_a_part_is_a_class_and_told():
    lay("d/cat/", "d/dog/", "d/test/")
    assert "test is taken for a class" in told(read_samples("d"))


@pytest.mark.parametrize("name", ["unlabeled", "_unsorted", "TODO"])
def test_what_somebody_set_aside_is_told(name):
    lay("d/cat/", "d/dog/", f"d/{name}/")
    assert f"{name} is taken for a class" in told(read_samples("d"))


@pytest.mark.parametrize("pair", [("Cats", "cats"), ("caf\u00e9", "cafe\u0301")])
def test_a_class_in_another_spelling_in_another_part_is_told_before_training(pair):
    lay(f"d/train/{pair[0]}/", f"d/test/{pair[1]}/", "d/train/dog/", "d/test/dog/")
    if pair[0] == "Cats":
        assert "look alike" in refused()
    else:
        samples = read_samples("d")
        assert samples.classes == ("caf\u00e9", "dog") and "taken for one class" in told(samples)


def test_a_class_that_is_called_as_a_part_may_have_folders_like_the_others():
    lay("d/train/steam/", "d/train/electric/", "d/car/old/", "d/car/new/")
    assert read_samples("d").classes == ("car", "train")


@pytest.mark.parametrize(
    ("places", "what"),
    [
        (("images/", "labels/"), "detection or segmentation"),
        (("images/", "labels/1.txt"), "detection or segmentation"),
        (("JPEGImages/", "Annotations/1.xml"), "detection or segmentation"),
        (("imgs/", "masks/"), "detection or segmentation"),
        (("img/", "gt/"), "detection or segmentation"),
        (("train_images/", "train_masks/"), "detection or segmentation"),
        (("train/", "train_masks/"), "detection or segmentation"),
        (("images/train/", "images/val/", "labels/train/1.txt", "labels/val/1.txt"), "detection or segmentation"),
        (("train/images/", "train/labels/1.txt", "valid/images/", "valid/labels/1.txt"), "detection or segmentation"),
        (("d/cat/", "d/dog/"), "name that instead: d/d"),
        (("deep/down/cat/", "deep/down/dog/"), "name that instead: d/deep/down"),
        (("my photos/cat/", "my photos/dog/"), "name that instead: 'd/my photos'"),
        (("data/train/cat/", "data/test/cat/"), "name that instead: d/data"),
        (("train/cat/", "test/cat/", "unlabelled/"), "unlabelled is no part"),
        (("seg_train/cat/", "seg_test/cat/", "seg_pred/"), "seg_pred is no part"),
        (("train/cat/", "train/dog/", "test/"), "test has no folders of classes"),
        (("train/cat/images/", "train/dog/images/", "val/images/"), "val/images has no folders of classes"),
        (("asl_train/cat/", "asl_train/dog/", "asl_test/asl_test/"), "asl_test/asl_test has no folders of classes"),
        (("train/cat/", "train (1)/cat/", "test/cat/"), "two folders for train"),
        (("trainA/", "trainB/", "testA/", "testB/"), "two folders for"),
        (("train_cats/", "test_dogs/"), "looks divided into parts"),
        (("cat/train/", "cat/test/", "dog/"), "is divided into parts"),
        (("cat/", "dog/", "backup/cat/", "backup/dog/"), "holds cat and dog again"),
        (("fold1/cat/", "fold1/dog/", "fold2/cat/", "fold2/dog/"), "look like the classes"),
        (
            ("learn/cat/", "learn/dog/", "test/cat/", "test/dog/", "test/cow/"),
            "cat and dog: those look like the classes",
        ),
        (("P1/benign/", "P2/benign/", "P2/malignant/", "P3/malignant/"), "benign and malignant: those look like"),
        (
            ("train/P1/sick/", "train/P2/well/", "train/P3/sick/", "train/P4/well/", "test/P5/sick/"),
            "look like the class",
        ),
        (("8863/0/", "8863/1/", "8864/0/", "8864/1/"), "0 and 1: those look like the classes"),
        (("amazon/images/bike/", "amazon/images/mug/", "dslr/images/bike/", "dslr/images/mug/"), "bike and mug: those"),
        (("images_001/images/", "images_002/images/"), "parts of one collection"),
        (("HAM_images_part_1/", "HAM_images_part_2/", "metadata.csv"), "--labels d/metadata.csv"),
        (("fold1/", "fold2/", "fold3/"), "parts of one collection"),
        (("100NIKON/", "101NIKON/"), "parts of one collection"),
        (("a/abbey/", "a/airport/", "b/bakery/shop/"), "parts of one collection"),
        (("images/ramen/", "images/soup/", "meta/classes.txt"), "name that instead: d/images"),
        (("Annotations/a.xml", "Data/train/cat/", "Data/test/cat/"), "name that instead: d/Data"),
        (("rgb/", "depth/"), "detection or segmentation"),
        (("images/", "ground_truth/"), "detection or segmentation"),
        (("1.png", "2.png", "3.png", "rejected/"), "in no folder"),
        (("train/train/", "train/val/", "test/train/", "test/val/"), "holds parts again"),
        (("a/train/cat/", "a/test/cat/", "b/train/cat/", "b/test/cat/"), "a data set of its own"),
        (("train_cats/", "train_dogs/", "test_cats/", "test_dogs/"), "two folders for"),
        (("train-aug/", "test/"), "looks divided into parts"),
        (("images/", "labels.csv"), "name the table that says the labels: d/labels.csv"),
    ],
)
def test_what_looks_like_something_else_is_refused_with_the_flag_that_says_otherwise(places, what):
    lay(*(f"d/{place}" for place in places))
    said = refused()
    assert what in said and "--source class-folders" in said


def test_classes_that_are_divided_each_are_understood():
    lay(*(f"d/{name}/{part}/" for name in ("cat", "dog") for part in ("train", "test")))
    samples = read_samples("d")
    assert samples.classes == ("cat", "dog") and parts(samples)["cat/test/1.png"] == "test"
    assert "taken for parts" in told(samples)
    pooled = read_samples("d", Source(kind="class-folders"))
    assert pooled.classes == ("cat", "dog") and set(parts(pooled).values()) == {None}


def test_one_folder_too_many_in_each_part_is_passed_through():
    lay(
        "d/seg_train/seg_train/sea/",
        "d/seg_train/seg_train/ice/",
        "d/seg_test/seg_test/sea/",
        "d/seg_test/seg_test/ice/",
    )
    samples = read_samples("d")
    assert samples.classes == ("ice", "sea") and parts(samples)["seg_test/seg_test/sea/1.png"] == "test"


EMPTY = "holds no images, and is left out"


def hollow(*places: str) -> None:
    for place in places:
        Path(place).mkdir(parents=True)


@pytest.mark.parametrize(
    "places",
    [("test/cat", "test/dog"), ("test",), ("test/test/cat", "test/test/dog"), ("test/images",), ("Test Data/a",)],
)
def test_a_part_that_is_empty_is_left_out_and_told(places):
    lay(*(f"d/{part}/{name}/" for part in ("train", "validation") for name in ("cat", "dog")))
    hollow(*(f"d/{place}" for place in places))
    samples = read_samples("d")
    assert sorted(parts(samples).values()) == ["train", "train", "validation", "validation"]
    assert f"{places[0].split('/')[0]} {EMPTY}" in told(samples) and samples.classes == ("cat", "dog")
    assert told(read_samples("d", Source(kind="split-folders"))) == told(samples)


def test_files_that_nobody_put_there_do_not_fill_a_part():
    lay(*(f"d/{part}/{name}/" for part in ("train", "test") for name in ("cat", "dog")))
    lay("d/val/.DS_Store", "d/val/cat/Thumbs.db", "d/val/cat/.1.png.swp", "d/val/notes.txt", content=b"x")
    samples = read_samples("d")
    assert f"val {EMPTY}" in told(samples) and set(parts(samples).values()) == {"train", "test"}


def test_a_part_of_pictures_that_are_not_read_is_not_empty():
    lay("d/train/cat/", "d/train/dog/")
    lay("d/test/cat/IMG_1.HEIC", content=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert "test holds no images" in refused() and "save them as JPEG or PNG" in refused()
    lay("d/test/dog/")
    assert "test/cat holds no images" in refused() and "save them as JPEG or PNG" in refused()


def test_with_all_parts_but_train_empty_the_rest_is_carved_from_it():
    for number in range(16):
        lay(f"d/train/{('cat', 'dog')[number % 2]}/{number}.png", content=encoded("PNG", number))
    hollow("d/validation/cat", "d/validation/dog", "d/test")
    samples = read_samples("d")
    assert set(parts(samples).values()) == {"train"}
    assert "test and validation hold no images, and are left out" in told(samples)
    counts = pl.split(samples).counts()
    assert sum(counts["validation"].values()) and not sum(counts["test"].values())


def test_an_empty_training_part_is_refused_by_train_alone(capsys):
    lay(*(f"d/{part}/{name}/" for part in ("val", "test") for name in ("cat", "dog")))
    hollow("d/train/cat", "d/train/dog")
    assert f"train {EMPTY}" in told(read_samples("d"))
    assert run(["train", "d", "--model", "small"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "d comes divided, and holds no training images" in said and f"train {EMPTY}" in said
    assert "validation (2 images), test (2 images)" in said and "--ignore-parts" in said
    assert not Path("runs").exists()


def test_parts_that_are_all_empty_are_no_data():
    hollow("d/train/cat", "d/test/cat")
    assert "holds no images" in refused()


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_class_folder_that_is_empty_in_one_part_is_left_out_of_it_and_told(part, capsys):
    lay(*(f"d/{one}/{name}/" for one in ("train", "validation") for name in ("cat", "dog")))
    lay(f"d/{'train' if part == 'validation' else 'validation'}/fox/")
    hollow(f"d/{part}/fox")
    samples = read_samples("d")
    assert samples.classes == ("cat", "dog", "fox") and f"{part}/fox {EMPTY}" in told(samples)
    if part == "train":
        assert run(["train", "d", "--model", "small"]) == 2
        assert "the training part has no image of fox" in capsys.readouterr().err


def test_a_class_folder_that_is_empty_in_every_part_is_refused():
    lay(*(f"d/{part}/{name}/" for part in ("train", "validation") for name in ("cat", "dog")))
    hollow("d/train/fox", "d/validation/fox")
    assert "train/fox holds no images" in refused()


def test_an_empty_folder_beside_parts_is_left_out_and_told():
    lay("d/train/cat/", "d/train/dog/", "d/test/cat/", "d/test/dog/")
    hollow("d/models")
    samples = read_samples("d")
    assert samples.classes == ("cat", "dog") and f"models {EMPTY}" in told(samples)


def test_an_empty_part_in_a_class_is_left_out_and_told():
    lay("d/cat/train/", "d/cat/test/", "d/dog/train/")
    hollow("d/dog/test")
    samples = read_samples("d")
    assert samples.classes == ("cat", "dog") and f"dog/test {EMPTY}" in told(samples)
    hollow("d/dog/later")
    assert "dog/later and dog/test hold no images, and are left out" in told(read_samples("d"))


def test_parts_in_classes_of_which_all_but_one_are_empty_are_parts():
    lay(*(f"d/{name}/train/" for name in ("cat", "dog")))
    hollow("d/cat/test", "d/dog/test")
    samples = read_samples("d")
    assert set(parts(samples).values()) == {"train"} and samples.classes == ("cat", "dog")
    assert "cat/test and dog/test hold no images, and are left out" in told(samples)


def test_file_names_in_parts_of_which_one_is_empty():
    lay("d/train/cat1.png", "d/train/dog1.png")
    hollow("d/test")
    for more in ("d/validation/cat2.png", "d/train/dog3.png"):
        samples = read_samples("d", Source(label_from="^(?P<label>[a-z]+)"))
        assert set(parts(samples).values()) <= {"train", "validation"} and f"test {EMPTY}" in told(samples)
        lay(more)


def test_what_is_left_out_as_empty_is_told_in_the_terminal(capsys):
    lay(*(f"d/{part}/{name}/" for part in ("train", "validation") for name in ("cat", "dog")))
    hollow("d/test/cat", "d/test/dog")
    assert run(["split", "d", "out.json"]) == 0
    assert f"test {EMPTY}" in " ".join(capsys.readouterr().out.split())


def test_file_names_in_parts_keep_their_parts():
    lay("d/train/cat1.png", "d/train/dog1.png", "d/test/cat2.png")
    samples = read_samples("d", Source(label_from="^(?P<label>[a-z]+)"))
    assert parts(samples) == {"train/cat1.png": "train", "train/dog1.png": "train", "test/cat2.png": "test"}


def test_folders_of_parts_that_do_not_count_are_told():
    lay("d/train/cat1.png", "d/test/dog2.png", "d/more/cat3.png")
    samples = read_samples("d", Source(label_from="^(?P<label>[a-z]+)"))
    assert set(parts(samples).values()) == {None} and "divided anew" in told(samples)
    Path("d/t.csv").write_text("path,label\ntrain/cat1.png,cat\ntest/dog2.png,dog\n")
    assert "divided anew" in told(read_samples("d/t.csv"))


@pytest.mark.parametrize("label", ["N/A", "../../out", "..", ".hidden", "lost+found"])
def test_a_label_that_no_folder_can_be_called_is_never_laid_out(label):
    lay("i/0.png", "i/1.png", "i/2.png", "i/3.png")
    rows = "".join(f"i/{number}.png,{(label, 'cat')[number % 2]}\n" for number in range(4))
    Path("t.csv").write_text("path,label\n" + rows)
    before = sorted(Path.cwd().rglob("*"))
    assert run(["split", "t.csv", "deep/laid", "--train", "0.5", "--test", "rest", "--how", "copy"]) == 2
    assert sorted(Path.cwd().rglob("*")) == before and not Path("../out").exists()


def test_one_class_is_refused_before_anything_is_built(capsys):
    lay("d/cat/", "d/cat/2.png")
    assert read_samples("d").classes == ("cat",)  # which `evaluate` may be asked about
    for command in (["train", "d"], ["split", "d", "out.json"]):
        assert run(command) == 2
        assert "one class alone: cat" in capsys.readouterr().err.replace("\n", " ")
    assert not Path("runs").exists() and not Path("out.json").exists()


def test_what_systems_make_is_neither_class_nor_image():
    lay("d/cat/", "d/dog/", "d/__MACOSX/cat/", "d/cat/@eaDir/1.png/", "d/#recycle/", "d/lost+found/", "d/$RECYCLE.BIN/")
    lay("d/.ipynb_checkpoints/", "d/cat/._1.png", "d/cat/Thumbs.db", "d/cat/desktop.ini", content=b"x")
    samples = read_samples("d")
    assert list(parts(samples)) == ["cat/1.png", "dog/1.png"]
    assert [path.as_posix() for path in find_images(Path("d"))] == ["d/cat/1.png", "d/dog/1.png"]
    assert "made by the system" in told(samples)


@pytest.mark.parametrize("target", ["..", "../..", ".", "../cat"])
def test_a_link_does_not_make_every_cat_a_dog(target):
    lay("d/cat/1.png", "d/cat/2.png", "d/dog/3.png")
    Path("d/dog/again").symlink_to(target)
    samples = read_samples("d")
    assert samples.counts() == {"cat": 2, "dog": 1} and "a link " in told(samples)


def test_a_class_that_is_a_link_to_another_is_left_out_by_name():
    lay("d/cat/", "d/cow/")
    Path("d/dog").symlink_to("cat")
    samples = read_samples("d")
    assert samples.classes == ("cat", "cow") and "a link to cat" in told(samples)


def test_links_to_folders_elsewhere_are_followed_and_each_folder_is_read_once():
    lay("store/a/1.png", "store/b/2.png")
    Path("store/b/loop").symlink_to("../a")
    Path("d").mkdir()
    Path("d/cat").symlink_to("../store/a")
    Path("d/dog").symlink_to("../store/b")
    assert read_samples("d").counts() == {"cat": 1, "dog": 1}


def test_runs_inside_the_data_are_left_out_and_not_to_be_removed():
    lay("d/cat/", "d/dog/", "d/runs/d-small-1/report/cat.png", "d/dog/d-small-2/x.png")
    for place in ("d/runs/d-small-1", "d/dog/d-small-2"):
        for name in ("config.toml", "provenance.json", "events.jsonl"):
            Path(place, name).write_text("")
    samples = read_samples("d")
    assert samples.counts() == {"cat": 1, "dog": 1} and "2 x runs of pellucid" in told(samples)
    assert "is a run of pellucid" in refused("d/runs/d-small-1")


def test_a_folder_without_images_is_never_to_be_removed():
    lay("d/cat/")
    Path("d/notes").mkdir()
    assert "leave it out" in refused() and "remove" not in refused()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.mpo", "MPO"), ("a.ico", "ICO"), ("a.jpg_large", "JPEG"), ("a", "JPEG"), ("a.jpg ", "JPEG"), ("a.JPG", "JPEG"),
     ("a.heic", "JPEG"), ("a.thumb", "PNG"), ("a.jpg~", "GIF"), ("a.bak", "BMP"), ("a.img", "TIFF"), ("a.pic", "WEBP")],
)  # fmt: skip
def test_images_are_told_by_content_where_their_name_does_not_say(name, kind):
    lay(f"d/cat/{name}", content=encoded(kind))
    lay("d/dog/")
    samples = read_samples("d")
    assert samples.counts() == {"cat": 1, "dog": 1}
    assert pl.read_samples("d").left_out == ()


@pytest.mark.parametrize(
    "name", ["IMG_1.HEIC", "a.heif", "a.jxl", "a.dng", "a.nef", "a.mp4", "a.dcm", "a.pdf", "README"]
)
def test_what_is_left_out_is_counted_by_suffix(name):
    lay("d/cat/", "d/dog/")
    lay(
        f"d/cat/{name}",
        f"d/dog/{name}",
        content=b"II*\0" if "." in name and name[-3:] in ("dng", "nef") else b"\0\0\0\x18",
    )
    assert f"2 x {Path(name).suffix.lower() or 'no suffix'}" in told(read_samples("d"))


def test_a_class_of_pictures_that_are_not_read_says_what_they_are_and_what_to_do():
    lay("d/cat/")
    lay("d/fox/IMG_1.HEIC", content=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    said = refused()
    assert "1 x .heic (HEIF) is not read" in said and "save them as JPEG or PNG" in said


def test_a_class_whose_name_is_no_text_is_refused_and_a_file_is_read():
    lay("d/cat/", "d/dog/")
    Path(os.fsdecode(b"d/cat/caf\xe9.png")).write_bytes(PNG)
    assert read_samples("d").counts() == {"cat": 2, "dog": 1}
    Path("d/cat").rename(os.fsdecode(b"d/k\xe4tzchen"))
    assert "not UTF-8" in refused() and "\\xe4" in refused()


@pytest.mark.parametrize("data", ["x" * 300, "nul\0", "gone", ""])
def test_names_that_no_data_can_have_are_told(data):
    assert run(["split", data, "out.json"]) == 2


KAGGLE = ("d/seg_train/cat/", "d/seg_train/dog/", "d/seg_test/cat/", "d/seg_test/dog/", "d/seg_pred/1.png")


def test_a_folder_is_left_out_by_name_with_a_count_of_its_images():
    lay(*KAGGLE, "d/seg_pred/2.png")
    assert "leave it out: --leave-out 'seg_pred'" in refused()
    samples = read_samples("d", Source(leave_out="seg_pred"))
    assert {sample.part for sample in samples} == {"train", "test"} and samples.classes == ("cat", "dog")
    assert "left out: 2 x in seg_pred, as asked" in told(samples)
    assert [path.name for path, _ in samples.left_out] == ["1.png", "2.png"]


@pytest.mark.parametrize("name", ["old", "./old/", "cat/old", "train/cat/old"])
def test_a_folder_is_left_out_at_any_level_and_only_there_where_its_path_is_said(name):
    lay("d/train/cat/", "d/train/dog/", "d/train/cat/old/2.png", "d/train/dog/old/3.png")
    if name == "cat/old":  # that is no path below the data
        assert "did you mean train/cat/old?" in refused(leave_out=[name])
        return
    samples = read_samples("d", Source(kind="split-folders", leave_out=(name,)))
    assert samples.counts() == {"cat": 1, "dog": 2 if "cat" in name else 1}


def test_of_parts_beside_each_other_one_is_left_out():
    lay("d/train/cat/", "d/train/dog/", "d/test/cat/", "d/test/dog/", "d/test1/1.png")
    assert "--leave-out 'test1'" in refused()
    assert set(parts(read_samples("d", Source(leave_out=["test1"]))).values()) == {"train", "test"}


def test_a_class_is_left_out_and_what_is_not_there_is_refused_with_the_nearest_name():
    lay("d/cat/", "d/dog/", "d/fox/")
    assert read_samples("d", Source(leave_out=["fox"])).classes == ("cat", "dog")
    assert "did you mean fox?" in refused(leave_out=["foxes"])
    assert "no such folder" in refused(leave_out=["."]) and "it has cat, dog and fox" in refused(leave_out=["../e"])


def test_a_folder_that_is_left_out_need_not_be_readable_and_may_lie_in_another(monkeypatch):
    lay("d/cat/", "d/dog/", "d/private/inner/")
    scan = os.scandir

    def scanned(path):
        if "private" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scanned)
    assert "cannot be read" in refused()
    samples = read_samples("d", Source(leave_out=["private", "private/inner"]))
    assert samples.classes == ("cat", "dog") and "a folder without images, as asked" in told(samples)


def test_a_link_into_a_folder_that_is_left_out_is_followed():
    lay("d/cat/", "d/store/dog/")
    Path("d/dog").symlink_to("store/dog")
    assert read_samples("d", Source(leave_out=["store"])).counts() == {"cat": 1, "dog": 1}


def test_folders_are_left_out_of_flat_ones_too_and_not_of_tables():
    lay("d/H1.png", "d/N2.png", "d/new/X3.png")
    Path("t.csv").write_text("path,label\nH1.png,h\nN2.png,n\nX3.png,n\n")
    assert "--leave-out FOLDER" in refused(label_from="^(?P<label>[HN])")
    assert read_samples("d", Source(label_from="^(?P<label>[HN])", leave_out=["new"])).classes == ("H", "N")
    samples = read_samples("d", Source(labels="t.csv", leave_out=["new"]))
    assert len(samples) == 2 and "1 x in new, as asked" in told(samples)
    assert "--leave-out is for folders" in refused("t.csv", leave_out=["new"])


def test_every_verb_that_reads_data_can_leave_folders_out(capsys):
    lay(*KAGGLE, "d/old/1.png")
    assert run(["split", "d", "parts.json", "--leave-out", "seg_pred", "--leave-out", "old"]) == 0
    assert "1 x in seg_pred, as asked" in " ".join(capsys.readouterr().out.split())
    config = pl.configure("d", leave_out="seg_pred")
    assert config.data.source.leave_out == ("seg_pred",)
    assert run(["evaluate", "nowhere", "d", "--leave-out", "old"]) == 2
    assert "nowhere" in capsys.readouterr().err
    lay("more/cat/", "more/dog/")
    config = pl.configure("d", leave_out=["seg_pred", "old"], validation_from={"data": "more", "leave_out": ["x"]})
    assert config.data.validation_from.source.leave_out == ("x",)
