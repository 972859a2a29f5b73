"""Consoles and the events of a training, as the verbs show them."""

import sys
from collections.abc import Iterator

from rich.console import Console, RenderableType

from pellucid.runs.events import Event, Started, Stopped
from pellucid.runs.run_folder import RunFolder


def out() -> Console:
    """Results: stdout. 100 columns where it is no terminal, so that files come out alike everywhere."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 100)


def aside() -> Console:
    """Progress and remarks: stderr."""
    return Console(stderr=True, highlight=False)


def say(renderable: RenderableType) -> None:
    out().print(renderable)


def follow(events: Iterator[Event]) -> tuple[RunFolder, Stopped | None]:
    """Show a training as it happens; returns its run folder and how it ended."""
    from pathlib import Path

    from pellucid.reports.live_table import LiveTable

    run, end = None, None
    with LiveTable(aside()) as table:
        for event in events:
            table.show(event)
            if isinstance(event, Started):
                run = RunFolder(Path(event.run))
            elif isinstance(event, Stopped):
                end = event
    assert run is not None
    return run, end
