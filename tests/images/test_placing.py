"""Where splits are written: nothing is replaced but a manifest, no name leads elsewhere, and folders are whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.images.manifest import Split, read_manifest, write_manifest
from pellucid.images.placing import place
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from tests.pictures import make_classes


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_classes(Path("photos"), images=8, size=8, names=("a", "b"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_manifest_replaces_nothing_but_a_manifest(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "\n".join(["path,label", *(f"{p.as_posix()},{p.parent.name}" for p in sorted(photos.rglob("*.png")))])
    Path("t.csv").write_text(table)
    Path("notes.json").write_text('{"mine": 1}')
    Path("runs/one").mkdir(parents=True)
    Path("runs/one/config.toml").write_text("")
    write_manifest(split(read_samples(photos)), Path("runs/one/split.json"))
    was = files(Path())
    for data, out, words in (
        ("t.csv", "t.csv", "t.csv is no name of a manifest"),
        ("photos", "photos/a/000.png", "is no name of a manifest"),
        ("photos", "notes.json", "is there, and is no manifest that may be replaced"),
        ("photos", "photos", "is a folder"),
        ("photos", "runs/one/split.json", "is what its run was trained with"),
    ):
        assert run(["split", data, out]) == 2
        assert words in " ".join(capsys.readouterr().err.split())
        assert files(Path()) == was
    for seed in ("0", "1"):
        assert run(["split", "photos", "parts.json", "--seed", seed]) == 0
    assert read_manifest(Path("parts.json")).seed == 1


@pytest.mark.parametrize("how", ["copy", "link"])
def test_a_folder_is_never_laid_into_the_data(photos: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    was = files(photos)
    Path("door").symlink_to(photos)
    for out in ("photos/parts", "photos/a/parts", "door/parts"):
        assert run(["split", "photos", out, "--how", how]) == 2
        assert "would be read as images of it from then on" in " ".join(capsys.readouterr().err.split())
    assert files(photos) == was
    Path("t.csv").write_text("path,label\n" + "".join(f"photos/a/00{n}.png,{'xy'[n % 2]}\n" for n in range(8)))
    assert run(["split", "t.csv", "beside", "--how", how]) == 0  # beside a table is the usual place
    assert read_samples("beside").counts() == {"x": 4, "y": 4}


@pytest.mark.parametrize("label", ["../../out", "a/b", "a\\b", "..", ".hidden", "/abs"])
@pytest.mark.usefixtures("photos")
def test_no_label_leads_out_of_the_folder(label: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"photos/{name}/00{n}.png,{label if name == 'a' else 'b'}" for name in "ab" for n in range(8)]
    Path("t.csv").write_text("\n".join(["path,label", *rows]))
    was = files(Path())
    assert run(["split", "t.csv", "deep/parts", "--how", "copy"]) == 2
    assert "can be no folder's name" in capsys.readouterr().err
    assert files(Path()) == was
    assert run(["split", "t.csv", "parts.json"]) == 0  # a manifest holds any name


def test_names_that_some_file_systems_take_for_one_are_kept_apart(photos: Path) -> None:
    shutil.copy(photos / "a/000.png", photos / "a/same.png")
    shutil.copy(photos / "a/001.png", photos / "a/SAME.png")
    place(split(read_samples(photos), train="1.0"), Path("parts"), "copy")
    names = [path.name.lower() for path in Path("parts/train/a").iterdir()]
    assert len(set(names)) == len(names) == 10


def test_a_file_that_is_gone_is_told_and_nothing_is_left(photos: Path) -> None:
    parts = split(read_samples(photos))
    parts.files[-1].path.unlink()
    for how in ("copy", "link"):
        with pytest.raises(UserError, match=parts.below(parts.files[-1])):
            place(parts, Path("parts"), how)  # type: ignore[arg-type]
    assert sorted(path.name for path in Path().iterdir()) == ["photos"]


def test_links_lead_the_way_and_what_a_dead_writer_left_is_cleared(photos: Path) -> None:
    """A living one's stays, as does a folder that merely has such a name."""
    place(split(read_samples(photos)), Path("whole"), "copy")
    shutil.copytree("whole", ".parts.0badcafe")
    shutil.copytree("whole", ".other.0badcafe")
    shutil.copytree("photos", ".parts.12345678")
    shutil.copytree("whole", ".parts.87654321")
    Path("elsewhere").mkdir()
    Path("parts").symlink_to("elsewhere")
    Path("elsewhere").rmdir()
    code = "import sys; from pathlib import Path; from pellucid.records import hold; import os\n"
    code += "hold(os.open('.parts.87654321', os.O_RDONLY)); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout and living.stdout.readline() == b"held\n"
        place(split(read_samples(photos)), Path("elsewhere"), "link")
        place(split(read_samples(photos)), Path("parts2"), "link")
        shutil.rmtree("elsewhere")
        Path("parts").unlink()
        place(split(read_samples(photos)), Path("parts"), "link")
        assert living.stdin
        living.stdin.close()
    assert {path.name for path in Path().glob(".*")} == {".other.0badcafe", ".parts.12345678", ".parts.87654321"}
    assert all(path.is_symlink() for path in Path("parts").rglob("*.png"))


