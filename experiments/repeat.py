"""Repeat an experiment of the five tutorials, and write down what it gave.

    python experiments/repeat.py 003-faces-frozen --data ../shared/data    # run its commands, measure
    python experiments/repeat.py 003-faces-cnn --of runs/fake-faces-...    # measure a run that is there already
    python experiments/repeat.py --table                                   # write the table of docs/experiments.md anew

An experiment is a TOML file beside this one: what the tutorial reports, the commands, and what to read off at the end.
In its commands `{data}` is the folder that --data names. What was measured is a JSON file in `measured/`, from which
the table is made: no figure in it is typed by hand, but in notes.
"""

import argparse
import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from pydantic import Field

from pellucid.errors import UserError
from pellucid.measures.intervals import Measured
from pellucid.records import Record, write
from pellucid.runs.card import read_card
from pellucid.runs.events import Epoch, HeadSolved, Started, Stopped
from pellucid.runs.provenance import gather
from pellucid.runs.run_folder import RunFolder

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "experiments.md"
BEGIN, END = "<!-- the table: python experiments/repeat.py --table -->", "<!-- the end of the table -->"


class Experiment(Record):
    """One job of a tutorial: `result` says what is read off when the last command has ended."""

    tutorial: str
    job: str
    reported: str
    commands: tuple[str, ...] = Field(min_length=1, max_length=2)
    result: Literal["accuracy", "seconds", "layers"]
    note: str = ""


class Found(Record):
    """What an experiment gave, where and when."""

    found: str
    accuracy: Measured | None = None
    seconds: float
    processor_seconds: float | None = None  # of both cores; None where the run was there already
    first_word: float | None = None  # seconds until the first command printed anything
    machine: str
    day: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=sorted(experiments()))
    parser.add_argument("--data", type=Path, help="the folder that holds the images and weights that the commands name")
    parser.add_argument("--of", type=Path, help="a run that these commands made: measure that, run nothing")
    parser.add_argument("--table", action="store_true", help="write the table of docs/experiments.md anew")
    asked = parser.parse_args()
    if asked.name:
        experiment = experiments()[asked.name]
        found = measured_of(experiment, asked.of) if asked.of else repeated(experiment, asked.data)
        write(HERE / "measured" / f"{asked.name}.json", found.to_json())
        print(f"{experiment.job}: {found.found}; {_minutes(found.seconds)}")
    elif not asked.table:
        parser.error("name an experiment, or --table")
    write(PAGE, with_table(PAGE.read_text()))


def experiments() -> dict[str, Experiment]:
    """Every experiment by name, in the order of the tutorials."""
    files = sorted(HERE.glob("*.toml"), key=lambda file: [part.zfill(4) for part in re.split(r"(\d+)", file.stem)])
    return {file.stem: Experiment.from_fields(tomllib.loads(file.read_text()), str(file)) for file in files}


