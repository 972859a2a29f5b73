"""Any data: a thousand random folders and tables are read as what they were made as, or refused; nothing else happens.

The generators know what a person would call the classes. A tree without any order (`jumbles`) has no such answer, so it
is only held to what no class can be.
"""

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.images.folders import find_images, images_beneath
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.training.configure import configure
from pellucid.training.train import train_events


def encoded(shade: int, kind: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4), (shade, 255 - shade, 9)).save(file, kind)
    return file.getvalue()


IMAGES = [encoded(shade, kind) for shade in range(0, 256, 8) for kind in ("PNG", "JPEG")]
CLASSES = [
    "cat", "dog", "sea_lion", "bus", "car", "train", "test", "Rose", "0", "1", "10", "-1", "café", "benign",
    "mask", "no_mask", "NA", "None", "red-fox",
]  # fmt: skip
OTHERS = [
    "été", unicodedata.normalize("NFD", "été"), " cat", "dog ", "Cat", "c\u200bat", "\u200b", "[bold]x[/]", "a=b",
    "猫", "\u0441at", "x" * 100, "new\nline", "1.0", "01", "..cat", "#1", "$10", "%20", "c'est", 'say "x"', "a,b",
    "\\", "--o", "runs", "labels", "images", "masks", "Annotations", "__MACOSX", "@eaDir", ".hidden", "lost+found",
    "tr", "te", "eval", "Training Set", "seg_test", "val2017", os.fsdecode(b"k\xe4tzchen"),
]  # fmt: skip
SUFFIXES = [".png", ".jpg", ".JPG", "", ".jpg ", ".jpeg_large", ".mpo", ".heic", ".txt", ".dng", ".jxl", ".csv", ".db"]
TRAIN = ["train", "Training", "train_set", "01_train", "trainset", "TrainImages", "train (1)", "x-train", "TRAIN 2024"]
TEST = ["test", "Testing", "test_set", "02_test", "testset", "TestImages", "holdout", "x-test", "eval"]
VALIDATION = ["val", "valid", "Validation", "dev", "val2017", "validation set"]


MEMORY = Path("/dev/shm")  # where folders come and go in a tenth of the time


@dataclass(frozen=True)
class Made:
    """Files by place and content, links by place and target; `classes` as a person would name them, if one can.

    What is `plain` to anybody may not be refused.
    """

    files: dict[str, bytes]
    classes: frozenset[str] | None
    data: str = "data"
    links: tuple[tuple[str, str], ...] = ()
    flags: tuple[tuple[str, str], ...] = ()
    plain: bool = False


images = st.sampled_from(IMAGES)
some = st.integers(1, 5)


@st.composite
def class_names(draw: st.DrawFn) -> list[str]:
    """Classes of which none looks like another, and no two of which look like parts."""
    names = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=5, unique=True))
    kept = [name for name in names if name != "test" or "train" not in names]
    return kept if len(kept) > 1 else [*kept, "cat"]  # a lone `train` is a part


def filled(draw: st.DrawFn, folder: str) -> dict[str, bytes]:
    suffix = draw(st.sampled_from([".png", ".jpg", ".JPG", "", ".jpg ", ".mpo"]))
    return {f"{folder}/{number}{suffix}": draw(images) for number in range(draw(some))}


def litter(draw: st.DrawFn, folder: str) -> dict[str, bytes]:
    """What lies about in every folder, and is neither image nor class."""
    places = [
        "Thumbs.db",
        ".DS_Store",
        "notes.txt",
        "@eaDir/1.jpg/SYNO.jpg",
        "__MACOSX/._1.jpg",
        ".git/x.png",
        "a.heic",
    ]
    return {f"{folder}/{place}": b"x" for place in draw(st.lists(st.sampled_from(places), max_size=3, unique=True))}


@st.composite
def class_folders(draw: st.DrawFn) -> Made:
    names = draw(class_names())
    files = litter(draw, "data")
    for name in names:
        files |= filled(draw, f"data/{name}") | litter(draw, f"data/{name}")
        if draw(st.booleans()):
            files |= filled(draw, f"data/{name}/{draw(st.sampled_from(['more', '2024', 'a b']))}")
    links = [(f"data/{names[0]}/link", draw(st.sampled_from(["..", ".", "../..", f"../{names[-1]}"])))]
    return Made(files, frozenset(names), links=tuple(links[: draw(st.integers(0, 1))]), plain=True)


