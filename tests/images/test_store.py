"""The cache on disk: nobody's files are removed, whatever lies around them, and a disk that refuses is told."""

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.images.decode import DECODING, open_image
from pellucid.images.store import Store, cache_folder
from tests import golden
from tests.pictures import make_classes

KEYS = 4
ARRAY = np.zeros((1, 1000), np.float32)  # 4 kB
ROOM = 9000  # for two of them

names = st.one_of(
    st.sampled_from(["photos", "cats", "pixels", "features", "arrays", ".hidden", "CACHEDIR.TAG", "notes.json"]),
    st.sampled_from(["0" * 32, "0123456789abcdef" * 2, "f" * 16 + ".json", "f" * 16 + ".values", "a" * 16 + ".part"]),
)
contents = st.sampled_from(["", "{}", "mine", '{"key": {}, "images": []}'])
# Where things lie, beside what is planted there: the cache's folder and above, its shelves, its keys.
places = st.lists(st.tuples(st.integers(0, 3), st.lists(names, min_size=1, max_size=3), contents), max_size=6)


def store(folder: Path, number: int, limit: int = ROOM) -> Store:
    return Store(folder, "pixels", {"number": number}, limit=limit)


def found(folder: Path) -> dict[str, str]:
    """Everything below: the content of files, where links lead; folders without either."""
    return {
        path.relative_to(folder).as_posix(): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def plant(folder: Path, steps: list[str], content: str) -> Path | None:
    """A file at the end of `steps`, where nothing is in its way."""
    path = folder.joinpath(*steps)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(content)
    except OSError:
        return None
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=places, linked=st.lists(st.integers(0, 3), max_size=3), before=st.booleans())
def test_whatever_lies_around_or_inside_the_cache_survives(
    tmp_path: Path, planted: list[tuple[int, list[str], str]], linked: list[int], before: bool
) -> None:
    home = tmp_path / "home"
    shutil.rmtree(home, ignore_errors=True)
    cache = home / "cache"
    elsewhere = home / "elsewhere"
    elsewhere.mkdir(parents=True)
    (elsewhere / "photo.jpg").write_text("a photograph")
    if not before:
        store(cache, 0).add(["image"], ARRAY)
    key = store(cache, 0).place
    where = [home, cache, key.parent, key]
    mine = [path for depth, steps, content in planted if (path := plant(where[depth], steps, content))]
    for depth in linked:  # a link that has a key's name, and leads to other people's things
        link = where[depth] / f"{len(mine):032x}"
        if where[depth].is_dir() and not os.path.lexists(link):
            link.symlink_to(elsewhere)
            mine.append(link)
    was = found(home)
    try:
        for number in range(KEYS):
            store(cache, number).add([f"image{number}"], ARRAY)
            store(cache, number).rows([f"image{number}"])
        assert len(store(cache, KEYS - 1).rows([f"image{KEYS - 1}"])) == 1
    except UserError as error:
        assert before and "holds other things" in str(error)
    now = found(home)
    kept = [path.relative_to(home).as_posix() for path in mine] + ["elsewhere/photo.jpg"]
    assert {name: now.get(name) for name in kept} == {name: was[name] for name in kept}


def test_what_is_used_least_goes_though_something_else_lies_with_it(tmp_path: Path) -> None:
    store(tmp_path, 0).add(["image0"], ARRAY)
    (store(tmp_path, 0).place / "mine.txt").write_text("mine")
    os.utime(next(store(tmp_path, 0).place.glob("*.json")), (1, 1))
    for number in (1, 2):
        store(tmp_path, number).add([f"image{number}"], ARRAY)
    assert [len(store(tmp_path, number).rows([f"image{number}"])) for number in range(3)] == [0, 1, 1]
    assert [path.name for path in store(tmp_path, 0).place.iterdir()] == ["mine.txt"]