def test_a_manifest_that_was_written_before_is_read_and_written_back_byte_for_byte() -> None:
    """By the code that had another record for files: names with spaces, bytes that are no text, and from elsewhere."""
    before = Path(__file__).with_name("manifest_of_before.json").read_text(encoding="utf-8")
    parts = Split.from_json(before, "the manifest")
    assert parts.to_json() == before
    first, _, bytes_in_it, *_ = parts.files
    assert first.path == Path("/photos/../other/2.png") and bytes_in_it.path.name == os.fsdecode(b"caf\xe9.png")
    moved = parts.model_copy(update={"root": "/"})
    assert [moved.below(file) for file in parts.part("train")] == [
        "photos/a/1.png",
        r"photos/a/caf\udce9.png",
        "photos/b/3.png",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": None}, "files.0.sha256: a text is wanted, not None"),
        ({"part": "trian"}, "files.0.part: train, validation or test is wanted, not 'trian'"),
        ({"lable": "a"}, "files.0.lable is not known here"),
    ],
)
def test_a_manifest_with_a_wrong_line_says_which_and_what_is_wanted(
    photos: Path, changes: dict[str, str | None], words: str
) -> None:
    write_manifest(split(read_samples(photos)), Path("parts.json"))
    with pytest.raises(UserError) as caught:
        read_manifest(Path(edited("wrong.json", **changes)))
    assert caught.value.details == (words,)


def edited(name: str, /, **changes: object) -> str:
    content = json.loads(Path("parts.json").read_text())
    content["files"][0] |= changes
    Path(name).write_text(json.dumps(content))
    return name


def test_a_manifest_is_believed_only_while_its_files_are_the_same(photos: Path) -> None:
    parts = split(read_samples(photos))
    write_manifest(parts, Path("parts.json"))
    assert len(read_samples("parts.json")) == 16
    one, other = (parts.files[index].path for index in (0, 1))
    for wrong, words in (
        (edited("label.json", label="c"), "class 'c' is not among its classes"),
        (
            edited("twice.json", path=parts.below(parts.files[1])),
            f"{parts.below(parts.files[1])} is listed more than once",
        ),
        (edited("hash.json", sha256="0" * 64), "1 file of hash.json changed after it was written"),
        (edited("gone.json", path="a/none.png"), "names 1 file not to be found"),
    ):
        with pytest.raises(UserError) as caught:
            read_samples(wrong)
        assert words in str(caught.value)
    one.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=r"1 file of parts\.json changed after it was written"):
        read_samples("parts.json")
    again = split(read_samples(photos), keep_split="parts.json")  # as the hint says
    was = {file.path: file.part for file in parts.files if file.path != parts.files[0].path}
    assert {file.path: file.part for file in again.files if file.path in was} == was
