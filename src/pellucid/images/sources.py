"""Where labelled images come from: class folders, ready splits, a table, file names, or a split manifest.

`read_samples` is the door. What a tree of folders means is layout.py's business, how a table is written tables.py's,
and which labels are one labels.py's.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pellucid.errors import UserError, counted, listed, named
from pellucid.images.folders import Folder, left_out_words, look_through, unwanted
from pellucid.images.labels import clean, look, settle
from pellucid.images.layout import FLAG, class_folders, leaving, quoted, split_folders, understand, without_empty
from pellucid.images.manifest import check_unchanged, read_manifest
from pellucid.images.part_words import recognised
from pellucid.images.rows import COLUMNS, table_samples
from pellucid.images.samples import Kind, Sample, Samples, Source
from pellucid.images.tables import (
    FORMATS,
    TABLES,
    identity,
)
from pellucid.names import kind_of, path_of

# Which fields of a Source have a meaning for which kind of data.
MEANT_FOR: Mapping[Kind, frozenset[str]] = {
    "class-folders": frozenset({"map", "group_from", "leave_out"}),
    "split-folders": frozenset({"map", "group_from", "leave_out"}),
    "table": frozenset({"map", "group_from", *COLUMNS.values()}),
    "file-names": frozenset({"map", "group_from", "label_from", "leave_out"}),
    "manifest": frozenset({"map", "group_from"}),
}


@dataclass
class _Read:
    """What is read so far; the labels as they are written."""

    samples: list[Sample]
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_samples(data: Path | str, source: Source | None = None, *, known: Collection[str] = ()) -> Samples:
    """Every labelled image of `data`. Raises UserError for data that is missing, empty or cannot be understood.

    Classes whose names look alike are refused, unless all of them are `known`, as those of a model are.
    """
    _check_there(data)
    root, source = path_of(data), source or Source()
    pattern = None if source.group_from is None else _pattern(source.group_from, "group", "--group-from")
    kind = _kind(root, source)
    _check_meant(source, kind)
    place = root.parent if kind == "table" else root
    match kind:
        case "manifest":
            place, read = _from_manifest(root)
        case "table":
            samples, notes = table_samples(root, source, place)
            read = _Read(samples, [], notes)
        case "file-names":
            read = _from_labels(root, source) if source.labels else _from_names(root, source)
        case _:
            kind, read = _from_folders(root, kind, source.leave_out)
    if kind == "manifest":
        known = {sample.label for sample in read.samples}  # decided when it was made
    return _finished(root, kind, place, read, source, pattern, known)


def _finished(
    root: Path,
    kind: Kind,
    place: Path,
    read: _Read,
    source: Source,
    pattern: re.Pattern[str] | None,
    known: Collection[str],
) -> Samples:
    """What is the same for every kind: labels settled, groups found, all in order."""
    if not read.samples:
        raise UserError(f"{root} holds no images", hint="name a folder that has a folder of images for each class")
    samples, notes = settle(read.samples, source.map, str(root), known=known)
    if kind in ("table", "file-names"):
        notes += _undivided(samples, place)
    if pattern is not None:
        if any(sample.group for sample in samples):
            notes.append("the groups that the data came with are not used, since --group-from says others")
        samples = _grouped(samples, place, pattern)
    notes += _groups_alike(samples)
    if any(sample.group for sample in samples) and (alone := sum(not sample.group for sample in samples)):
        notes.append(f"{counted(alone, 'image')} of {len(samples):,} have no group: each is taken for one of its own")
    if words := left_out_words(read.left_out):
        notes.append(words)
    return Samples(
        root=place,
        kind=kind,
        samples=tuple(sorted(samples, key=lambda sample: sample.path.as_posix())),
        classes=tuple(sorted({sample.label for sample in samples})),
        left_out=tuple(sorted(read.left_out)),
        notes=(*read.notes, *notes),
    )


def _groups_alike(samples: Sequence[Sample]) -> list[str]:
    """A remark on groups whose names look alike, as P1 and p1: they may be one, and lie in several parts."""
    of_look = defaultdict(set)
    for group in {sample.group for sample in samples if sample.group}:
        of_look[look(group)].add(group)
    alike = [" and ".join(sorted(groups)) for groups in of_look.values() if len(groups) > 1]
    return [f"groups that look alike are taken for different ones: {named(sorted(alike), 4)}"] if alike else []


def _undivided(samples: Sequence[Sample], place: Path) -> list[str]:
    """A remark on images that lie in folders of parts, where nothing says that those count."""
    if any(sample.part for sample in samples):
        return []
    above, depth = place.parts, len(place.parts)
    tops = {parts[depth] for sample in samples if (parts := sample.path.parts)[:depth] == above}
    likely = recognised(tops, short=False)
    if len(set(likely.values())) < 2:
        return []
    return [f"images lie in {named(sorted(likely))}, which look like parts; they are taken together and divided anew"]


def _check_there(data: Path | str) -> None:
    hint = "name a folder of images, or a table of paths and labels"
    if not str(data):
        raise UserError("no data is named: the name is empty", hint=hint)
    if kind_of(path_of(data)) == "nothing":
        raise UserError(f"{data} is not there", hint=hint)


def _kind(root: Path, source: Source) -> Kind:
    """What the source is: as it says, or as it looks."""
    if source.kind != "auto":
        return source.kind
    if root.is_dir():
        return "file-names" if source.label_from or source.labels else "auto"
    if root.suffix.lower() == ".json":
        return "manifest"
    if root.suffix.lower() in TABLES:
        return "table"
    packed = root.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")
    raise UserError(
        f"{root} is neither a folder nor a table", hint="unpack it, and name the folder" if packed else FORMATS
    )


def _check_meant(source: Source, kind: Kind) -> None:
    """A field that has no meaning for this kind of data is refused, not passed over."""
    meant = MEANT_FOR.get(kind, MEANT_FOR["class-folders"]) | {"kind"}
    if kind == "file-names":
        meant |= {"labels", *COLUMNS.values()} if source.labels else set()
        if source.labels and source.label_from:
            raise UserError("--labels and --label-from both say the labels", hint="leave one of them out")
    usual = Source()
    for name in sorted(Source.model_fields.keys() - meant):
        if getattr(source, name) != getattr(usual, name):
            of = "for tables" if name in COLUMNS.values() else "for a flat folder of images"
            of = "for folders" if name == "leave_out" else of
            what = "folders" if kind == "auto" else f"a {kind}" if kind in ("table", "manifest") else kind
            raise UserError(f"--{name.replace('_', '-')} is {of}, and the data is read as {what}", hint="leave it out")
    if source.group_column and source.group_from:
        raise UserError("--group-column and --group-from both say the groups", hint="leave one of them out")


# Folders


def _from_folders(root: Path, kind: Kind, leave_out: Collection[str]) -> tuple[Kind, _Read]:
    top = _looked(root, leave_out)
    if not top.folders:
        raise _nothing_to_read(root, top)
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in TABLES and not _hidden(path))
    if kind == "auto" and tables and len(top.folders) == 1 and not top.folders[0].folders and top.folders[0].total:
        alone = top.folders[0].path
        raise UserError(
            f"{root} holds one folder of images, {alone.name}, and {named([path.name for path in tables])}",
            [f"where its paths start in {alone}: name {quoted(alone)}, with --labels {quoted(tables[0])}"],
            hint=f"name the table that says the labels: {quoted(tables[0])}; {FLAG}",
        )
    layout = {"class-folders": class_folders, "split-folders": split_folders}.get(kind, understand)(top)
    samples, left_out = [], [(path, "not in a class folder") for path in top.images] + top.left_out
    used = set()
    for part, folders in layout.folders.items():
        for folder in folders:
            label = folder.path.parent.name if layout.divided else folder.name
            samples += [Sample(path, label, part) for path in folder.all_images()]
            left_out += folder.all_left_out()
            used |= {id(each) for each in folder.beneath()}
    for folder in top.beneath():  # between the top and the classes: in the folder of a part
        if folder is not top and id(folder) not in used:
            left_out += [*((path, "not in a class folder") for path in folder.images), *folder.left_out]
    found: Kind = "split-folders" if layout.kind == "split-folders" else "class-folders"
    return found, _Read(samples, left_out, list(layout.notes))


def _looked(root: Path, leave_out: Collection[str]) -> Folder:
    if not root.is_dir():
        raise UserError(f"{root} is not a folder", hint="--source table reads a table")
    top = look_through(root, leave_out)
    if top.is_run:
        raise UserError(f"{root} is a run of pellucid, not data", hint=f"`pellucid evaluate {quoted(root)}`")
    return top


def _nothing_to_read(root: Path, top: Folder) -> UserError:
    tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TABLES and not _hidden(path))
    if top.images:
        return UserError(
            f"{root} holds images, but no folder for each class",
            [f"{name} lies there: --labels {quoted(root / name)}" for name in tables],
            hint="--label-from '^(?P<label>[a-z]+)' takes the label from the file name",
        )
    words = left_out_words((path, why) for path, why in top.left_out if path.name not in tables)
    return UserError(
        f"{root} holds no images",
        [*([words] if words else []), *(f"{name} lies there: name it instead of the folder" for name in tables)],
        hint="name a folder that has a folder of images for each class",
    )


def _hidden(path: Path) -> bool:
    return path.name.startswith((".", "~$"))


# File names


def _from_names(root: Path, source: Source) -> _Read:
    if not source.label_from:
        raise UserError(
            "file names carry the label, but --label-from does not say where",
            hint="write --label-from '^(?P<label>[a-z]+)'",
        )
    pattern = _pattern(source.label_from, "label", "--label-from")
    top = _looked(root, source.leave_out)
    part_of, notes = _parts_of_folders(top)
    samples, unmatched = [], []
    for path in top.all_images():
        found = pattern.search(path.name)
        if not found or not clean(found["label"] or ""):
            unmatched.append(path.name)
            continue
        samples.append(Sample(path, found["label"], part_of(path)))
    if unmatched:
        raise UserError(
            f"{counted(len(unmatched), 'file name', verb=('does', 'do'))} not match --label-from {source.label_from!r}",
            listed(unmatched),
            hint="change the pattern, move those files away, or leave their folder out: --leave-out FOLDER",
        )
    return _Read(samples, top.all_left_out(), notes)


def _parts_of_folders(top: Folder) -> tuple[Callable[[Path], str | None], list[str]]:
    """Parts, where all images lie in folders that are called so, as train/ and test/."""
    notes: list[str] = []
    parts = recognised(folder.name for folder in top.inner)
    if len(parts) < len(top.inner) or len(set(parts.values())) < 2:
        parts = recognised(folder.name for folder in top.folders)  # all but one may be empty
    if top.images or len(set(parts.values())) < 2 or not all(folder.name in parts for folder in top.inner):
        return lambda _: None, []
    without_empty(top, top.folders, notes)
    parts = {folder.name: parts[folder.name] for folder in top.inner}
    if len(set(parts.values())) < len(parts):
        raise UserError(
            f"{top.path} has two folders for one part: {named([f'{name} for {part}' for name, part in parts.items()])}",
            hint=f"put them together, or leave one out: {leaving(top, top.inner[-1])}",
        )
    depth = len(top.path.parts)
    taken = ", ".join(f"{name} for {part}" for name, part in parts.items())
    return lambda path: parts[path.parts[depth]], [f"folders are taken for parts: {taken}", *notes]


def _from_labels(root: Path, source: Source) -> _Read:
    """A folder and a table that names the files in it."""
    top = _looked(root, source.leave_out)
    table = Path(source.labels or "")
    images, left_out, depth = top.all_images(), top.all_left_out(), len(root.parts)
    aside = [path for path, _ in left_out if unwanted(path.parts[depth:], source.leave_out)]
    samples, notes = table_samples(table, source, root, [*images, *aside])
    not_wanted = {identity(path) for path in aside}
    samples = [sample for sample in samples if identity(sample.path) not in not_wanted]
    taken = {identity(sample.path) for sample in samples}
    rest = [(path, "not in the table of labels") for path in images if identity(path) not in taken]
    lost = [(path, why) for path, why in left_out if path != table and identity(path) not in taken]
    return _Read(samples, [*rest, *lost], notes)


# Manifests, groups, patterns


def _from_manifest(path: Path) -> tuple[Path, _Read]:
    parts = read_manifest(path)
    check_unchanged(parts, path)
    return path_of(parts.root), _Read(list(parts.files))


def _grouped(samples: Iterable[Sample], root: Path, pattern: re.Pattern[str]) -> list[Sample]:
    grouped, unmatched, hollow = list[Sample](), list[str](), list[str]()
    for sample in samples:
        place = _below(sample.path, root)
        found = pattern.search(place)
        group = clean(found["group"] or "") if found else ""
        if not group:
            (hollow if found else unmatched).append(place)
            continue
        grouped.append(replace(sample, group=group))
    if unmatched:
        raise UserError(
            f"{counted(len(unmatched), 'path', verb=('does', 'do'))} not match --group-from {pattern.pattern!r}",
            listed(unmatched),
            hint="change the pattern so that it finds a group in every path",
        )
    if hollow:
        raise UserError(
            f"--group-from {pattern.pattern!r} finds a group without a letter in {counted(len(hollow), 'path')}",
            listed(hollow),
            hint="it matches where nothing stands: write + for *, or what stands before the group",
        )
    return grouped


def _below(path: Path, root: Path) -> str:
    """Where a file lies, from `root`: also where that is not above it."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def _pattern(text: str, group: str, flag: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as cause:
        raise UserError(f"{flag} {text!r} is not a regular expression: {cause}") from cause
    if group not in pattern.groupindex:
        raise UserError(f"{flag} {text!r} has no group named {group}", hint=f"write (?P<{group}>...) around it")
    return pattern