def test_a_folder_that_holds_other_things_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with PELLUCID_CACHE=~: before anything is read, with what to type instead; and that then works."""
    photos = make_classes(tmp_path / "photos", images=6)
    was = {path: path.read_bytes() for path in photos.rglob("*.png")}
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    asked = ["train", str(photos), "--model", "small", "--size", "16", "--epochs", "1", "--device", "cpu"]
    asked += ["--workers", "0", "--runs", str(tmp_path / "runs")]
    assert run(asked) == 2
    told = capsys.readouterr().err
    assert "holds other things" in told and "photos" in told
    assert f"PELLUCID_CACHE={tmp_path}/pellucid-cache" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    monkeypatch.setenv("PELLUCID_CACHE", f"{tmp_path}/pellucid-cache")
    assert run(asked) == 0
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == was
    assert (
        (tmp_path / "pellucid-cache" / "CACHEDIR.TAG")
        .read_bytes()
        .startswith(
            b"Signature: 8a477f597d28d172789f06886806bc55"  # as the specification has it
        )
    )


def test_a_cache_among_the_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_classes(tmp_path / "photos", images=2)
    asked = ["train", str(photos), "--model", "small", "--features.folder"]
    assert run([*asked, str(photos / "cache")]) == 2
    assert f"--features.folder {tmp_path}/pellucid-cache" in capsys.readouterr().err
    assert not (photos / "cache").exists()


def test_a_cache_from_before_there_were_tags_is_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    store(folder, 0).add(["image0"], ARRAY)
    (folder / "CACHEDIR.TAG").unlink()
    assert len(store(folder, 0).rows(["image0"])) == 1
    store(folder, 1).add(["image1"], ARRAY)
    assert (folder / "CACHEDIR.TAG").is_file()


def test_a_new_pillow_finds_nothing_that_an_older_one_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, 0).add(["image"], ARRAY)
    monkeypatch.setattr(PIL, "__version__", "99.0")
    assert not store(tmp_path, 0).rows(["image"])


def test_links_out_of_the_cache_are_neither_written_nor_read_through(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    elsewhere.mkdir()
    store(folder, 0).add(["image0"], ARRAY)
    store(folder, 1).place.symlink_to(elsewhere)
    one = store(folder, 1)
    assert one.add(["image1"], ARRAY)["image1"].array.shape == (1000,)
    assert "is a link" in one.refused and not list(elsewhere.iterdir())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk: the system writes no file beyond `size` bytes."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_disk_that_refuses_leaves_nothing_behind_and_the_arrays_in_memory(tmp_path: Path) -> None:
    one = store(tmp_path, 0, limit=10**6)
    arrays = np.arange(6000, dtype=np.float32).reshape(2, 3000)
    with largest_file(2000):
        rows = one.add(["a", "b"], arrays)
    assert rows["b"].array.tolist() == arrays[1].tolist()
    assert os.strerror(errno.EFBIG) in one.refused and str(tmp_path) in one.refused
    assert not one.place.exists()
    assert set(one.add(["a"], ARRAY)) == {"a"} and not one.refused
    was = set(one.place.iterdir())
    with largest_file(100):  # where the values fit, and their note does not
        assert set(one.add(["b"], np.ones((1, 3), np.float32))) == {"b"}
    assert os.strerror(errno.EFBIG) in one.refused and set(one.place.iterdir()) == was
    with largest_file(10):  # nor the tag
        new = store(tmp_path / "new", 0)
        assert set(new.add(["b"], ARRAY)) == {"b"} and os.strerror(errno.EFBIG) in new.refused


def test_what_dead_processes_left_half_written_is_cleared_and_a_living_ones_is_not(tmp_path: Path) -> None:
    one, other = store(tmp_path, 0), store(tmp_path, 1)
    other.add(["there"], ARRAY)
    for place in (one.place, other.place):
        place.mkdir(exist_ok=True)
        for name in (f"{'0' * 16}.99.part", f".{'0' * 16}.json.{'0' * 8}", "mine.part"):
            (place / name).write_bytes(b"half of it")
    with other.writing() as living:
        living.append("image", ARRAY)
        one.add(["image"], ARRAY)
        assert {path.suffix for path in one.place.iterdir()} == {".json", ".values", ".part"}
        assert [path.name for path in one.place.glob("*.part")] == ["mine.part"]
        assert living.partial.exists()
    assert set(other.rows(["image", "there"])) == {"image", "there"}


def test_no_key_takes_more_than_the_cache_may(tmp_path: Path) -> None:
    one = store(tmp_path, 0, limit=6000)
    assert one.add(["a"], ARRAY) and not one.refused
    assert set(one.add(["b"], ARRAY)) == {"b"} and "--cache-size" in one.refused
    assert set(store(tmp_path, 0).rows(["a", "b"])) == {"a"}


def test_the_folder_is_where_somebody_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PELLUCID_CACHE", "~/mine")
    assert cache_folder(None) == tmp_path / "mine" and cache_folder("there") == Path("there")
    monkeypatch.setenv("PELLUCID_CACHE", "")
    for said, place in (("", tmp_path / ".cache"), ("relative", tmp_path / ".cache"), ("/else", Path("/else"))):
        monkeypatch.setenv("XDG_CACHE_HOME", said)
        assert cache_folder(None) == place / "pellucid"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("photos"), images=6)


def told(photos: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the terminal says of a training that keeps pixels and features, where it can."""
    asked = "--model small --mode finetune --train-from Logits --weights none --size 16 --batch 4 --epochs 1"
    asked += f" --features.views 1 --workers 0 --device cpu --features.folder {folder} --runs {photos}-runs"
    assert run(["train", str(photos), *asked.split()]) == 0
    return " ".join(capsys.readouterr().err.split())


def test_without_a_cache_training_goes_on_and_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "circle").symlink_to("circle")
    for nowhere in ("n" * 300, "circle", "circle/deeper"):
        assert "decoded anew each epoch" in told(photos, tmp_path / nowhere, capsys)
    cold = told(photos, tmp_path / "file", capsys)
    assert "pixels of 12 images are decoded anew each epoch" in cold and "held in memory as float16" in cold
    assert cold.count(f"{tmp_path}/file cannot keep them") == 2
    told(photos, tmp_path / "cache", capsys)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("pellucid.images.store.os.utime", refuse)
    warm = told(photos, tmp_path / "cache", capsys)
    assert "all found in the cache" in warm and "cannot keep" not in warm


def test_what_decoding_gives_has_a_version(tmp_path: Path) -> None:
    """Pixels are kept on disk: who changes what a file gives raises DECODING, and writes the next golden text."""
    ramp = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    turned = Image.Exif()
    turned[274] = 6
    given = {
        "colour": Image.fromarray(ramp),
        "clear": Image.fromarray(np.dstack([ramp, ramp[..., 0]])),
        "palette": Image.fromarray(ramp[..., 0] // 20),
        "deep": Image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000),
        "grey": Image.fromarray(ramp[..., 0]),
    }
    given["palette"].putpalette([*range(200, 248)])
    for name, image in given.items():
        image.save(tmp_path / f"{name}.png")
    given["colour"].save(tmp_path / "turned.png", exif=turned)
    pixels = {path.stem: np.asarray(open_image(path)).reshape(-1).tolist() for path in sorted(tmp_path.iterdir())}
    golden.check(f"images/decoding-{DECODING}", "\n".join(f"{name} {values}" for name, values in pixels.items()))
