"""What a command line means by its images: files, folders, globs, archives, tables of paths, standard input."""

import glob
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from pellucid.errors import UserError
from pellucid.images.folders import images_beneath, left_out_words
from pellucid.images.labels import clean
from pellucid.images.scratch import followed
from pellucid.images.tables import TABLES, Column, is_file, located, read_rows
from pellucid.uses.ahead import PAUSE, Pause
from pellucid.uses.archives import images_in, is_archive
from pellucid.uses.predict import Elsewhere, Failure


def expand_inputs(
    arguments: Sequence[str],
    *,
    standard_input: Iterable[str | Pause],
    path_column: str = "path",
    allow_urls: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[Path | Elsewhere | Failure | Pause]:
    """Every image that `arguments` name, in their order and as they are read: nothing is held back until the end.

    An argument is a file, a folder (all images beneath, sorted), a glob (sorted; ** goes deeper), a zip or tar archive
    or a member of one, a table with a column of paths relative to it (read as images.tables does), or "-" for one path
    per line on `standard_input`; with `allow_urls` any of these may be an address. What names no image at all is a
    Failure in its place; whether a file is there and an image shows when it is opened. `note` hears what is left out of
    folders and archives. A PAUSE on standard input is passed on.
    """
    for argument in arguments:
        if argument == "-":
            for line in standard_input:
                if line is PAUSE:
                    yield PAUSE
                elif named := line.rstrip("\r\n"):
                    yield _address(named, allow_urls) or Path(named)
        else:
            yield from _expanded(argument, path_column, allow_urls, note)


def _expanded(
    argument: str, path_column: str, allow_urls: bool, note: Callable[[str], None]
) -> Iterator[Path | Elsewhere | Failure]:
    path = Path(argument)
    if not argument.strip():
        yield Failure(name=argument, error="an empty name")
    elif address := _address(argument, allow_urls):
        yield address
    elif _is_folder(path):
        yield from _of_folder(path, argument, note)
    elif path.suffix.lower() in TABLES and is_file(path):
        yield from _listed(path, path_column, allow_urls, note)
    elif is_archive(path):
        yield from _of_archive(path, "", argument, note)
    elif glob.has_magic(argument) and not is_file(path):
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - pathlib's has no absolute patterns
        for match in matches:
            yield from _expanded(match, path_column, allow_urls, note)
        if not matches:
            yield Failure(name=argument, error="no file matches this pattern")
    elif not is_file(path) and (archive := next(filter(is_archive, path.parents), None)):
        yield from _of_archive(archive, path.relative_to(archive).as_posix(), argument, note)
    else:
        yield path


def _address(named: str, allowed: bool) -> Elsewhere | Failure | None:
    """What is no path, though one could be made of it, which nobody wrote: it would have one slash less."""
    found = re.match(r"([A-Za-z][\w+.-]*)://", named)
    if not found:
        return None
    if allowed and found[1].lower() in ("http", "https"):
        from pellucid.uses.urls import Address

        return Address(named)
    file = unquote(named.removeprefix("file://"))
    told = "an address: download it and name the file, or allow it: --allow-urls"
    if found[1].lower() not in ("file", "http", "https"):
        told = "an address that is neither http nor https: download it and name the file"
    elif found[1] == "file":
        told = f"an address, and paths are wanted: {file}"
    return Failure(name=named, error=told)


def check_apart(target: Path, sources: Sequence[str], what: str) -> None:
    """Raises UserError where `target` is one of the images or lies in a folder of them: `what` would be one the next
    time, or has destroyed one.
    """
    for source in sources:
        with suppress(OSError, ValueError):
            place, there = followed(Path(source)), followed(target)
            if there == place and not place.is_dir():
                raise UserError(f"{target} is one of the images", hint="name another file, beside them")
            if place.is_dir() and there.is_relative_to(place):
                raise UserError(
                    f"{target} lies in {source}, and {what} would be read as images of it from then on",
                    hint=f"name a place beside it: {place.with_name('answers')}",
                )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that none can have
        return False


def _of_folder(path: Path, argument: str, note: Callable[[str], None]) -> Iterator[Path | Failure]:
    left_out: list[tuple[Path, str]] = []
    found = False
    try:
        for image in images_beneath(path, left_out):
            found = True
            yield image
    except UserError as cause:
        yield Failure(name=argument, error=_in_a_line(cause, argument))
        return
    words = left_out_words(left_out)
    if words and found:
        note(f"{argument}: {words}")
    if not found:
        yield Failure(name=argument, error="the folder holds no images" + (f" ({words})" if words else ""))


def _of_archive(
    archive: Path, within: str, argument: str, note: Callable[[str], None]
) -> Iterator[Elsewhere | Failure]:
    left_out: list[tuple[Path, str]] = []
    found = False
    for image in images_in(archive, left_out, within=within):
        found = True
        yield image
    words = left_out_words(left_out)
    if words and found:
        note(f"{argument}: {words}")
    if not found:
        what = "there is no such image in the archive" if within else "the archive holds no images"
        yield Failure(name=argument, error=what + (f" ({words})" if words else ""))


def _listed(
    table: Path, path_column: str, allow_urls: bool, note: Callable[[str], None]
) -> Iterator[Path | Elsewhere | Failure]:
    notes: list[str] = []
    try:
        for row in read_rows(table, [Column("--path-column", path_column)], notes):
            while notes:
                note(notes.pop())
            said = row[path_column]
            if re.match("https?://", said, re.IGNORECASE) and (address := _address(said, allow_urls)):
                yield address
                continue
            path, there = located(table.parent, said)
            if there is None and said.lstrip().startswith("#"):
                continue  # a remark, or a row that somebody took out
            if clean(said):
                yield path
            else:
                yield Failure(name=f"{table} line {row.line}", error=f"the column {path_column} is empty")
    except UserError as cause:
        yield Failure(name=str(table), error=_in_a_line(cause, str(table)))


def _in_a_line(cause: UserError, name: str) -> str:
    said = "; ".join((cause.problem.removeprefix(f"{name} "), *cause.details))
    return f"{said} ({cause.hint})" if cause.hint else said
