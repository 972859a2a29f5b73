"""Where labelled images come from: class folders, ready splits, a table, file names, or a split manifest."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pellucid.errors import UserError, counted, listed, nearest
from pellucid.records import Record

# What Pillow reads and people keep photographs in. A file with another suffix is no image unless a table names it.
PHOTOS = ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .tif .tiff .webp .avif .jp2 .j2k .ppm .pgm .pbm .pnm .tga"
SUFFIXES = frozenset(PHOTOS.split())
TABLES = frozenset({".csv", ".tsv", ".parquet", ".xlsx"})
PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}

Kind = Literal["auto", "class-folders", "split-folders", "table", "file-names", "manifest"]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled image. `part` is "train", "validation" or "test" where the data comes divided."""

    path: Path
    label: str
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Samples:
    """All images of a source. `classes` are in plain string order; `left_out` are files that are not used, and why.

    `notes` say what was decided while reading, for those who did not ask: the split takes them over.
    """

    root: Path
    kind: str
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    left_out: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def counts(self) -> dict[str, int]:
        """Images a class, in the order of the classes."""
        found = Counter(sample.label for sample in self.samples)
        return {name: found[name] for name in self.classes}


class Source(Record):
    """How data is to be read, where looking at it is not enough."""

    kind: Kind = "auto"
    path_column: str = "path"
    label_column: str = "label"
    split_column: str = "split"
    group_column: str = "group"
    labels: str | None = None  # a table of labels beside a flat folder
    label_from: str | None = None  # a pattern on the file name with a group named label
    map: dict[str, str] = Field(default_factory=dict)  # what captured labels mean
    group_from: str | None = None  # a pattern on the path below the root, with a group named group


def read_samples(data: Path | str, source: Source | None = None) -> Samples:
    """Every labelled image of `data`. Raises UserError for data that is missing, empty or cannot be understood."""
    root, source = Path(data), source or Source()
    if not root.exists():
        raise UserError(f"{root} is not there", hint="name a folder of images, or a table of paths and labels")
    pattern = None if source.group_from is None else _pattern(source.group_from, "group", "--group-from")
    match _kind(root, source):
        case "manifest":
            found = _from_manifest(root)
        case "table":
            found = _from_table(root, source)
        case "file-names":
            found = _from_labels(root, source) if source.labels else _from_names(root, source)
        case "split-folders":
            found = _from_parts(root)
        case _:
            found = _from_classes(root)
    if pattern is not None:
        found = replace(found, samples=_grouped(found, pattern))
    return found


def find_images(folder: Path) -> list[Path]:
    """Every image beneath `folder`, told by its suffix, in string order; hidden files and folders are left out."""
    return [path for path in _files(folder) if path.suffix.lower() in SUFFIXES]


def _files(folder: Path) -> list[Path]:
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.as_posix())


def _kind(root: Path, source: Source) -> Kind:
    """What the source is: as it says, or as it looks."""
    if source.kind != "auto":
        return source.kind
    if root.is_file():
        if root.suffix.lower() == ".json":
            return "manifest"
        if root.suffix.lower() in TABLES:
            return "table"
        raise UserError(f"{root} is neither a folder nor a table", hint="tables are .csv, .tsv, .parquet or .xlsx")
    if source.label_from or source.labels:
        return "file-names"
    folders = _folders(root)
    if any(folder.name.lower() in PARTS and _folders(folder) for folder in folders):
        return "split-folders"
    if folders:
        return "class-folders"
    tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TABLES)
    if find_images(root):
        hint = "--label-from '^(?P<label>[a-z]+)' takes the label from the file name"
        raise UserError(
            f"{root} holds images, but no folder for each class",
            [f"{name} lies there: --labels {root / name}" for name in tables],
            hint=hint,
        )
    raise UserError(
        f"{root} holds no images",
        [f"{name} lies there: name it instead of the folder" for name in tables],
        hint="name a folder that has a folder of images for each class",
    )


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _from_classes(root: Path, part: str | None = None) -> Samples:
    if not root.is_dir():
        raise UserError(f"{root} is not a folder", hint="--source table reads a table")
    samples: list[Sample] = []
    left_out = [(path, "not in a class folder") for path in root.iterdir() if path.is_file() and _visible(path)]
    names = []
    for folder in _folders(root):
        names.append(folder.name)
        files = _files(folder)
        images = [path for path in files if path.suffix.lower() in SUFFIXES]
        left_out += [(path, "not an image by its suffix") for path in files if path.suffix.lower() not in SUFFIXES]
        if not images:
            raise UserError(f"{folder} holds no images", hint="put images into it, or remove the folder")
        samples += [Sample(path, folder.name, part) for path in images]
    return _samples(root, "class-folders", samples, left_out)