def repeated(experiment: Experiment, data: Path | None) -> Found:
    """Run its commands, one after the other, in a folder of their own with an empty cache."""
    if data is None and any("{data}" in command for command in experiment.commands):
        raise SystemExit("this experiment reads images: say where they are, --data FOLDER")
    folder = Path(tempfile.mkdtemp(prefix="experiment-"))
    environment = {**os.environ, "PELLUCID_CACHE": str(folder / "cache")}
    first_word, said, began, before = None, "", time.perf_counter(), os.times()
    for command in experiment.commands:
        words = [word.format(data=data and data.resolve()) for word in shlex.split(command)]
        words = [sys.executable, "-m", *words]  # `pellucid` as a module of this very Python
        said, spoke, code = _run(words, folder, environment)
        first_word = spoke if first_word is None else first_word
        if code:
            raise SystemExit(f"{command}: exit code {code}; see {folder}")
    after = os.times()
    seconds = time.perf_counter() - began
    processor = sum(after[2:4]) - sum(before[2:4])  # of the commands and what they started
    text, accuracy = _read_off(experiment, folder, said)
    runs = list(folder.glob("runs/*/provenance.json"))
    machine = RunFolder(runs[0].parent).provenance() if runs else gather(device="cpu", precision="float32")
    return Found(
        found=text,
        accuracy=accuracy,
        seconds=seconds,
        processor_seconds=processor,
        first_word=first_word,
        machine=_machine(machine["machine"]),
        day=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _run(words: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, float, int]:
    """What it printed on standard output, the seconds until it said anything anywhere, and its exit code."""
    began, first = time.perf_counter(), []
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def heard(pipe, keep):
        for line in pipe:
            first.append(time.perf_counter() - began)
            del first[1:]
            keep(line)

    printed: list[str] = []
    listeners = [
        threading.Thread(target=heard, args=(process.stdout, printed.append)),
        threading.Thread(target=heard, args=(process.stderr, sys.stderr.write)),
    ]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    return "".join(printed), first[0] if first else math.nan, process.wait()


def measured_of(experiment: Experiment, run: Path) -> Found:
    """What a run gave that was made by an experiment's commands; its time is from its own events."""
    if experiment.result != "accuracy":
        raise SystemExit("only a training leaves a run to measure")
    joined = run.suffix == ".safetensors"
    runs = [RunFolder(path.parent) for path in sorted(run.parent.glob("*/config.toml"))] if joined else [RunFolder(run)]
    folder = runs[0]
    text, accuracy = _of_ensemble(run) if joined else _accuracy(folder)
    events = folder.events()
    return Found(
        found=text,
        accuracy=accuracy,
        seconds=sum(event.seconds for each in runs for event in each.events() if isinstance(event, Stopped)),
        machine=_machine(folder.provenance()["machine"]),
        day=events[0].time[:10],
    )


def _read_off(experiment: Experiment, folder: Path, said: str) -> tuple[str, Measured | None]:
    if experiment.result == "accuracy":
        if made := list(folder.glob("runs/*-ensemble.safetensors")):
            return _of_ensemble(made[0])
        (run,) = (folder / "runs").iterdir()
        return _accuracy(RunFolder(run))
    values = json.loads(said)
    if experiment.result == "seconds":
        return "; ".join(_timed(timing) for timing in values["timings"]), None
    rows = values["rows"]
    weights = sum(bool(row["weight"]) for row in rows)
    parameters, multiply_adds = (sum(row[column] or 0 for row in rows) for column in ("parameters", "multiply_adds"))
    return f"{len(rows)} rows, {weights} with weights, {parameters:,} parameters, {multiply_adds:,} multiply-adds", None


def _timed(timing: dict) -> str:
    seconds = timing["seconds"]
    return f"{timing['library']} {fmean(seconds):.3f} +/- {stdev(seconds):.3f} sec / batch over {len(seconds)} steps"


def _of_ensemble(model: Path) -> tuple[str, Measured]:
    """What an ensemble is worth, and its members alone, on the same images."""
    card = read_card(model)
    (result,) = (result for result in card.results if result.measure == "accuracy")
    accuracy = Measured(**result.model_dump(exclude={"part", "measure"}))
    alone = sorted(100 * added["accuracy"]["value"] for added in card.provenance["adds"])
    return f"{accuracy} ({result.part}; its {len(alone)} members alone {alone[0]:.1f} to {alone[-1]:.1f} %)", accuracy


def _accuracy(run: RunFolder) -> tuple[str, Measured]:
    """What the run's own evaluation says, of which images, after how many epochs."""
    judged = json.loads(run.evaluation_path.read_text())
    accuracy, events = Measured(**judged["accuracy"]), run.events()
    epochs = [event for event in events if isinstance(event, Epoch)]
    (stopped,) = (event for event in events if isinstance(event, Stopped))
    solved = any(isinstance(event, HeadSolved) for event in events)
    trained = next(event.train_images for event in events if isinstance(event, Started))
    how = "head solved" if solved and len(epochs) == 1 else f"best of {len(epochs)} epochs: {stopped.best_epoch}"
    return f"{accuracy} ({judged['part']}; {trained:,} to train on; {how})", accuracy


def with_table(page: str) -> str:
    """docs/experiments.md with the table that `measured/` gives, and the commands under it."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return "\n".join([f"{before}{BEGIN}", "", *_rows(), "", *_commands(), f"{END}{after}"])


def _rows() -> list[str]:
    lines = [
        "| experiment | what | the tutorial reports | here | first word; the end; machine |",
        "|---|---|---|---|---|",
    ]
    for name, experiment in experiments().items():
        file = HERE / "measured" / f"{name}.json"
        found = Found.from_json(file.read_text(), str(file)) if file.exists() else None
        here = ". ".join(part for part in (found.found if found else "not measured", experiment.note) if part)
        cells = [f"[{name}](../experiments/{name}.toml)", experiment.job, experiment.reported, here]
        lines.append(f"| {' | '.join([*cells, _where(found) if found else ''])} |")
    return lines


def _commands() -> list[str]:
    lines = []
    for name, experiment in experiments().items():
        lines += [f"    # {name}", *(f"    {command.format(data='DATA')}" for command in experiment.commands)]
    return lines


def _where(found: Found) -> str:
    word = f"{found.first_word:.1f} s; " if found.first_word is not None else ""
    busy = f" ({_minutes(found.processor_seconds)} of processor)" if found.processor_seconds is not None else ""
    return f"{word}{_minutes(found.seconds)}{busy}; {found.machine}, {found.day}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def _machine(machine: dict) -> str:
    """The parts of a provenance's machine that decide how long it takes."""
    device = "" if machine["device"] == "cpu" else f", {machine['device']}"
    return f"{machine['processor']}, {machine['cores']} cores{device}, {machine['precision']}"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
