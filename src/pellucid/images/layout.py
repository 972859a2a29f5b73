"""What a tree of folders is: classes, parts with classes in them, classes with parts in them, or something else.

Names are read word by word (part_words.py), and one name alone decides nothing: a folder `train` beside `bus` and `car`
is a class. What looks like something else is refused with what it looks like, and with the flag that says otherwise.
What is empty among others that are filled is left out, and told.
"""

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pellucid.errors import UserError, counted, listed, named
from pellucid.images.folders import Folder, how_to_convert, left_out_words
from pellucid.images.labels import look
from pellucid.images.part_words import FILLING, IMAGES, MARKS, SERIES, SET_ASIDE, TAKEN, recognised, words_in, words_of
from pellucid.images.tables import TABLES

OF_A_CAMERA = re.compile(r"[1-9]\d\d[A-Z0-9_]{5}")  # 100NIKON, 101APPLE: the standard of their file systems (DCF)
MOST_LOTS = 200
CODES = {"0", "1"}  # labels, more often than lots
FLAG = "--source class-folders takes every folder for a class"


@dataclass(frozen=True)
class Layout:
    """The folders of each class, by class, then by part (None where the data is not divided); and what to say of it."""

    kind: str
    folders: Mapping[str | None, Sequence[Folder]]  # by part; each folder is of the class that it is called
    notes: tuple[str, ...] = ()
    divided: bool = (
        False  # parts lie in the classes: a folder of `folders` is called as the part, its parent as the class
    )


def class_folders(top: Folder) -> Layout:
    """Every folder is a class, because somebody said so."""
    return Layout("class-folders", {None: _filled(top, top.folders)})


def split_folders(top: Folder) -> Layout:
    """Every folder is a part, because somebody said so."""
    parts = recognised(folder.name for folder in top.folders)
    if not parts:
        raise UserError(f"{top.path} holds no parts of a split", hint=f"parts are called {_called()}")
    return _parts(top, parts)


def understand(top: Folder) -> Layout:
    """What the tree looks like. Raises UserError for what no classes can be read from, or in more than one way."""
    parts = recognised(folder.name for folder in top.folders)
    if parts and (len(parts) == len(top.folders) or _all_parts(top, parts)):
        return _parts(top, parts)
    _check_parts_beside(top)
    _check_marks(top, top.folders)
    _check_level(top)
    if inside := _parts_inside(top):
        return inside
    _check_shared(top)
    _check_series(top)
    _check_copies(top)
    _check_stray(top)
    return Layout("class-folders", {None: _filled(top, top.folders)}, _pooled(top))


def _all_parts(top: Folder, parts: Mapping[str, str]) -> bool:
    """Whether every folder with an image in it is a part, and there are several: one beside them may be empty."""
    return all(folder.name in parts for folder in top.inner) and len({parts[one.name] for one in top.inner}) > 1


def _called() -> str:
    return "train, validation (val, valid, dev) and test (eval, holdout)"


def _filled(top: Folder, folders: Sequence[Folder]) -> Sequence[Folder]:
    """The same folders, each with an image in it."""
    for folder in folders:
        if not folder.total:
            raise _holds_none(top, folder)
    return folders


def _holds_none(top: Folder, folder: Folder) -> UserError:
    lost = folder.all_left_out()
    what = left_out_words(lost)
    return UserError(
        f"{folder.path} holds no images",
        [what] if what else [],
        hint=f"{how_to_convert(lost) or 'put images into it'}, or leave it out: {leaving(top, folder)}",
    )


def without_empty(top: Folder, folders: Sequence[Folder], notes: list[str]) -> list[Folder]:
    """Those of `folders` with an image in them; the others are noted. UserError where one holds pictures of a kind that
    is not read: it was meant to be something.
    """
    empty = [folder for folder in folders if not folder.total]
    for folder in empty:
        if how_to_convert(folder.all_left_out()):
            raise _holds_none(top, folder)
    if empty:
        names = named([folder.path.relative_to(top.path).as_posix() for folder in empty])
        notes.append(f"{names} {'holds' if len(empty) == 1 else 'hold'} no images, and {_are(empty)} left out")
    return [folder for folder in folders if folder.total]