def _from_parts(root: Path) -> Samples:
    by_part: dict[str, Path] = {}
    for folder in _folders(root):
        part = PARTS.get(folder.name.lower())
        if part is None:
            raise UserError(
                f"{folder} is no part of a split",
                hint=f"parts are {', '.join(PARTS)}; --source class-folders takes every folder for a class",
            )
        if part in by_part:
            raise UserError(f"{root} has two folders for {part}: {by_part[part].name} and {folder.name}")
        by_part[part] = folder
    if not by_part:
        raise UserError(f"{root} holds no parts of a split", hint=f"parts are {', '.join(PARTS)}")
    read = [_from_classes(folder, part) for part, folder in by_part.items()]
    samples = [sample for part in read for sample in part]
    return _samples(root, "split-folders", samples, [lost for part in read for lost in part.left_out])


def _from_names(root: Path, source: Source) -> Samples:
    if not source.label_from:
        raise UserError(
            "file names carry the label, but --label-from does not say where",
            hint="write --label-from '^(?P<label>[a-z]+)'",
        )
    pattern = _pattern(source.label_from, "label", "--label-from")
    samples, unmatched, unknown = [], [], Counter[str]()
    for path in find_images(root):
        found = pattern.search(path.name)
        if not found or found["label"] is None:
            unmatched.append(path.name)
            continue
        label = found["label"]
        if source.map and label not in source.map:
            unknown[label] += 1
        samples.append(Sample(path, source.map.get(label, label)))
    if unmatched:
        raise UserError(
            f"{counted(len(unmatched), 'file name', verb=('does', 'do'))} not match --label-from {source.label_from!r}",
            listed(unmatched),
            hint="change the pattern, or move those files away",
        )
    if unknown:
        raise UserError(
            f"--map does not say what {counted(len(unknown), 'label', verb=('means', 'mean'))}",
            listed([f"{label} ({counted(count, 'image')})" for label, count in sorted(unknown.items())]),
            hint=f"it knows {', '.join(sorted(source.map))}",
        )
    return _samples(root, "file-names", samples, [])


def _from_labels(root: Path, source: Source) -> Samples:
    """A flat folder and a table that names its files."""
    table = _from_table(Path(source.labels or ""), source, folder=root)
    named = {sample.path for sample in table}
    rest = [(path, "not in the table of labels") for path in find_images(root) if path not in named]
    return Samples(root, "file-names", table.samples, table.classes, tuple(rest))


def _from_table(table: Path, source: Source, folder: Path | None = None) -> Samples:
    root = folder or table.parent
    samples: list[Sample] = []
    missing, unlabelled, unknown_parts = [], [], Counter[str]()
    first: dict[Path, str] = {}
    for number, row in enumerate(_rows(table, source), start=2):
        path, label = root / _cell(row, source.path_column), _cell(row, source.label_column)
        label = source.map.get(label, label)
        if not label:
            unlabelled.append(f"line {number}")
            continue
        if path in first:
            if first[path] != label:
                raise UserError(f"{table} gives {path} two labels: {first[path]} and {label}")
            continue
        if not path.is_file():
            missing.append(str(path))
            continue
        said = _cell(row, source.split_column).lower()
        if said and said not in PARTS:
            unknown_parts[said] += 1
        first[path] = label
        samples.append(Sample(path, label, PARTS.get(said), _cell(row, source.group_column) or None))
    if missing:
        raise UserError(
            f"{table} names {counted(len(missing), 'file')} not to be found",
            listed(missing),
            hint="paths are taken from the table's folder",
        )
    if unlabelled:
        raise UserError(f"{table} has {counted(len(unlabelled), 'row')} without a label", listed(unlabelled))
    if unknown_parts:
        raise UserError(
            f"{table} has unknown parts in column {source.split_column!r}",
            listed([f"{name} ({counted(count, 'row')})" for name, count in sorted(unknown_parts.items())]),
            hint=f"parts are {', '.join(PARTS)}",
        )
    if not samples:
        raise UserError(f"{table} has no rows", hint="write a row for each image, with its path and label")
    return _samples(root, "table", samples, [])


