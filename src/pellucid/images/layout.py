"""What a tree of folders is: classes, parts with classes in them, classes with parts in them, or something else.

Names are read word by word ("seg_train", "TrainingSet", "01-val (2)"), and one name alone decides nothing: a folder
`train` beside `bus` and `car` is a class. What looks like something else is refused with what it looks like, and with
the flag that says otherwise.
"""

import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pellucid.errors import UserError, counted, listed, named
from pellucid.images.folders import Folder, how_to_convert, left_out_words

TRAIN = "train training trainings trainval entrainement apprentissage entrenamiento treino 训练 训练集"
VALIDATION = """
    val valid validation validate validating dev devel development validierung validierungs validacion validacao
    validazione 验证 验证集
"""
TEST = "test tests testing holdout heldout prueba pruebas teste 测试 测试集"
# What `--part` and people call the parts.
PARTS = {
    word: part
    for part, words in {"train": TRAIN, "validation": VALIDATION, "test": TEST}.items()
    for word in words.split()
}
EITHER = frozenset({"eval", "evals", "evaluation", "evaluating"})  # a test where there is none, else validation
# Too short to mean it, but where all folders are called so.
SHORTEST = {"train": "tr trn", "validation": "va vl", "test": "te ts tst"}
SHORT = {word: part for part, words in SHORTEST.items() for word in words.split()}
PICTURES = """
    image images img imgs picture pictures pic pics photo photos jpegimages jpgs jpg jpegs jpeg png pngs rgb
    input inputs
"""
ANNOTATIONS = """
    label labels labeltxt annotation annotations annot annots mask masks segmentation segmentations segmentationclass
    segmentationobject seg segs ground truth groundtruth gt bbox bboxes boxes lbl lbls xml xmls txt txts json target
    targets output outputs depth
"""
OTHER_WORDS = """
    set sets data dataset datasets daten datos samples sample split splits part parts dir folder folders file files sub
    subset all new old final raw full copy only resized cropped processed original originals x version v a b
"""
IMAGES, MARKS = frozenset(PICTURES.split()), frozenset(ANNOTATIONS.split())
FILLING = IMAGES | frozenset(OTHER_WORDS.split())
LONGEST = 40  # letters of a word that is taken to pieces
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


@dataclass(frozen=True)
class _Words:
    """A name that has the word of a part in it: which, and the words that are neither that nor filling."""

    part: str  # train, validation, test or either
    rest: tuple[str, ...]
    weak: bool  # says so in two letters, or is one word with another ("dogtrain"): not by itself


def recognised(names: Iterable[str], *, short: bool = True) -> dict[str, str]:
    """The part that each of `names` means, of those that look like parts among these neighbours.

    A name with more words than a part's ("seg_train") counts where another has the same and another part ("seg_test").
    """
    names = list(names)
    found = {name: words for name in names if (words := _words(name))}
    partners = defaultdict(set)
    for words in found.values():
        partners[words.rest].add(words.part)
    likely = {name: words for name, words in found.items() if not words.rest or len(partners[words.rest]) > 1}
    if not short or len(likely) < len(names) or len({words.part for words in likely.values()}) < 2:
        likely = {name: words for name, words in likely.items() if not words.weak or words.rest}
    parts = {words.part for words in likely.values()}
    either = "test" if "test" not in parts else "validation"
    return {name: either if words.part == "either" else words.part for name, words in likely.items()}


def _words(name: str) -> _Words | None:
    parts, rest, weak = [], [], False
    joined = " ".join(words_of(name)).replace("hold out", "holdout").replace("held out", "heldout").split()
    for word in joined:
        if word in PARTS or word in EITHER:
            parts.append(PARTS.get(word, "either"))
        elif word in SHORT:
            parts.append(SHORT[word])
            weak = True
        elif not (word.isdigit() or word in FILLING):
            rest.append(word)
    if set(parts) == {"train", "validation"}:
        parts = ["train"]  # train_val
    if not parts and rest:
        parts, rest, weak = [*_glued(rest), True]
    return _Words(parts[0], tuple(rest), weak) if len(set(parts)) == 1 else None


