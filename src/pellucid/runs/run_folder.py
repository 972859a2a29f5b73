"""The run folder: everything one training leaves behind, readable while it still runs.

config.toml, provenance.json, split.json, events.jsonl, checkpoint.safetensors with checkpoint.json,
model.safetensors (the best), last.safetensors (the last), batch.png (what the network first saw), paired.json,
evaluation.json, report.html; and running.json while it is trained.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from pellucid.errors import UserError, of_system
from pellucid.images.manifest import Split, write_manifest
from pellucid.names import kind_of, path_of, shown, to_resume
from pellucid.records import SCRATCH, clear_scratch, flat, hold, is_held, read_text, scratch_name, write, write_json
from pellucid.runs.card import Card, read_card
from pellucid.runs.events import EVENTS, Event, Failed, Planned, Preparing, Progress, Started, Stopped
from pellucid.runs.lock import is_running
from pellucid.runs.provenance import check

BEFORE_TRAINING = ("config.toml", "provenance.json", "split.json")
FILES = (
    *BEFORE_TRAINING,
    "events.jsonl",
    "checkpoint.safetensors",
    "checkpoint.json",
    "model.safetensors",
    "last.safetensors",
    "batch.png",
    "paired.json",
    "evaluation.json",
    "report.html",
)
ENDED = ("finished", "early", "budget")  # states of a run that there is nothing to go on with
DAMAGED = "put an unchanged copy in its place, or train anew"


@dataclass(frozen=True)
class RunFolder:
    """A run on disk. Nothing is held open: every question reads what is there now.

    It stands for its path wherever one is wanted: `pl.load(run)`, `pl.ensemble(runs, out)`.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def model(self) -> Path:
        """The best model file so far."""
        return self.path / "model.safetensors"

    @property
    def last(self) -> Path:
        """The model file of the weights that training ended with."""
        return self.path / "last.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def evaluation_path(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    def to_resume(self) -> str:
        """The command that goes on with it: one's own code has to be named again."""
        model = None
        with suppress(UserError):
            model = self.config().get("model")
        return to_resume(self.path, model)

    def is_there(self) -> bool:
        """Whether there is a run at all: a model may lie in any folder."""
        return all(kind_of(self.path / name) != "nothing" for name in BEFORE_TRAINING)

    def check_whole(self) -> None:
        """Raises UserError where some of what makes a run is there, and some is not."""
        gone = [name for name in BEFORE_TRAINING if kind_of(self.path / name) == "nothing"]
        if gone and len(gone) < len(BEFORE_TRAINING):
            raise UserError(f"{self.path} is a run that lacks {' and '.join(gone)}", hint=DAMAGED)

    def config(self) -> dict[str, Any]:
        """What was asked, every default written out; a key that is absent was not set."""
        path = self.path / "config.toml"
        try:
            values = tomllib.loads(read_text(path, hint=DAMAGED))
        except tomllib.TOMLDecodeError as cause:
            raise UserError(f"{path} cannot be used: it is not valid TOML ({cause})", hint=DAMAGED) from cause
        known = dict(flat(values))
        written = flat(self.provenance().get("config", {}))
        if lost := [name for name, value in written if value is not None and name not in known]:
            raise UserError(f"{path} lacks {lost[0]}, which it had when this run began", hint=DAMAGED)
        return values

    def settings(self) -> dict[str, Any]:
        """As `config`, with what the last plan for a budget has changed."""
        values = self.config()
        plans = [event for event in self.events() if isinstance(event, Planned)]
        for name, value in (plans[-1].settings if plans else {}).items():
            *path, last = name.split(".")
            place = values
            for part in path:
                place = place.setdefault(part, {})
            place[last] = value
        return _without_none(values)

    def provenance(self) -> dict[str, Any]:
        """Where the run comes from, see runs.provenance; what is not there was not known."""
        path = self.path / "provenance.json"
        return check(read_text(path, hint=DAMAGED), path)

    def split(self) -> Split:
        path = self.path / "split.json"
        if kind_of(path) == "nothing":
            raise UserError(
                f"{self.path} has no split.json: it was stopped before training began, or damaged",
                hint=self._what_is_left() or "remove the folder, and train anew",
            )
        split = Split.from_json(read_text(path, DAMAGED), str(path), DAMAGED)
        if strange := sorted({file.label for file in split.files} - set(split.classes)):
            raise UserError(f"{path} cannot be used: {strange[0]!r} is none of its classes", hint=DAMAGED)
        return split

    def card(self) -> Card:
        """The card of the best model file; the probe is not replayed."""
        return read_card(self.model)

    def note(self, event: Event) -> None:
        """Append one event to events.jsonl. What is only shown (progress) is not kept."""
        if not isinstance(event, Progress | Preparing):
            _append(self.path / "events.jsonl", event.model_dump_json().encode() + b"\n")

    def events(self) -> list[Event]:
        """All events so far, in order. A last line that was cut short by a crash is left out."""
        path = self.path / "events.jsonl"
        try:
            content = path.read_bytes() if kind_of(path) != "nothing" else b""
        except OSError as cause:
            raise of_system(cause, str(path), doing="read") from cause
        return list(_parsed(content, path))

    def without_model(self) -> UserError:
        """For whoever wanted the model: it was not made yet, or is gone."""
        if left := self._what_is_left():
            return UserError(f"{self.model} is not there", hint=left)
        if self.left() in ENDED:
            return UserError(f"{self.model} is not there, though training has ended", hint=DAMAGED)
        return UserError(f"{self.path} holds no model yet", hint=f"`{self.to_resume()}` goes on with its training")

    def _what_is_left(self) -> str:
        """What to do with a run that lacks a file, where a model of it can still be used."""
        left = [path for path in (self.model, self.last) if kind_of(path) == "file"]
        return f"{left[0]} can be used as it is: `pellucid verify {left[0]}`; or train anew" if left else ""

    def state(self) -> str:
        """`running`, or how its last sitting left it."""
        return "running" if is_running(self.path) else self.left()

    def left(self) -> str:
        """`finished`, `early`, `budget`, `interrupted` or `failed`; `unfinished` where it was killed."""
        self.split()  # without it nothing can be done with the run, and one should know
        end = self._end()
        return end.why if isinstance(end, Stopped) else "failed" if isinstance(end, Failed) else "unfinished"

    def failure(self) -> str | None:
        """What ended the run, where an error did."""
        end = self._end()
        return end.problem if isinstance(end, Failed) else None

    def _end(self) -> Event | None:
        """How its last sitting ended; its start where it did not."""
        ends = [event for event in self.events() if isinstance(event, Started | Stopped | Failed)]
        return ends[-1] if ends else None


