"""Copies by class: where they go, what they are called, and what is never replaced."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pellucid.errors import UserError
from pellucid.uses.inputs import expand_inputs
from pellucid.uses.predict import predict_stream
from pellucid.uses.sorting import Sorter
from tests.brightness import classifier, save


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sort(*arguments: str, classes: Sequence[str] = ("dark", "bright"), into: str = "sorted") -> list[str]:
    model = classifier(Path("model"), classes=tuple(classes))
    inputs = list(expand_inputs(arguments, standard_input=[]))
    sorter = Sorter(Path(into), model.classes, arguments)
    for source, predicted in zip(inputs, predict_stream(model, inputs), strict=True):
        sorter.take(predicted, source)
    return sorter.finish()


def there(folder: str = "sorted") -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()]
    return sorted(names, key=lambda name: name.removesuffix(".png"))


def test_each_image_is_copied_to_the_folder_of_its_class_and_stays_where_it_was() -> None:
    white, black = save(Path("photos/white.png"), 255), save(Path("photos/deeper/black.png"), 0)
    Path("photos/broken.png").write_text("no picture")
    assert sort("photos", "gone.png") == ["sorted: 2 copies; 2 images left where they are, without a class"]
    assert there() == ["bright/white.png", "dark/black.png"]
    assert Path("sorted/bright/white.png").read_bytes() == white.read_bytes()
    assert black.exists() and Path("photos/broken.png").exists()


def test_images_of_one_name_are_numbered_and_nothing_is_replaced() -> None:
    for folder in "abc":
        save(Path(f"photos/{folder}/x.png"), 255)
    save(Path("photos/d/X.png"), 254)
    Path("sorted/bright").mkdir(parents=True)
    Path("sorted/bright/x-2.png").write_text("mine")
    sort("photos")
    assert there() == [f"bright/{name}.png" for name in ("X-5", "x", "x-2", "x-3", "x-4")]
    assert Path("sorted/bright/x-2.png").read_text() == "mine"
    sort("photos")
    assert len(there()) == 9 and Path("sorted/bright/x-2.png").read_text() == "mine"


def test_members_of_archives_are_copied_under_their_own_name() -> None:
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write(save(Path("one.png"), 255), "a/b/one.png")
    sort("photos.zip")
    assert there() == ["bright/one.png"]
    assert Path("sorted/bright/one.png").read_bytes() == Path("one.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cats/dogs", "cats_dogs"),
        ("../../out", "_.._.._out"),
        ("..", "_"),
        (".hidden", "_.hidden"),
        ("CON", "_CON"),
        ("a:b*?", "a_b__"),
        ("dot.", "dot"),
        ("größe 10 %", "größe 10 %"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_class_becomes_a_name_that_every_file_system_has(name: str, folder: str) -> None:
    sorter = Sorter(Path("sorted"), ["dark", name], [])
    assert sorter.folder_of == {"dark": "dark", name: folder}


def test_classes_whose_folders_would_be_one_have_two() -> None:
    sorter = Sorter(Path("sorted"), ["a/b", "a:b", "A_B", "a_b-2"], [])
    assert len({folder.casefold() for folder in sorter.folder_of.values()}) == 4


def test_a_folder_within_the_images_is_refused() -> None:
    save(Path("photos/a.png"), 0)
    Path("link").symlink_to("photos")
    for into in ("photos/sorted", "photos", "link/sorted"):
        with pytest.raises(UserError, match="lies in photos"):
            sort("photos", into=into)
    Path("file").touch()
    with pytest.raises(UserError, match="is no folder"):
        sort("photos", into="file")
    assert there("photos") == ["a.png"]


def test_a_picture_of_the_answers_never_takes_an_images_place(tmp_path: Path) -> None:
    from pellucid.uses.inputs import check_apart

    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"a photograph")
    with pytest.raises(UserError, match="is one of the images"):
        check_apart(photos / "a.jpg", [str(photos / "a.jpg")], "the picture")
    with pytest.raises(UserError, match="would be read as images of it from then on"):
        check_apart(photos / "grid.png", [str(photos)], "the picture")
    check_apart(tmp_path / "grid.png", [str(photos)], "the picture")


def test_no_link_leads_copies_out_of_the_folder(tmp_path: Path) -> None:
    from pellucid.uses.sorting import Sorter

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sorted").mkdir()
    (tmp_path / "sorted" / "ants").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="ants is a link"):
        Sorter(tmp_path / "sorted", ("ants", "bees"), [])
    (tmp_path / "sorted" / "ants").unlink()
    (tmp_path / "sorted" / "bees").write_text("no folder")
    with pytest.raises(UserError, match="bees is a file"):
        Sorter(tmp_path / "sorted", ("ants", "bees"), [])