def _glued(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The part in words such as `dogtrain` and `minival`, and what is left of the words without it."""
    for at, word in enumerate(words):
        for known in sorted(PARTS, key=len, reverse=True):
            if len(known) < len(word) and word.endswith(known):
                return [PARTS[known]], [*words[:at], word.removesuffix(known), *words[at + 1 :]]
    return [], list(words)


def words_of(name: str) -> list[str]:
    """`TrainingSet 01`: training, set, 01; `trainset`: train, set. Without accents, in small letters."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    found = []
    for run in re.findall(r"[A-Za-z]+|\d+|[^\W\d_A-Za-z]+", plain):
        found += _pieces(run.lower()) or [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\W+", run)]
    return found


def _pieces(run: str) -> list[str]:
    """A run of letters that is made of the word of a part and of filling, in pieces; else none."""
    known = PARTS.keys() | EITHER | {word for word in FILLING if len(word) > 1} | {"x"}
    if run in known or len(run) > LONGEST or run.isdigit():
        return [run]
    ends: dict[int, list[str]] = {0: []}
    for start in range(len(run)):
        for end in range(start + 1, len(run) + 1) if start in ends else ():
            if run[start:end] in known:
                ends.setdefault(end, [*ends[start], run[start:end]])
    pieces = ends.get(len(run), [])
    return pieces if any(piece in PARTS or piece in EITHER for piece in pieces) else []


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
    if parts and len(parts) == len(top.folders):
        return _parts(top, parts)
    _check_parts_beside(top)
    _check_marks(top, top.folders)
    _check_level(top)
    if inside := _parts_inside(top):
        return inside
    _check_shared(top)
    _check_copies(top)
    _check_stray(top)
    return Layout("class-folders", {None: _filled(top, top.folders)}, _pooled(top))


def _called() -> str:
    return "train, validation (val, valid, dev) and test (eval, holdout)"


def _filled(top: Folder, folders: Sequence[Folder]) -> Sequence[Folder]:
    """The same folders, each with an image in it."""
    for folder in folders:
        if not folder.total:
            lost = folder.all_left_out()
            what = left_out_words(lost)
            convert = how_to_convert(lost)
            raise UserError(
                f"{folder.path} holds no images",
                [what] if what else [],
                hint=f"{convert or 'put images into it'}, or move it out of {top.path}",
            )
    return folders


def _parts(top: Folder, parts: Mapping[str, str]) -> Layout:
    """Every folder is a part, and those in it are classes."""
    by_part: dict[str | None, Folder] = {}
    notes = []
    for folder in top.folders:
        part = parts.get(folder.name)
        if part is None:
            raise UserError(
                f"{folder.path} is no part of a split",
                hint=f"move it out of {top.path}; parts are called {_called()}; {FLAG}",
            )
        if part in by_part:
            first = by_part[part].name
            raise UserError(
                f"{top.path} has two folders for {part}: {first} and {folder.name}",
                hint=f"put them together, or move one away; {FLAG}",
            )
        by_part[part] = folder
    _check_flat(top, parts)
    for part, folder in by_part.items():
        by_part[part] = _one_level_down(folder, part or "")
        _check_marks(by_part[part], by_part[part].folders)
        if len(set(recognised(inner.name for inner in by_part[part].inner).values())) > 1:
            raise UserError(
                f"{by_part[part].path} is called as a part, and holds parts again",
                listed([f"{inner.name}/" for inner in by_part[part].inner]),
                hint=f"name one level, {quoted(by_part[part].path)}; {FLAG}",
            )
    _check_unlabelled(top, by_part)
    if any(folder.name.lower() not in PLAIN.get(part or "", ()) for part, folder in by_part.items()):
        taken = ", ".join(f"{name} for {part}" for name, part in parts.items())
        notes.append(f"folders are taken for parts: {taken} ({FLAG})")
    folders = {part: _filled(top, folder.folders) for part, folder in by_part.items()}
    return Layout("split-folders", folders, tuple(notes))


PLAIN = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


def _check_flat(top: Folder, parts: Mapping[str, str]) -> None:
    """Every part has class folders."""
    flat = [folder for folder in top.folders if not folder.inner]
    if empty := [folder for folder in flat if not folder.total]:
        _filled(top, empty)
    if not flat:
        return
    names = named([folder.name for folder in flat])
    if len(flat) < len(top.folders):
        raise UserError(
            f"{top.path} looks divided into parts, but {names} has no folders of classes",
            [f"{folder.name} holds {counted(folder.total, 'image')}" for folder in flat],
            hint=f"move {quoted(flat[0].path)} away if its classes are not known; {FLAG}",
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
        words = _words(inner.name)
        plain = set(words_of(inner.name)) <= FILLING or (words and words.part in (part, "either"))
        if plain and inner.name not in classes and not inner.inner:
            raise UserError(
                f"{top.path} looks divided into parts, but {inner.path} has no folders of classes",
                [f"it holds {counted(inner.total, 'image')}, and the classes are {named(sorted(classes))}"],
                hint=f"move {quoted(folder.path)} away if its classes are not known; {FLAG}",
            )


def _one_level_down(folder: Folder, part: str) -> Folder:
    """train/train/cat: the inner folder is the part."""
    while not folder.images and len(folder.folders) == 1 and folder.folders[0].inner:
        (inner,) = folder.folders
        words = _words(inner.name)
        same = inner.name == folder.name or (words and words.part in (part, "either"))
        if not same and not set(words_of(inner.name)) <= FILLING:
            break
        folder = inner
    return folder


def _check_parts_beside(top: Folder) -> None:
    """Some folders look like parts, and others do not."""
    strong = recognised((folder.name for folder in top.folders), short=False)
    others = [folder for folder in top.folders if folder.name not in strong]
    words = {folder.name: found for folder in top.folders if (found := _words(folder.name)) and not found.weak}
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
            hint=f"move it out of {top.path}; parts are called {_called()}; {FLAG}",
        )


def _check_marks(top: Folder, folders: Sequence[Folder]) -> None:
    """Images beside their annotations are no two classes."""

    def bare(folder: Folder) -> set[str]:
        return {word for word in words_of(folder.name) if not word.isdigit() and not _words(word)}

    marks = [folder for folder in folders if bare(folder) and bare(folder) <= MARKS | FILLING and bare(folder) & MARKS]
    images = [folder for folder in folders if folder.name not in [mark.name for mark in marks]]
    pictures = [
        folder for folder in images if bare(folder) <= FILLING and (bare(folder) & IMAGES or _words(folder.name))
    ]
    said = all(_words(mark.name) for mark in marks)  # Carvana: train and train_masks
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
    while not here.images and len(here.folders) == 1:
        (here,) = here.folders
    if here is not top and not here.images and len(here.folders) > 1:
        raise UserError(
            f"{top.path} holds one folder, {top.folders[0].name}: that would be the only class",
            [f"{here.path} holds {named([inner.name for inner in here.folders])}"],
            hint=f"name that instead: {quoted(here.path)}; {FLAG}",
        )


def _check_shared(top: Folder) -> None:
    """The same folders in every folder: who are the classes?"""
    inner = [frozenset(each.name for each in folder.inner) for folder in top.folders]
    shared = frozenset.intersection(*inner) if len(inner) > 1 else frozenset[str]()
    if len(shared) > 1 and not all(_says_no_class(name) for name in shared):
        raise UserError(
            f"every folder of {top.path} holds the folders {named(sorted(shared))}: those look like the classes",
            listed([f"{folder.name}/" for folder in top.folders]),
            hint="put the images of each class into one folder, or call the outer ones train, val and test; " + FLAG,
        )


def _says_no_class(name: str) -> bool:
    """Years, numbers, `raw` and `new`: how images of a class are filed."""
    return all(word.isdigit() or word in FILLING for word in words_of(name))


def _parts_inside(top: Folder) -> Layout | None:
    """cat/train, cat/test, dog/train, dog/test: every class is divided."""
    divided = {folder.name: recognised(inner.name for inner in folder.inner) for folder in top.folders}
    several = [name for name, parts in divided.items() if len(set(parts.values())) > 1]
    if not several:
        return None
    by_part: dict[str | None, list[Folder]] = {}
    for folder in top.folders:
        parts = divided[folder.name]
        if folder.images or not parts or len(set(parts.values())) < len(folder.inner):
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
    note = f"the folders in each class are taken for parts ({FLAG}, and pools them)"
    return Layout("split-folders", by_part, (note,), divided=True)


def _check_copies(top: Folder) -> None:
    """A folder that holds the classes again, beside them."""
    names = {folder.name for folder in top.folders}
    for folder in top.folders:
        again = sorted({inner.name for inner in folder.inner} & (names - {folder.name}))
        if len(again) > 1:
            raise UserError(
                f"{folder.path} holds {named(again)} again, which lie beside it",
                hint=f"move it out of {top.path}; {FLAG}",
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
        notes.append(f"{name} is taken for a class, like those beside it: move it away if it is the {part} part")
    for folder in top.folders:
        if again := {each.name for each in folder.inner} & (classes - {folder.name}):
            notes.append(f"{folder.name} holds a folder {min(again)}, as the class; its images are {folder.name}")
    return tuple(notes)


def quoted(path: Path | str) -> str:
    """As it can be typed in a shell."""
    return shlex.quote(str(path))
