"""The lists that `models`, `recipes` and `runs` show."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.geometry import structure
from pellucid.errors import UserError
from pellucid.measures.intervals import Measured
from pellucid.names import in_a_line, kind_of
from pellucid.reports.text import table_of
from pellucid.reports.words import bounds, percent, short_number
from pellucid.runs.evaluation import read_evaluation
from pellucid.runs.events import Validated
from pellucid.runs.run_folder import RunFolder


@dataclass(frozen=True)
class ModelRow:
    """A line of `pellucid models`."""

    name: str
    size: int  # pixels per side
    parameters: int
    multiply_adds: int
    weights: str  # whose published weights there are; "" for none


@dataclass(frozen=True)
class RunRow:
    """A line of `pellucid runs`."""

    name: str
    state: str
    part: str  # what the accuracy was measured on
    accuracy: Measured | None


def model_rows() -> Iterable[ModelRow]:
    """A row a network that is defined here."""
    for name, architecture in ARCHITECTURES.items():
        totals = structure(name).totals
        assert totals.multiply_adds is not None  # a table is counted whole
        published = ", ".join(architecture.published)
        yield ModelRow(name, architecture.size, totals.parameters, totals.multiply_adds, published)


def models_text(rows: Iterable[ModelRow]) -> RenderableType:
    """What can be trained. Multiply-adds are for one image of the size given."""
    table = table_of("model", "pixels", "parameters", "multiply-adds", "published weights")
    table.columns[4].justify = "left"
    for row in rows:
        numbers = (short_number(row.parameters), short_number(row.multiply_adds))
        table.add_row(Text(row.name), f"{row.size}", *numbers, Text(row.weights or "–"))
    return table


def recipes_text(rows: Iterable[tuple[str, str, str]]) -> RenderableType:
    """A row a recipe: its name, what it does, and what we would do instead."""
    table = table_of("recipe", "what it does", left=2)
    table.columns[0].no_wrap = True
    for number, (name, about, instead) in enumerate(rows):
        if number:
            table.add_row()
        table.add_row(Text(name), Text(about))
        if instead:
            table.add_row("", Text(f"Instead: {instead}", style="dim"))
    return table


def runs_text(rows: Iterable[RunRow]) -> RenderableType:
    """One line per run: its state, and the accuracy that is known of it with the part it was measured on."""
    table = table_of("run", "state", "on", "accuracy", "n", left=3)
    for column in table.columns[1:]:
        column.no_wrap = True  # only the name may take a second line
    for row in rows:
        accuracy = row.accuracy or Measured(value=None, low=None, high=None, n=0)
        known = f"{percent(accuracy.value)} {bounds(accuracy)}".strip()
        n = f"{accuracy.n:,}" if row.accuracy else ""
        table.add_row(Text(row.name), row.state, row.part, known, n)
    return table


def run_rows(runs: Iterable[RunFolder]) -> tuple[list[RunRow], list[str]]:
    """A row a run, and what should be told beside them."""
    told: list[str] = []
    return [_row(run, told) for run in runs], told


def _row(run: RunFolder, told: list[str]) -> RunRow:
    """What is known of a run; one that is damaged is told, and hides no other."""
    try:
        part, accuracy = _known(run)
        state = run.state()
        if state == "failed":
            told.append(f"{run.path} failed: {in_a_line(run.failure() or 'nobody knows why')}")
        if state in ("unfinished", "interrupted"):
            told.append(f"{run.path} was stopped before its end: `{run.to_resume()}` goes on")
    except UserError as error:
        told.append(str(error))
        return RunRow(in_a_line(run.path.name), "damaged", "", None)
    return RunRow(in_a_line(run.path.name), state, part, accuracy)


def _known(run: RunFolder) -> tuple[str, Measured | None]:
    """The accuracy that is known of a run, and the part it was measured on."""
    if kind_of(run.evaluation_path) != "nothing":
        evaluation = read_evaluation(run)
        return evaluation.part or "other data", evaluation.accuracy
    best = [event for event in run.events() if isinstance(event, Validated) and event.best]
    return ("validation", best[-1].accuracy) if best else ("", None)