def _are(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _parts(top: Folder, parts: Mapping[str, str]) -> Layout:
    """Every folder is a part, and those in it are classes."""
    by_part: dict[str | None, Folder] = {}
    notes: list[str] = []
    filled = without_empty(top, top.folders, notes) or _filled(top, top.folders)
    for folder in filled:
        part = parts.get(folder.name)
        if part is None:
            raise UserError(
                f"{folder.path} is no part of a split",
                hint=f"leave it out: {leaving(top, folder)}; parts are called {_called()}; {FLAG}",
            )
        if part in by_part:
            first = by_part[part].name
            raise UserError(
                f"{top.path} has two folders for {part}: {first} and {folder.name}",
                hint=f"put them together, or leave one out: {leaving(top, folder)}; {FLAG}",
            )
        by_part[part] = folder
    _check_flat(top, filled, parts)
    for part, folder in by_part.items():
        by_part[part] = _one_level_down(folder, part or "")
        _check_marks(by_part[part], by_part[part].folders)
        _check_shared(by_part[part])
        if len(set(recognised(inner.name for inner in by_part[part].inner).values())) > 1:
            raise UserError(
                f"{by_part[part].path} is called as a part, and holds parts again",
                listed([f"{inner.name}/" for inner in by_part[part].inner]),
                hint=f"name one level, {quoted(by_part[part].path)}; {FLAG}",
            )
    _check_unlabelled(top, by_part)
    if any(folder.name.lower() not in PLAIN.get(part or "", ()) for part, folder in by_part.items()):
        taken = ", ".join(f"{name} for {parts[name]}" for name in parts if any(one.name == name for one in filled))
        notes.append(f"folders are taken for parts: {taken} ({FLAG})")
    return Layout("split-folders", _classes_of(top, by_part, notes), tuple(notes))


def _classes_of(
    top: Folder, by_part: Mapping[str | None, Folder], notes: list[str]
) -> Mapping[str | None, Sequence[Folder]]:
    """The folders of classes in each part. One that is empty in a part is left out of it, and noted; not one that is
    empty in all of them.
    """
    every = [folder for part in by_part.values() for folder in part.folders]
    somewhere = {look(folder.name) for folder in every if folder.total}
    _filled(top, [folder for folder in every if folder.total or look(folder.name) not in somewhere])
    kept = {id(folder) for folder in without_empty(top, every, notes)}
    return {part: [one for one in folder.folders if id(one) in kept] for part, folder in by_part.items()}


PLAIN = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


def _check_flat(top: Folder, folders: Sequence[Folder], parts: Mapping[str, str]) -> None:
    """Every part, each with an image in it, has class folders."""
    flat = [folder for folder in folders if not folder.inner]
    if not flat:
        return
    names = named([folder.name for folder in flat])
    if len(flat) < len(folders):
        raise UserError(
            f"{top.path} looks divided into parts, but {names} has no folders of classes",
            [f"{folder.name} holds {counted(folder.total, 'image')}" for folder in flat],
            hint=f"leave it out if its classes are not known: {leaving(top, flat[0])}; {FLAG}",
        )
    raise UserError(
        f"{top.path} looks divided into parts, but the parts have no folders of classes",
        [f"{folder.name} ({parts[folder.name]}) holds {counted(folder.total, 'image')}" for folder in flat],
        hint="make a folder for each class in every part; or take the label from the file names, "
        f"--label-from '^(?P<label>[a-z]+)', or from a table; {FLAG}",
    )


def _check_unlabelled(top: Folder, by_part: Mapping[str | None, Folder]) -> None:
    """val/images, test/test: one folder that is called as no class is, and holds the images of them all."""
    classes = {inner.name for folder in by_part.values() for inner in folder.inner if len(folder.inner) > 1}
    for part, folder in by_part.items():
        if len(folder.inner) != 1 or not classes:
            continue
        (inner,) = folder.inner
        words = words_in(inner.name)
        plain = set(words_of(inner.name)) <= FILLING or (words and words.part in (part, "either"))
        if plain and inner.name not in classes and not inner.inner:
            raise UserError(
                f"{top.path} looks divided into parts, but {inner.path} has no folders of classes",
                [f"it holds {counted(inner.total, 'image')}, and the classes are {named(sorted(classes))}"],
                hint=f"leave it out if its classes are not known: {leaving(top, inner)}; {FLAG}",
            )


def _one_level_down(folder: Folder, part: str) -> Folder:
    """train/train/cat: the inner folder is the part."""
    while not folder.images and len(folder.folders) == 1 and folder.folders[0].inner:
        (inner,) = folder.folders
        words = words_in(inner.name)
        same = inner.name == folder.name or (words and words.part in (part, "either"))
        if not same and not set(words_of(inner.name)) <= FILLING:
            break
        folder = inner
    return folder


def _check_parts_beside(top: Folder) -> None:
    """Some folders look like parts, and others do not."""
    strong = recognised((folder.name for folder in top.folders), short=False)
    others = [folder for folder in top.folders if folder.name not in strong]
    words = {folder.name: found for folder in top.folders if (found := words_in(folder.name)) and not found.weak}
    if len(words) == len(top.folders) > 1 and len({found.part for found in words.values()}) > 1:
        raise UserError(
            f"{top.path} looks divided into parts, but not by the names of its folders alone",
            listed([f"{folder.name}/" for folder in top.folders]),
            hint=f"call them train, val and test; {FLAG}",
        )
    # One alone is a class, like bus and car beside it; but not where it alone has folders in it.
    alone = [folder for folder in top.folders if folder.name in strong and folder.inner and not folder.images]
    odd = len(strong) == 1 and alone and all(not folder.inner for folder in others)
    if len(set(strong.values())) > 1 or odd:
        raise UserError(
            f"{others[0].path} is no part of a split",
            [f"{name} looks like the {part} part" for name, part in strong.items()],
            hint=f"leave it out: {leaving(top, others[0])}; parts are called {_called()}; {FLAG}",
        )


def _check_marks(top: Folder, folders: Sequence[Folder]) -> None:
    """Images beside their annotations are no two classes."""

    def bare(folder: Folder) -> set[str]:
        return {word for word in words_of(folder.name) if not word.isdigit() and not words_in(word)}

    marks = [folder for folder in folders if bare(folder) and bare(folder) <= MARKS | FILLING and bare(folder) & MARKS]
    images = [folder for folder in folders if folder.name not in [mark.name for mark in marks]]
    pictures = [
        folder for folder in images if bare(folder) <= FILLING and (bare(folder) & IMAGES or words_in(folder.name))
    ]
    said = all(words_in(mark.name) for mark in marks)  # Carvana: train and train_masks
    if not marks or not pictures or not (said or any(bare(folder) & IMAGES for folder in pictures)):
        return
    raise UserError(
        f"{top.path} looks like data for detection or segmentation: "
        f"{named([folder.name for folder in pictures])} with {named([mark.name for mark in marks])}",
        hint="this classifies whole images: make a folder for each class, or a table of paths and labels; " + FLAG,
    )


def _check_level(top: Folder) -> None:
    """One folder too many above the classes."""
    here = top
    while not here.images and len(here.inner) == 1 and (len(here.folders) == 1 or here.inner[0].inner):
        (here,) = here.inner
    if here is not top and not here.images and len(here.folders) > 1:
        of = " of images" if len(top.folders) > 1 else ""  # the others are empty, or hold lists
        raise UserError(
            f"{top.path} holds one folder{of}, {top.inner[0].name}: that would be the only class",
            [f"{here.path} holds {named([inner.name for inner in here.folders])}"],
            hint=f"name that instead: {quoted(here.path)}; {FLAG}",
        )


def _check_shared(top: Folder) -> None:
    """The same folders in folder after folder, as the diagnoses of each patient: who are the classes?"""
    inner = [{each.name for each in _past_filling(folder).inner} for folder in top.folders]
    held = Counter(name for names in inner for name in names)
    shared = {name for name, number in held.items() if number > 1}
    if len(shared) < 2 or not (held.keys() == CODES or any(not _says_no_class(name) for name in shared)):
        return
    everywhere = [name for name in shared if held[name] == len(inner)]
    mostly = all(names & shared for names in inner) and 2 * len(shared) > len(held)
    bare = not any(folder.images for folder in top.folders)
    if len(everywhere) > 1 or (mostly and bare):
        of = "every folder of" if len(everywhere) == len(shared) else "folder after folder of"
        raise UserError(
            f"{of} {top.path} holds the folders {named(sorted(shared))}: those look like the classes",
            listed([f"{folder.name}/" for folder in top.folders]),
            hint="put the images of each class into one folder, write a table of paths and labels, or call the outer "
            "ones train, val and test; " + FLAG,
        )


def _past_filling(folder: Folder) -> Folder:
    """amazon/images: where the folders lie that tell something."""
    while (
        not folder.images and len(folder.inner) == 1 and folder.inner[0].inner and _says_no_class(folder.inner[0].name)
    ):
        (folder,) = folder.inner
    return folder


def _check_series(top: Folder) -> None:
    """images_001, images_002: one lot of images, filed in several folders; so are a camera's, and a/abbey, b/bakery."""
    tables = sorted(path for path, _ in top.left_out if path.suffix.lower() in TABLES)
    names = [folder.name for folder in top.inner]
    words = [words_of(name) for name in names]
    numbers = {tuple(word for word in name if word.isdecimal()) for name in words}
    rest = {tuple(word for word in name if not word.isdecimal()) for name in words}
    if len(words) < 2:
        return
    numbered = len(rest) == 1 and len(numbers) == len(words) and () not in numbers
    numbered = numbered and all(int(number[-1]) < MOST_LOTS for number in numbers)  # part_3001 is in a catalogue
    series = [word in SERIES for word in min(rest)] if numbered else []
    lots = bool(series) and (all(series) or (any(series) and bool(tables)))
    if lots or all(map(OF_A_CAMERA.fullmatch, names)) or all(_by_initial(folder) for folder in top.inner):
        raise UserError(
            f"the folders of {top.path} look like parts of one collection, not like classes",
            listed([f"{folder.name}/" for folder in top.inner]),
            hint="put the images of each class into one folder, or say the labels: --labels "
            + (quoted(tables[0]) if tables else "TABLE, or --label-from '^(?P<label>[a-z]+)' for the file names")
            + f"; {FLAG}",
        )


def _by_initial(folder: Folder) -> bool:
    """a/abbey, a/airport: whether a folder is called by the first letter of what is in it."""
    words = [word for inner in folder.inner for word in words_of(inner.name)[:1]]
    letter = folder.name.casefold()
    return (
        len(letter) == 1
        and letter.isalpha()
        and not folder.images
        and all(len(word) > 2 and word.startswith(letter) for word in words)
    )


def _says_no_class(name: str) -> bool:
    """Years, numbers, `raw` and `new`, `cam2`: how images of a class are filed."""
    words = words_of(name)
    known = FILLING | SERIES | TAKEN if any(word.isdecimal() for word in words) else FILLING
    return all(word.isdecimal() or word in known for word in words)


def _parts_inside(top: Folder) -> Layout | None:
    """cat/train, cat/test, dog/train, dog/test: every class is divided."""
    divided = {folder.name: recognised(inner.name for inner in folder.inner) for folder in top.folders}
    if not any(len(set(parts.values())) > 1 for parts in divided.values()):
        divided = {folder.name: recognised(inner.name for inner in folder.folders) for folder in top.folders}
        if not all(_all_but_one_empty(folder, divided[folder.name]) for folder in top.folders):
            return None
    _filled(top, top.folders)
    several = [name for name, parts in divided.items() if len(set(parts.values())) > 1]
    by_part: dict[str | None, list[Folder]] = {}
    notes = [f"the folders in each class are taken for parts ({FLAG}, and pools them)"]
    for folder in top.folders:
        parts = divided[folder.name]
        found = [parts[inner.name] for inner in folder.inner if inner.name in parts]
        if folder.images or not parts or len(set(found)) < len(folder.inner):
            raise UserError(
                f"{top.path / several[0]} is divided into parts, and {folder.path} is not, or not alike",
                hint=f"divide every class, or none; {FLAG}, and pools what is in it",
            )
        if all(inner.inner and not inner.images for inner in folder.inner):
            raise UserError(
                f"{folder.path} holds parts, and those hold folders: it looks like a data set of its own",
                listed([f"{inner.path.relative_to(top.path)}/{inner.inner[0].name}/" for inner in folder.inner]),
                hint=f"name one of them: {quoted(folder.path)}; {FLAG}",
            )
        for inner in folder.inner:
            by_part.setdefault(parts[inner.name], []).append(inner)
    without_empty(top, [inner for folder in top.folders for inner in folder.folders], notes)
    return Layout("split-folders", by_part, tuple(notes), divided=True)


def _all_but_one_empty(folder: Folder, parts: Mapping[str, str]) -> bool:
    """Whether a class is divided into several parts of which one alone holds images."""
    return (
        not folder.images and len(set(parts.values())) > 1 and [each.name in parts for each in folder.inner] == [True]
    )


def _check_copies(top: Folder) -> None:
    """A folder that holds the classes again, beside them."""
    names = {folder.name for folder in top.folders}
    for folder in top.folders:
        again = sorted({inner.name for inner in folder.inner} & (names - {folder.name}))
        if len(again) > 1:
            raise UserError(
                f"{folder.path} holds {named(again)} again, which lie beside it",
                hint=f"leave it out: {leaving(top, folder)}; {FLAG}",
            )


def _check_stray(top: Folder) -> None:
    """More images beside the class folders than in them: a flat folder with something else in it."""
    inside = sum(folder.total for folder in top.folders)
    if len(top.images) > inside > 0:
        raise UserError(
            f"{top.path} holds {counted(len(top.images), 'image')} in no folder, and {inside:,} in "
            f"{named([folder.name for folder in top.folders])}",
            hint=f"put each into the folder of its class, or --label-from '^(?P<label>[a-z]+)'; {FLAG}",
        )


def _pooled(top: Folder) -> tuple[str, ...]:
    """A remark where every class holds the same folders, which may have been meant for classes."""
    inner = [frozenset(each.name for each in folder.inner) for folder in top.folders]
    notes = []
    if len(inner) > 1 and len(set(inner)) == 1 and len(inner[0]) > 1:
        notes.append(f"every class holds the folders {named(sorted(inner[0]))}; their images are taken together")
    classes = {folder.name for folder in top.folders}
    for name, part in recognised(classes, short=False).items():
        notes.append(f"{name} is taken for a class, like those beside it: --leave-out {name} if it is the {part} part")
    for name in sorted(name for name in classes if set(words_of(name)) & SET_ASIDE):
        notes.append(f"{name} is taken for a class, like those beside it: --leave-out {name} if it is none")
    for folder in top.folders:
        if again := {each.name for each in folder.inner} & (classes - {folder.name}):
            notes.append(f"{folder.name} holds a folder {min(again)}, as the class; its images are {folder.name}")
    return tuple(notes)


def leaving(top: Folder, folder: Folder) -> str:
    """The flag that leaves a folder of the data out, in quotes, by which Python's spelling knows a value."""
    name = folder.path.relative_to(top.path).as_posix()
    return f"--leave-out {quoted(name) if quoted(name) != name else repr(name)}"


def quoted(path: Path | str) -> str:
    """As it can be typed in a shell."""
    return shlex.quote(str(path))