def _append(path: Path, line: bytes) -> None:
    """Add a line, whole or not at all; one that was cut short before it is mended, or dropped if nothing can be."""
    try:
        with path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read() != b"\n":
                file.seek(0)
                torn = file.read().rpartition(b"\n")[2]
                whole = _is_event(torn)
                size -= 0 if whole else len(torn)
                line = b"\n" + line if whole else line
                file.truncate(size)
            try:
                left = memoryview(line)
                while left:
                    left = left[file.write(left) :]
            except BaseException:
                file.truncate(size)
                raise
    except OSError as cause:
        raise of_system(cause, str(path), doing="written") from cause


def _is_event(line: bytes) -> bool:
    try:
        EVENTS.validate_json(line)
    except ValidationError:
        return False
    return True


def _parsed(content: bytes, path: Path) -> Iterator[Event]:
    """Lines end with a newline and with nothing else: a name may hold what str.splitlines takes for an end."""
    *lines, torn = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            yield EVENTS.validate_json(line)
        except ValidationError as cause:
            hint = f"remove that line: sed -i {number}d {path}"
            raise UserError(f"{path} is damaged at line {number}", hint=hint) from cause
    if torn and _is_event(torn):
        yield EVENTS.validate_json(torn)


def check_place(runs: Path) -> None:
    """Refuse a place where no run can be made, before anything else is done."""
    above = next(place for place in (runs.absolute(), *runs.absolute().parents) if kind_of(place) != "nothing")
    if kind_of(above) != "folder":
        raise UserError(f"{above} is no folder, so no run can be kept in it", hint="--runs names another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(
            f"{above} may not be written to, so no run can be kept there", hint="--runs names another place"
        )