def _rows(table: Path, source: Source) -> Iterator[Row]:
    if not table.is_file():
        raise UserError(f"{table} is not there", hint="name a .csv, .tsv, .parquet or .xlsx file")
    suffix = table.suffix.lower()
    if suffix in (".csv", ".tsv"):
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
            try:
                _check_columns(table, list(reader.fieldnames or []), source)
                yield from reader
            except (UnicodeDecodeError, csv.Error) as cause:
                raise UserError(f"{table} cannot be read: {cause}", hint="save it as UTF-8 text") from cause
        return
    if suffix not in TABLES:
        raise UserError(f"{table} is not a table", hint="tables are .csv, .tsv, .parquet or .xlsx")
    try:
        import pandas
    except ImportError as cause:
        raise UserError(f"{table} needs pandas to be read", hint="pip install 'pellucid[tables]'") from cause
    try:
        frame = pandas.read_parquet(table) if suffix == ".parquet" else pandas.read_excel(table)
    except ImportError as cause:
        raise UserError(f"{table} needs more to be read: {cause}", hint="pip install 'pellucid[tables]'") from cause
    except Exception as cause:  # each reader has its own errors for damaged files
        form = "a Parquet file" if suffix == ".parquet" else "an Excel workbook"
        raise UserError(
            f"{table} cannot be read as {form}", hint="open it and save it again, or save it as .csv"
        ) from cause
    _check_columns(table, [str(name) for name in frame.columns], source)
    yield from frame.astype(object).where(frame.notna(), None).to_dict(orient="records")


def _check_columns(table: Path, columns: list[str], source: Source) -> None:
    if not columns:
        raise UserError(
            f"{table} is empty", hint=f"its first line names {source.path_column} and {source.label_column}"
        )
    for flag, wanted in (("--path-column", source.path_column), ("--label-column", source.label_column)):
        if wanted not in columns:
            right = nearest(wanted, columns)
            raise UserError(
                f"{table} has no column {wanted!r}",
                [f"it has {', '.join(columns)}"],
                hint=f"{flag} {right or 'NAME'}",
            )


def _cell(row: Row, column: str) -> str:
    value = row.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers in which a cell is empty is read as floats
    return "" if value is None else str(value).strip()


def _from_manifest(path: Path) -> Samples:
    from pellucid.images.split import read_manifest  # split.py reads samples; only a manifest needs the way back

    parts = read_manifest(path)
    root = Path(parts.root)
    samples = [Sample(root / file.path, file.label, file.part, file.group) for file in parts.files]
    if gone := [str(sample.path) for sample in samples if not sample.path.is_file()]:
        raise UserError(f"{path} names {counted(len(gone), 'file')} not to be found", listed(gone))
    return _samples(root, "manifest", samples, [])


def _samples(root: Path, kind: str, samples: list[Sample], left_out: list[tuple[Path, str]]) -> Samples:
    classes = tuple(sorted({sample.label for sample in samples}))
    if not samples:
        raise UserError(f"{root} holds no images", hint="name a folder that has a folder of images for each class")
    ordered = sorted(samples, key=lambda sample: sample.path.as_posix())
    return Samples(root, kind, tuple(ordered), classes, tuple(sorted(left_out)))


def _grouped(samples: Samples, pattern: re.Pattern[str]) -> tuple[Sample, ...]:
    grouped, unmatched = [], []
    for sample in samples:
        place = sample.path.relative_to(samples.root).as_posix()
        found = pattern.search(place)
        if not found or found["group"] is None:
            unmatched.append(place)
            continue
        grouped.append(Sample(sample.path, sample.label, sample.part, found["group"]))
    if unmatched:
        raise UserError(
            f"{counted(len(unmatched), 'path', verb=('does', 'do'))} not match --group-from {pattern.pattern!r}",
            listed(unmatched),
            hint="change the pattern so that it finds a group in every path",
        )
    return tuple(grouped)


def _pattern(text: str, group: str, flag: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as cause:
        raise UserError(f"{flag} {text!r} is not a regular expression: {cause}") from cause
    if group not in pattern.groupindex:
        raise UserError(f"{flag} {text!r} has no group named {group}", hint=f"write (?P<{group}>...) around it")
    return pattern


def _visible(path: Path) -> bool:
    return not path.name.startswith(".")
