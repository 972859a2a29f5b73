"""Consoles and the events of a training, as the verbs show them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.text import Text

if TYPE_CHECKING:
    from pellucid.runs.evaluation import Evaluation
    from pellucid.runs.events import Event, Stopped
    from pellucid.runs.run_folder import RunFolder


def out() -> Console:
    """Results: stdout. 100 columns where it is no terminal, so that files come out alike everywhere."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 100)


def aside() -> Console:
    """Progress and remarks: stderr. Where it is no terminal, a line is a line however long."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(renderable: RenderableType) -> None:
    out().print(renderable)


def say_lines(text: str) -> None:
    """Lines that are never broken, so that the paths in them can be copied."""
    out().print(Text(text), soft_wrap=True)


@contextmanager
def counting(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while images are worked through; to be told (done, total). Nothing where nobody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = aside()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def follow(events: "Iterator[Event]") -> "tuple[RunFolder | None, Stopped | None]":
    """Show a training as it happens; returns its run folder and how it ended.

    Without a folder it was stopped before there was one, and without an end at once, before it could save anything.
    """
    from pathlib import Path

    from pellucid.reports.live_table import LiveTable
    from pellucid.runs.events import Started, Stopped
    from pellucid.runs.run_folder import RunFolder

    run, end = None, None
    with LiveTable(aside()) as table:
        try:
            for event in events:
                if isinstance(event, Started):
                    run = RunFolder(Path(event.run))
                elif isinstance(event, Stopped):
                    end = event
                table.show(event)
        except KeyboardInterrupt as stop:
            made = getattr(stop, "run", None)  # its folder was there, and nothing had been told of it yet
            run = RunFolder(made) if run is None and made is not None else run
    return run, end


def kept_in_run(evaluation: "Evaluation") -> bool:
    """Keep what was measured, and the report of it, in the model's run; False where that could not be done.

    What may not be kept there is told, and is nobody's mistake.
    """
    from pellucid.errors import UserError
    from pellucid.reports.html import write_report
    from pellucid.runs.evaluation import keep_evaluation
    from pellucid.runs.locating import locate
    from pellucid.runs.run_folder import RunFolder

    what = "what was measured could not be kept"
    try:
        if why := keep_evaluation(evaluation):
            aside().print(Text(f"not kept as the run's evaluation: {why}"))
        else:
            what = "the report could not be written"
            write_report(RunFolder(locate(evaluation.model).parent))
    except UserError as error:
        aside().print(Text(f"{what}: {error}"))
        return False
    return True
