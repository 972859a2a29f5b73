"""A file of answers: written line by line, so that one which was interrupted goes on after its last whole line.

Beside it lies, until it is finished, what has to be the same for that: `.NAME.resume`. A Parquet file is made of its
lines at the end.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from pellucid.errors import UserError, counted, of_system
from pellucid.names import ESCAPES, kind_of
from pellucid.records import clear_scratch, hold, is_held, scratch_name, write_json
from pellucid.reports.predictions import prediction_header, prediction_line
from pellucid.uses.predict import COLUMNS, Failure, Prediction

Item = TypeVar("Item")
Kind = Literal["csv", "json", "parquet"]
KINDS: dict[str, Kind] = {".csv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}
CHUNK = 1 << 20  # bytes that are looked at together
AS_BEGUN = "give the command that began it, with --resume; or name another file"
ROWS = 10_000  # of a Parquet file that are written together


class Answers:
    """An open file of answers. `done` were in it when it was opened; `failures` say why there is no answer."""

    def __init__(self, path: Path, kind: Kind, facts: Mapping[str, Any], *, resume: bool) -> None:
        """`facts`: what decides what the answers are, the model above all, by what a person calls it.

        Raises UserError where `path` is there and nobody said `resume`, where it was begun with other facts, where it
        is no file of ours to go on with, and where it cannot be written.
        """
        self.path, self.kind = path, kind
        self._note = path.with_name(f".{path.name}.resume")
        self._lines = path.with_name(f".{path.name}.rows") if kind == "parquet" else path
        if kind == "parquet":
            _check_parquet()
        there = kind_of(self._lines) == "file"
        if there and sys.platform != "win32" and is_held(self._lines):
            raise UserError(f"another process is writing {path}", hint="wait for it, or name another file")
        begun = there or kind_of(path) != "nothing"
        if begun and not resume:
            known = "--resume goes on with it; or " if kind_of(self._note) == "file" else ""
            raise UserError(f"{path} is there already", hint=f"{known}name another file")
        known_facts = {"kind": kind, **facts}
        if begun:
            self._check(known_facts)
        self.done = self.added = self.failures = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not begun:
                write_json(self._note, known_facts)
            self._number = os.open(self._lines, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            hold(self._number)
            self._cut()
        except OSError as cause:
            raise of_system(cause, str(path), doing="written") from cause

    def take(self, predicted: Prediction | Failure) -> None:
        """One answer more. It is in the file when this returns, whatever then becomes of the process."""
        self.added += 1
        self.failures += isinstance(predicted, Failure)
        self._put(_row(predicted) if self.kind == "parquet" else prediction_line(predicted, self.kind))

    def names(self) -> Iterator[str]:
        """The names of the images that were answered when the file was opened; failures among them are counted."""
        with self._lines.open(encoding="utf-8", newline="") as file:
            rows: Iterator[Mapping[str, Any]] = csv.DictReader(file) if self.kind == "csv" else map(json.loads, file)
            for row in islice(rows, self.done):
                if not isinstance(row, Mapping) or "name" not in row:
                    raise UserError(f"{self.path} cannot be gone on with: somebody has edited it", hint=AS_BEGUN)
                self.failures += bool(row.get("error"))
                yield row["name"]

    def left(self, inputs: Iterable[Item], skip: int, name_of: Callable[[Item], str | None]) -> Iterator[Item]:
        """The `inputs` but for the first `skip`, where those that were answered are the ones that the file names.

        `name_of` an input is None for what is no image. Raises UserError where another stands in the place of one.
        """
        known, number = self.names(), 0
        for each in inputs:
            name = name_of(each)
            if name is not None and number < self.done:
                then, now = next(known), name.encode("utf-8", ESCAPES).decode()
                if then != now:
                    said = f"image {number + 1:,} is {then} there, and now {now}"
                    raise UserError(f"{self.path} cannot be gone on with: its images are others", [said], hint=AS_BEGUN)
            number += name is not None
            if number > skip or (name is None and number == skip):
                yield each
        if number < self.done:
            said = f"it answers {counted(self.done, 'image')}, and now there are {number:,}"
            raise UserError(f"{self.path} cannot be gone on with: {said}", hint=AS_BEGUN)

    def finish(self) -> list[str]:
        """Nothing more will come: what was kept for going on is removed. Returns what is to be told."""
        os.fsync(self._number)
        if self.kind == "parquet":
            self._make_parquet()
            self._lines.unlink(missing_ok=True)
        self.close()
        self._note.unlink(missing_ok=True)
        unread = f", {self.failures:,} of them without a class" if self.failures else ""
        return [f"{self.path}: {counted(self.done + self.added, 'answer')}{unread}"]

    def close(self) -> None:
        """Leave the file as it is, to be gone on with."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def _check(self, facts: Mapping[str, Any]) -> None:
        try:
            then = json.loads(self._note.read_text(encoding="utf-8"))
            if not isinstance(then, dict):
                raise ValueError("the note is none")
        except (OSError, ValueError) as cause:
            raise UserError(
                f"{self.path} is there, and nothing of it is left to do, or `pellucid predict` did not write it",
                hint="without --resume, name another file",
            ) from cause
        differences = [
            f"{name}: {then.get(name)}, now {value}" for name, value in facts.items() if then.get(name) != value
        ]
        if differences:
            raise UserError(
                f"{self.path} cannot be gone on with: it was begun otherwise",
                differences,
                hint=AS_BEGUN,
            )

    def _cut(self) -> None:
        """Take off what is no whole line, count those that are, and begin with the header where there are none."""
        records, self._end = _whole(self._number, quoted=self.kind == "csv")
        os.ftruncate(self._number, self._end)
        os.lseek(self._number, self._end, os.SEEK_SET)
        header = prediction_header("csv") if self.kind == "csv" else None
        if header and not records:
            self._put(header)
        self.done = max(0, records - bool(header))

    def _put(self, line: str) -> None:
        content = left = f"{line}\n".encode("utf-8", ESCAPES)
        try:
            while left:
                left = left[os.write(self._number, left) :]
        except BaseException as cause:  # a disk that is full takes a part of it
            os.ftruncate(self._number, self._end)
            os.lseek(self._number, self._end, os.SEEK_SET)
            if not isinstance(cause, OSError):
                raise
            raise of_system(cause, str(self.path), doing="written") from cause
        self._end += len(content)

    def _make_parquet(self) -> None:
        """The rows as a Parquet file, whole or not at all."""
        import pyarrow
        from pyarrow import parquet

        kinds = {"probability": pyarrow.float64(), "sure": pyarrow.bool_()}
        schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in COLUMNS])
        clear_scratch(self.path.parent, [self.path.name])
        scratch = self.path.with_name(scratch_name(self.path.name))
        try:
            with self._lines.open(encoding="utf-8") as file, parquet.ParquetWriter(str(scratch), schema) as writer:
                while lines := list(islice(file, ROWS)):
                    writer.write_table(pyarrow.Table.from_pylist([json.loads(line) for line in lines], schema=schema))
            scratch.replace(self.path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def kind_for(path: Path, said: str | None) -> Kind:
    """The kind of a file of answers: as it was said, or by its name. Raises UserError where neither tells."""
    found: Any = said or KINDS.get(path.suffix.lower())
    if found not in ("csv", "json", "parquet"):
        hint = "--out answers.csv, answers.jsonl or answers.parquet"
        raise UserError(f"{path} cannot be written as {found or 'what its name says'}: a file has rows", hint=hint)
    kind: Kind = found
    return kind


def _whole(number: int, *, quoted: bool) -> tuple[int, int]:
    """How many whole records a file of lines holds, and where they end. `quoted`: a line end in quotes ends none."""
    records = end = place = quotes = 0
    os.lseek(number, 0, os.SEEK_SET)
    while chunk := os.read(number, CHUNK):
        for part in chunk.splitlines(keepends=True):
            place += len(part)
            quotes += part.count(b'"') if quoted else 0
            if part.endswith(b"\n") and quotes % 2 == 0:
                records, end = records + 1, place
    return records, end


def _row(predicted: Prediction | Failure) -> str:
    row = predicted.row()
    name = row["name"]
    return json.dumps({**row, "name": None if name is None else name.encode("utf-8", ESCAPES).decode()})


def _check_parquet() -> None:
    if find_spec("pyarrow") is None:
        raise UserError("pyarrow is not installed, and a .parquet needs it", hint="pip install 'pellucid[tables]'")