@st.composite
def divided(draw: st.DrawFn) -> Made:
    """Parts over classes, or classes over parts, or parts without classes."""
    names = draw(class_names())
    which = draw(st.integers(0, min(len(TRAIN), len(TEST)) - 1))
    parts = [TRAIN[which], TEST[which]] + ([draw(st.sampled_from(VALIDATION))] if draw(st.booleans()) else [])
    how = draw(st.sampled_from(["parts", "parts", "flat", "inside", "extra", "deeper"]))
    files = litter(draw, "data")
    for part in parts:
        for name in names:
            place = {"parts": f"{part}/{name}", "extra": f"{part}/{name}", "flat": part, "inside": f"{name}/{part}"}
            files |= filled(draw, f"data/{place.get(how, f'{part}/{part}/{name}')}")
    if how == "extra":
        files |= filled(draw, f"data/{draw(st.sampled_from(['unlabelled', 'pred', 'old stuff']))}")
    plain = how not in ("flat", "extra")
    return Made(files, frozenset(names) if plain else frozenset(), plain=plain)


@st.composite
def other_tasks(draw: st.DrawFn) -> Made:
    """Images beside what was drawn on them, and classes below one folder too many: no classes are to be found."""
    first, second = draw(st.sampled_from([("images", "labels"), ("imgs", "masks"), ("JPEGImages", "Annotations")]))
    files = filled(draw, f"data/{first}")
    files |= filled(draw, f"data/{second}") if draw(st.booleans()) else {f"data/{second}/1.xml": b"<a/>"}
    if draw(st.booleans()):
        files = {f"data/{place}": content for place, content in files.items()}
    return Made(files, frozenset())


@st.composite
def jumbles(draw: st.DrawFn) -> Made:
    """Anything, anywhere."""
    pool = draw(st.lists(st.sampled_from(CLASSES + OTHERS + TRAIN + TEST + VALIDATION), min_size=2, max_size=4))
    name = st.sampled_from(pool)
    files = {}
    for number in range(draw(st.integers(0, 12))):
        folders = draw(st.lists(name, min_size=draw(st.integers(0, 1)), max_size=3))
        suffix = draw(st.sampled_from([".png", ".jpg", *SUFFIXES]))
        files["/".join(["data", *folders, f"{number}{suffix}"])] = draw(
            st.sampled_from([*IMAGES[:9], b"", b"no image"])
        )
    targets = st.sampled_from(["..", ".", "/nowhere", "../..", "data", "loop", *pool])
    links = draw(st.lists(st.tuples(st.builds(lambda n: f"data/{n}/loop", name), targets), max_size=2))
    flags = draw(st.sampled_from([(), (), (("source", "class-folders"),), (("source", "split-folders"),)]))
    return Made(files, None, links=tuple(links), flags=flags)


