"""What a command line means by its images: files, folders, globs, tables of paths, standard input."""

import csv
import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pellucid.errors import nearest
from pellucid.images.sources import find_images
from pellucid.uses.predict import Failure

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def expand_inputs(
    arguments: Sequence[str], *, standard_input: Iterable[str], path_column: str = "path"
) -> Iterator[Path | Failure]:
    """Every image that `arguments` name, in their order and as they are read: nothing is held back until the end.

    An argument is a file, a folder (all images beneath, sorted), a glob (sorted; ** goes deeper), a .csv or .tsv with
    a column of paths relative to it, or "-" for one path a line on `standard_input`. What names no image at all is a
    Failure in its place; whether a file is there and an image shows when it is opened.
    """
    for argument in arguments:
        if argument == "-":
            yield from (Path(line) for raw in standard_input if (line := raw.rstrip("\r\n")))
        else:
            yield from _expanded(argument, path_column)


def _expanded(argument: str, path_column: str) -> Iterator[Path | Failure]:
    path = Path(argument)
    if path.is_dir():
        images = find_images(path)
        yield from images
        if not images:
            yield Failure(name=argument, error="the folder holds no images")
    elif path.suffix.lower() in DELIMITERS and path.is_file():
        yield from _listed(path, path_column)
    elif glob.has_magic(argument) and not path.exists():
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - pathlib's has no absolute patterns
        for match in matches:
            yield from _expanded(match, path_column)
        if not matches:
            yield Failure(name=argument, error="no file matches this pattern")
    else:
        yield path


def _listed(table: Path, path_column: str) -> Iterator[Path | Failure]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=DELIMITERS[table.suffix.lower()])
            columns = rows.fieldnames or []
            if path_column not in columns:
                yield Failure(name=str(table), error=_no_column(path_column, columns))
                return
            for row in rows:
                yield (
                    table.parent / row[path_column]
                    if row[path_column]
                    else Failure(name=f"{table} line {rows.line_num}", error=f"the column {path_column} is empty")
                )
    except UnicodeDecodeError:
        yield Failure(name=str(table), error="the table is not UTF-8 text")
    except (OSError, csv.Error) as cause:
        yield Failure(name=str(table), error=f"the table cannot be read: {cause}")


def _no_column(wanted: str, columns: Sequence[str]) -> str:
    there = f"it has {', '.join(columns)}" if columns else "the table is empty"
    close = nearest(wanted, columns)
    return f"no column {wanted!r}; {there}" + (f" (did you mean {close}?)" if close else "")