def create_run(
    runs: Path, name: str, *, config: Mapping[str, Any], provenance: Mapping[str, Any], split: Split
) -> RunFolder:
    """A new folder NAME-TIME under `runs`, with what is known before training. An existing folder is never reused.

    It appears whole or not at all; what earlier ones left that were killed before theirs did is removed.
    """
    stem = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M}"
    scratch = runs / scratch_name(stem)
    try:
        scratch.mkdir(parents=True)
    except OSError as cause:
        raise of_system(cause, str(runs / stem), doing="made", hint="--runs names another place") from cause
    _clear_unborn(runs, but=scratch)
    number = os.open(scratch, os.O_RDONLY) if os.name == "posix" else None
    try:
        if number is not None:
            hold(number)
        write(scratch / "config.toml", to_toml(config))
        write_json(scratch / "provenance.json", dict(provenance))
        write_manifest(split, scratch / "split.json")
        return RunFolder(_named(scratch, runs, stem))
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    finally:
        if number is not None:
            os.close(number)


def _named(scratch: Path, runs: Path, stem: str) -> Path:
    for attempt in range(1, 1000):
        path = runs / (stem if attempt == 1 else f"{stem}-{attempt}")
        if not os.path.lexists(path):
            try:
                return scratch.rename(path)
            except OSError:  # another began at this very moment, or it cannot be done at all, which the last one says
                if attempt == 999:
                    raise
    raise UserError(f"{runs} holds 999 runs named {stem}", hint="--runs names another place")


def _clear_unborn(runs: Path, *, but: Path) -> None:
    """Remove folders that `create_run` was killed in: of such a name, holding nothing else, and held by nobody."""
    for place in runs.glob(".*-*.*"):
        found = SCRATCH.fullmatch(place.name)
        if place == but or not found or not re.search(r"-\d{8}-\d{4}$", found[1]) or not place.is_dir():
            continue
        inside = {SCRATCH.sub(r"\1", entry.name) for entry in place.iterdir()}
        if inside <= set(BEFORE_TRAINING) and not is_held(place):
            shutil.rmtree(place, ignore_errors=True)


def to_toml(values: Mapping[str, Any]) -> str:
    """TOML has no word for "not set", so those keys are listed in a comment."""
    unset = sorted(_unset(values))
    note = f"# Not set: {', '.join(unset)}\n\n" if unset else ""
    return note + tomli_w.dumps(_without_none(values))


def _unset(values: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for name, value in values.items():
        if value is None:
            yield place + name
        elif isinstance(value, Mapping):
            yield from _unset(value, f"{place}{name}.")


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, Mapping) else shown(value) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }


def open_run(path: str | PathLike[str]) -> RunFolder:
    """The run at `path`, or a UserError that says why it is none; what dead writers left in it is removed."""
    path = path_of(path)
    hint = "`pellucid runs` lists them"
    match kind_of(path):
        case "folder" if any(kind_of(path / name) != "nothing" for name in BEFORE_TRAINING):
            clear_scratch(path, FILES)
            return RunFolder(path)
        case "folder":
            raise UserError(f"{path} has no config.toml, so it is not a run folder", hint=hint)
        case "nothing":
            raise UserError(f"{path} is not there", hint=hint)
    raise UserError(f"{path} is not a run folder", hint=hint)


def is_run(path: Path | str) -> bool:
    """Whether a folder is a run, or what is left of one: images may have one of its files, a manifest, beside them."""
    there = [name for name in (*BEFORE_TRAINING, "events.jsonl") if kind_of(path_of(path) / name) == "file"]
    return "config.toml" in there or len(there) > 1


def open_whole(path: Path | str) -> RunFolder:
    """As open_run, of a run that lacks nothing of what it began with; a UserError says what another lacks."""
    run = open_run(path)
    run.check_whole()
    return run


def find_runs(runs: Path) -> list[RunFolder]:
    """Every run directly under `runs`, oldest first by name; those that lack a file too."""
    if kind_of(runs) != "folder":
        return []
    try:
        folders = sorted(place for place in runs.iterdir() if not place.name.startswith("."))
    except OSError as cause:
        raise of_system(cause, str(runs), doing="read") from cause
    return [RunFolder(place) for place in folders if any((place / name).is_file() for name in BEFORE_TRAINING)]
