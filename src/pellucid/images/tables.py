"""Tables of images: .csv and .tsv as programs and spreadsheets write them, .xlsx and .parquet, row by row.

A cell is text, the same in every format: a whole number has no decimals, a day has no hour. What `split` reads,
`predict` reads as well.
"""

import codecs
import csv
import datetime
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote, urlsplit

from pellucid.errors import UserError, named, nearest
from pellucid.images.labels import clean
from pellucid.names import path_of

TABLES = frozenset({".csv", ".tsv", ".parquet", ".xlsx"})
FORMATS = "tables are .csv, .tsv, .parquet or .xlsx"
DELIMITERS = ",;\t|"
ENDS = ("", ".jpg", ".png", ".jpeg", ".JPG")
MANY = 1000  # folders that are looked into for a hint
FAR = 20  # lines below the first in which a heading is looked for
START = 65536  # bytes that are looked at to tell how a text is encoded
# What lies under the name of a table, by how it begins.
NO_TEXT = (
    (b"pk\x03\x04", "an Excel workbook or an archive", "call it .xlsx, or unpack it"),
    (b"\x1f\x8b", "compressed", "unpack it"),
    (b"par1", "a Parquet file", "call it .parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as .xlsx or .csv"),
    (b"<!doctype", "a web page", "download the table itself"),
    (b"<html", "a web page", "download the table itself"),
    (b"version https://git-lfs", "the pointer to one that Git LFS keeps", "git lfs pull"),
)
Cells = list[str]
Identity = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A row of a table: where it is, and its cells in the columns that were asked for, "" where there is nothing."""

    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str | None) -> str:
        return self.cells.get(column or "", "")


@dataclass(frozen=True)
class Column:
    """A column that is asked for: the flag that names it, its name, and whether it may be absent."""

    flag: str
    name: str
    optional: bool = False


def read_rows(table: Path, columns: Sequence[Column], notes: list[str] | None = None) -> Iterator[Row]:
    """The rows of `table`, as they are read; `notes` takes what is decided on the way.

    Raises UserError for what cannot be read, columns that are not there or there twice, rows of more cells than the
    header has, and quotes that are never closed.
    """
    if not is_file(table):
        what = "is no file" if table.exists() else "is not there"
        raise UserError(f"{table} {what}", hint="name a .csv, .tsv, .parquet or .xlsx file")
    suffix = table.suffix.lower()
    if suffix not in TABLES:
        raise UserError(f"{table} is not a table", hint=FORMATS)
    wanted = [column.name for column in columns]
    lines = _lines(table, wanted) if suffix in (".csv", ".tsv") else _of_pandas(table, wanted, notes)
    header: list[str] | None = None
    place = {}
    for line, cells in lines:
        if _says_nothing(cells):
            continue
        if header is None:
            header = [clean(cell) for cell in cells]
            try:
                place = _places(table, header, columns)
            except UserError as cause:
                hint = _heading_below(lines, columns) or cause.hint
                raise UserError(cause.problem, [*cause.details, *(notes or ())], hint) from cause
            continue
        _check_row(table, line, cells, header, place)
        yield Row(line, {name: cells[at] if at < len(cells) else "" for name, at in place.items()})
    if header is None:
        needed = [column.name for column in columns if not column.optional]
        raise UserError(f"{table} is empty", hint=f"its first line names {named(needed)}")


def _says_nothing(cells: Cells) -> bool:
    """A row of nothing, a comment, or a line drawn under the heading."""
    said = [cell for cell in map(str.strip, cells) if cell]
    return not said or (len(said) == 1 and said[0].startswith("#")) or all(re.fullmatch("[-=:_]{3,}", c) for c in said)


def _heading_below(lines: Iterable[tuple[int, Cells]], columns: Sequence[Column]) -> str:
    """What to do where a title stands above the heading; empty where none does."""
    needed = {column.name.casefold() for column in columns if not column.optional}
    for line, cells in islice(lines, FAR):
        if needed <= {clean(cell).casefold() for cell in cells}:
            return f"line {line} names them: take out the lines above it"
    return ""


def _places(table: Path, header: list[str], columns: Sequence[Column]) -> dict[str, int]:
    """Where each column is."""
    found = {}
    small = [name.casefold() for name in header]
    for column in columns:
        number = header.count(column.name)
        if not number and small.count(column.name.casefold()) == 1:  # Path, LABEL
            found[column.name] = small.index(column.name.casefold())
            continue
        if number > 1:
            raise UserError(
                f"{table} has {number} columns named {column.name!r}",
                hint="give each a name of its own in its first line",
            )
        if number:
            found[column.name] = header.index(column.name)
        elif not column.optional:
            raise _no_column(table, header, column, {other.name for other in columns})
    return found


def _no_column(table: Path, header: list[str], column: Column, taken: set[str]) -> UserError:
    right = nearest(column.name, [name for name in header if name and name not in taken])
    if any(is_file(table.parent / cell) for cell in header if cell):
        hint = f"its first line looks like a row: write a line {column.name},... above it"
    elif len(header) == 1 and len(re.findall(r"\w+", header[0])) > 1 and column.name in re.findall(r"\w+", header[0]):
        hint = "its first line is one cell: put a comma between cells, and quotes around a cell, not around a line"
    else:
        hint = f"{column.flag} {shlex.quote(right) if right else 'NAME'}"
    return UserError(
        f"{table} has no column {column.name!r}", [f"it has {named([n or '(no name)' for n in header], 12)}"], hint
    )


def _check_row(table: Path, line: int, cells: Cells, header: list[str], place: dict[str, int]) -> None:
    if any(cells[len(header) :]):
        if broken := [cell for cell in cells if len(cell.splitlines()) > 1]:
            raise _open_quote(table, line, broken[0])
        raise UserError(
            f"{table} line {line} has {len(cells)} cells, and its first line names {len(header)} columns",
            [repr(",".join(cells)[:80])],
            hint="put quotes around a cell with a comma in it",
        )
    for at, cell in enumerate(cells):
        used = at in place.values()
        over = len(cell.splitlines()) > 1 or (used and cell.endswith(("\n", "\r")))
        if over and (used or _swallowed(table, cell, len(header), place)):
            raise _open_quote(table, line, cell)


def _swallowed(table: Path, cell: str, columns: int, place: dict[str, int]) -> bool:
    """Whether a line inside a cell is a row of the table."""
    for line in cell.splitlines()[1:]:
        for delimiter in DELIMITERS:
            cells = line.split(delimiter)
            if len(cells) >= columns > 1 and any(is_file(table.parent / cells[at]) for at in place.values()):
                return True
    return False


def _open_quote(table: Path, line: int, cell: str) -> UserError:
    return UserError(
        f"{table} has a quote in line {line} that is not closed where its cell ends",
        [f"the cell goes on over {len(cell.splitlines()):,} lines: {cell[:60]!r}"],
        hint='close it, or write "" for a quote that belongs to the text',
    )


# Text


def _lines(table: Path, names: Sequence[str]) -> Iterator[tuple[int, Cells]]:
    """(line number, cells) of a text table."""
    with _readable(table), table.open(encoding=_encoding(table), newline="") as file:
        delimiter, skipped = _delimiter(file, names, "\t" if table.suffix.lower() == ".tsv" else ",")
        file.seek(0)
        for _ in range(skipped):
            file.readline()
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=delimiter != "\t")
        try:
            before = skipped
            for cells in reader:
                yield before + 1, cells
                before = skipped + reader.line_num
        except csv.Error as cause:
            if "field limit" in str(cause):
                raise UserError(
                    f"{table} has a cell of more than {csv.field_size_limit():,} characters from line {before + 1} on",
                    hint="is there a quote that is never closed?",
                ) from cause
            raise UserError(f"{table} cannot be read: {cause}", hint="save it as UTF-8 text") from cause


@contextmanager
def _readable(table: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeError as cause:
        raise UserError(f"{table} cannot be read: {cause}", hint="save it as UTF-8 text") from cause
    except OSError as cause:
        raise UserError(f"{table} cannot be read: {cause.strerror}") from cause


def _encoding(table: Path) -> str:
    """By the mark at its start, or by zeros where Latin letters have them in two bytes."""
    with table.open("rb") as file:
        start = file.read(START)
    for mark, what, hint in NO_TEXT:
        if start.lstrip().lower().startswith(mark):
            raise UserError(f"{table} is no table, but {what}", hint=hint)
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if start.startswith(mark):
            return name
    even, odd = start[:400:2].count(0), start[1:400:2].count(0)
    least = len(start[:400]) // 4
    return "utf-16-le" if odd > max(least, even) else "utf-16-be" if even > max(least, odd) else "utf-8"


def _delimiter(file: Iterable[str], names: Sequence[str], usual: str) -> tuple[str, int]:
    """What parts the cells, and how many lines come before the heading (`sep=;`, comments, empty ones)."""
    said = usual
    for number, line in enumerate(file):
        bare = line.strip("\r\n ").strip('"')
        if found := re.fullmatch(r"sep=(.|\\t)", bare, re.IGNORECASE):
            said = "\t" if found[1] == "\\t" else found[1]
            continue
        if not bare.strip() or bare.startswith("#"):
            continue
        choices = [said, *DELIMITERS.replace(said, "")]

        def known(delimiter: str, line: str = line) -> int:
            heading = next(csv.reader([line.replace("\0", "")], delimiter=delimiter, skipinitialspace=True), [])
            return len({clean(cell).casefold() for cell in heading} & {name.casefold() for name in names})

        return max(choices, key=known), number
    return said, 0


# Spreadsheets and data frames


def _of_pandas(table: Path, names: Sequence[str], notes: list[str] | None) -> Iterator[tuple[int, Cells]]:
    try:
        import pandas
    except ImportError as cause:
        raise UserError(f"{table} needs pandas to be read", hint="pip install 'pellucid[tables]'") from cause
    parquet = table.suffix.lower() == ".parquet"
    try:
        if parquet:
            frame = pandas.read_parquet(table)
            if any(name is not None for name in frame.index.names):
                frame = frame.reset_index()
        else:
            # As it is written: a class may be called None or NA, and a heading may be there twice.
            with pandas.ExcelFile(table) as book:
                frame = book.parse(header=None, dtype=object, keep_default_na=False, na_values=[])
                if len(book.sheet_names) > 1 and notes is not None:
                    notes.append(f"of the {len(book.sheet_names)} sheets of {table} the first was read")
    except ImportError as cause:
        raise UserError(f"{table} needs more to be read: {cause}", hint="pip install 'pellucid[tables]'") from cause
    except Exception as cause:  # each reader has its own errors for damaged files
        form = "a Parquet file" if parquet else "an Excel workbook"
        raise UserError(
            f"{table} cannot be read as {form}", hint="open it and save it again, or save it as .csv"
        ) from cause
    header = [str(name) for name in frame.columns]
    if parquet:
        yield 1, header
    columns = [frame.iloc[:, at].astype(object).tolist() for at in range(frame.shape[1])]
    wanted = {name.casefold() for name in names}
    used = [not parquet or clean(name).casefold() in wanted for name in header]
    for line, cells in enumerate(zip(*columns, strict=True), start=2 if parquet else 1):
        yield line, [_text(cell, table, line) if use else "" for cell, use in zip(cells, used, strict=True)]


def _text(value: Any, table: Path, line: int) -> str:
    if isinstance(value, list | tuple | dict | set) or getattr(value, "ndim", False):
        raise UserError(
            f"{table} has several values in one cell of line {line}: {str(value)[:60]}",
            hint="an image has one path and one label",
        )
    return text_of(value)


def text_of(value: Any) -> str:
    """A cell as text, as a .csv file would have it."""
    if isinstance(value, str):
        return value
    if value is None or str(value) == "<NA>" or value != value:  # pandas' NA, which answers no question; no number
        return ""
    match value:
        case bytes():
            return value.decode("utf-8", "replace")
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case float() if value.is_integer():
            return str(int(value))
    return str(value)


# Paths


def located(place: Path, text: str) -> tuple[Path, Identity | None]:
    """The file that a cell means, below `place`: as it stands, or as other systems and programs write it; and which it
    is. Where nothing is there, the path as it stands, and None.
    """
    for candidate in _candidates(text):
        path = place / candidate
        if "\\udc" in candidate:  # a byte that is no text, as we show it
            path = path_of(path)
        if there := identity(path):
            return path, there
    return place / text, None


def _candidates(text: str) -> Iterator[str]:
    yield text
    bare = text.strip(" \t\r\n\ufeff\u200b\u2060\0\u00a0\"'")
    yield bare
    yield clean(text)
    if bare.startswith("~"):
        yield os.path.expanduser(bare)  # noqa: PTH111 - which leaves the name of no user as it is
    if bare.lower().startswith("file:"):
        yield unquote(urlsplit(bare).path)
    if "\\" in bare:
        yield bare.replace("\\", "/")
    if "%" in bare:
        yield unquote(bare)
    if not bare.isascii():
        import unicodedata

        yield unicodedata.normalize("NFC", bare)
        yield unicodedata.normalize("NFD", bare)


def why_missing(path: str, place: Path, table: Path) -> str:
    """What to do about a path that leads to no file below `place`, by how it looks."""
    first, from_where = path.strip(), "the table's folder" if place == table.parent else str(place)
    if re.match(r"[A-Za-z]:[\\/]", first):
        return f"drive letters are of another machine: write paths from {from_where} on"
    if re.match(r"(https?|s3|gs|ftp)://", first):
        return f"images are read from disk: download them, and write their paths from {from_where} on"
    if first.startswith("file:"):
        return f"file: addresses are of another machine: write paths from {from_where} on"
    if first.startswith("/") and is_file(place / first.lstrip("/")):
        return f"it is there without the slash in front: {first.lstrip('/')}"
    if is_file(Path(first)):
        return (
            f"paths are taken from {from_where}, not from the current folder: move the table, or write them from there"
        )
    for suffix in ENDS[1:]:
        if is_file(place / f"{first}{suffix}"):
            return f"the paths lack their suffix: {first}{suffix} is there; {_by_labels(place, table)}"
    if is_file(place / PurePath(first.replace("\\", "/")).name):
        return f"it lies in {from_where} itself: write the paths without folders"
    if place == table.parent and any(
        is_file(folder / f"{first}{end}")
        for level in ("*", "*/*")
        for folder in islice(place.glob(level), MANY)
        if folder.is_dir()
        for end in ENDS
    ):
        return f"it lies in a folder below: {_by_labels(place, table)}"
    return f"paths are taken from {from_where}"


def _by_labels(place: Path, table: Path) -> str:
    return f"{shlex.quote(str(place))} with --labels {shlex.quote(str(table))} finds images by their names"


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def identity(path: Path) -> Identity | None:
    """What two spellings of a path, or two links to a file, have in common; None where there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