@st.composite
def tables(draw: st.DrawFn) -> Made:
    """A table of what is there, written in one of the many ways; the labels of people, spelled well or badly."""
    names = draw(class_names())
    rows = [(f"i/{number}.png", draw(st.sampled_from(names))) for number in range(draw(st.integers(2, 8)))]
    rows[: len(names)] = [(path, name) for (path, _), name in zip(rows, names, strict=False)]
    files = {f"data/{path}": draw(images) for path, _ in rows}
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    blur = {"plain": str, "spaces": lambda s: f" {s} ", "unseen": lambda s: f"\u200b{s}\ufeff", "nfd": _decomposed}
    of_paths = {
        "plain": str,
        "dots": lambda s: f"./{s}",
        "windows": lambda s: s.replace("/", "\\"),
        "spaces": lambda s: f" {s}",
    }
    label, path = blur[draw(st.sampled_from(list(blur)))], of_paths[draw(st.sampled_from(list(of_paths)))]
    header = ["path", "label", *draw(st.sampled_from([[], ["split"], ["group"], ["notes"], ["label"], [""]]))]
    extra = {"split": ["train", "test", "dev", "", "7"], "group": ["p1", "p2", ""]}.get(header[-1], ["", "x", "o,k"])
    lines = [delimiter.join(header)]
    for place, name in rows:
        cells = [path(place), label(name)] + ([draw(st.sampled_from(extra))] if len(header) > 2 else [])
        lines.append(delimiter.join(_cell(cell, delimiter) for cell in cells))
    before = draw(st.sampled_from(["", "", "# a remark\n", f"sep={delimiter}\n", "\n\n"]))
    text = before + draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["\n", ""]))
    broken = draw(st.sampled_from(["no", "no", "no", "quote", "cut", "twice", "bytes"]))
    text = text.replace(lines[-1], f'"{lines[-1]}') if broken == "quote" else text
    text += f"\n{lines[-1]}{delimiter}more" if broken == "twice" else ""
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])))
    content = content[: len(content) * 2 // 3] if broken == "cut" else content
    content += draw(st.binary(max_size=9)) if broken == "bytes" else b""
    used = frozenset(label for _, label in rows)
    suffix = draw(st.sampled_from([".csv", ".csv", ".CSV", ".tsv"]))
    plain = broken == "no" and header.count("label") == 1 and header[-1] != "split"
    known = used if broken == "no" else None
    return Made(files | {f"data/t{suffix}": content}, known, data=f"data/t{suffix}", plain=plain)


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _cell(text: str, delimiter: str) -> str:
    return f'"{text}"' if delimiter in text else text


anything = st.one_of(class_folders(), divided(), other_tasks(), jumbles(), tables())


@contextmanager
def laid(made: Made) -> Iterator[None]:
    """The files on disk, in a current folder of their own."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        try:
            os.chdir(folder)
            Path("data").mkdir()
            for place, content in made.files.items():
                try:
                    Path(place).parent.mkdir(parents=True, exist_ok=True)
                    Path(place).write_bytes(content)
                except OSError:  # a file lies where a folder is to be
                    continue
            for place, target in made.links:
                if Path(place).parent.is_dir() and not os.path.lexists(place):
                    Path(place).symlink_to(target)
            yield
        finally:
            os.chdir(before)


def check_read(made: Made) -> None:
    """Only a UserError is raised, and classes are those that a person would name."""
    try:
        samples = read_samples(made.data, configure(made.data, **dict(made.flags)).data.source)  # type: ignore[arg-type]
    except UserError as error:
        assert not made.plain, error
        assert error.problem and "\n" not in error.hint
        return
    if made.classes is not None:
        assert set(samples.classes) == made.classes, samples.notes
    for name in samples.classes:
        assert name == " ".join(name.split()) and name.isprintable() and name == unicodedata.normalize("NFC", name)
        assert not name.startswith(".") and name not in ("__MACOSX", "@eaDir", "lost+found")
    apart = {unicodedata.normalize("NFKC", name).casefold().replace("_", " ") for name in samples.classes}
    assert len(apart) == len(samples.classes)
    assert len({os.path.realpath(sample.path) for sample in samples}) == len(samples)  # no image is in two classes
    try:
        parts = split(samples)
    except UserError:
        return
    assert len(parts.files) <= len(samples)


@given(anything)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_data_is_read_as_it_was_made_or_refused(made):
    with laid(made):
        check_read(made)


@given(anything)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_data_at_the_command_line(made):
    with laid(made):
        check_commands(made)


def check_commands(made: Made) -> None:
    """`split` ends with 0 or 2, and `train` gets as far as the split or says why not."""
    flags = [word for name, value in made.flags for word in (f"--{name}", value)]
    assert run(["split", made.data, "out.json", *flags]) in (0, 2)
    settings: dict[str, Any] = {"model": "small", "size": 32, "workers": 0, **dict(made.flags)}
    try:
        for event in train_events(configure(made.data, **settings)):
            if event.event == "started":
                break
    except UserError:
        pass


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(anything)
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_thousand_random_data_sets(made):
    with laid(made):
        check_read(made)
        check_commands(made)


def test_images_beneath_come_in_string_order_as_each_folder_is_read(tmp_path: Path) -> None:
    for name in ("a b.png", "a/c.png", "a/z/1.png", "a.png", "b/1.jpg", "B.png", "b/.hidden.png", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    left_out: list[tuple[Path, str]] = []
    assert list(images_beneath(tmp_path, left_out)) == find_images(tmp_path)
    assert [(path.name, why) for path, why in left_out] == [("notes.txt", ".txt is no image")]
    coming = images_beneath(tmp_path, [])
    next(coming)
    (tmp_path / "b" / "2.jpg").touch()  # the last folder has not been looked into yet
    assert tmp_path / "b" / "2.jpg" in list(coming)
