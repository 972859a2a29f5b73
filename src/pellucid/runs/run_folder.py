"""The run folder: everything one training leaves behind, readable while it still runs.

config.toml, provenance.json, split.json, events.jsonl, checkpoint.safetensors with checkpoint.json,
model.safetensors (the best bundle), last.safetensors (the last), evaluation.json, report.html.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from pellucid.errors import UserError
from pellucid.images.split import Split, read_manifest, write_manifest
from pellucid.records import read_text, write, write_json
from pellucid.runs.card import Card, read_card
from pellucid.runs.events import EVENTS, Event, Preparing, Progress, Started, Stopped


@dataclass(frozen=True)
class RunFolder:
    """A run on disk. Nothing is held open: every question reads what is there now."""

    path: Path

    @property
    def model(self) -> Path:
        """The best bundle so far."""
        return self.path / "model.safetensors"

    @property
    def last(self) -> Path:
        """The bundle of the weights that training ended with."""
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

    def config(self) -> dict[str, Any]:
        """What was asked, every default written out; a key that is absent was not set."""
        return tomllib.loads(read_text(self.path / "config.toml"))

    def provenance(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(read_text(self.path / "provenance.json"))
        return values

    def split(self) -> Split:
        return read_manifest(self.path / "split.json")

    def card(self) -> Card:
        """The card of the best bundle; the probe is not replayed."""
        return read_card(self.model)

    def note(self, event: Event) -> None:
        """Append one event to events.jsonl. What is only shown (progress) is not kept."""
        if not isinstance(event, Progress | Preparing):
            with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(event.model_dump_json() + "\n")

    def events(self) -> list[Event]:
        """All events so far, in order. A last line that was cut short by a crash is left out."""
        path = self.path / "events.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return list(_parsed(lines, path))

    def state(self) -> str:
        """`finished`, `early`, `interrupted`, or `unfinished` where training still runs or was killed."""
        ends = [event for event in self.events() if isinstance(event, Started | Stopped)]
        return ends[-1].why if ends and isinstance(ends[-1], Stopped) else "unfinished"


def _parsed(lines: list[str], path: Path) -> Iterator[Event]:
    for number, line in enumerate(lines, start=1):
        try:
            yield EVENTS.validate_json(line)
        except ValidationError as cause:
            if number < len(lines):
                raise UserError(f"{path} is damaged at line {number}", hint="remove that line") from cause


def create_run(
    runs: Path, name: str, *, config: Mapping[str, Any], provenance: Mapping[str, Any], split: Split
) -> RunFolder:
    """A new folder NAME-TIME under `runs`, with what is known before training. An existing folder is never reused."""
    stem = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M}"
    path = _make_unused(runs, stem)
    run = RunFolder(path)
    write(path / "config.toml", to_toml(config))
    write_json(path / "provenance.json", dict(provenance))
    write_manifest(split, path / "split.json")
    return run


def _make_unused(runs: Path, stem: str) -> Path:
    for attempt in range(1, 1000):
        path = runs / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as cause:
            raise UserError(f"{path} cannot be made: {cause.strerror}", hint="--runs names another place") from cause
        return path
    raise UserError(f"{runs} holds 999 runs named {stem}", hint="--runs names another place")


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
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


def open_run(path: Path | str) -> RunFolder:
    """The run at `path`, or a UserError that says why it is none."""
    path = Path(path)
    if not (path / "config.toml").is_file():
        what = "has no config.toml, so it is not a run folder" if path.is_dir() else "is not a run folder"
        raise UserError(
            f"{path} {what}" if path.exists() else f"{path} is not there", hint="`pellucid runs` lists them"
        )
    return RunFolder(path)


def find_runs(runs: Path) -> list[RunFolder]:
    """Every run directly under `runs`, oldest first by name."""
    return [RunFolder(path.parent) for path in sorted(runs.glob("*/config.toml"))]


def locate(model: Path | str) -> Path:
    """MODEL as people give it (a run folder, or a bundle's file) to the file that holds the bundle."""
    path = Path(model)
    if not path.is_dir():
        if not path.exists():
            raise UserError(
                f"{path} is not there",
                hint="`pellucid runs` lists what has been trained; `pellucid adopt` makes models of published weights",
            )
        return path
    run = open_run(path)
    if not run.model.is_file():
        raise UserError(f"{path} holds no model yet", hint=f"`pellucid resume {path}` goes on with its training")
    return run.model
