"""Training as it happens: one row per epoch, and a line for what is going on. Nothing scrolls past twice.

On a terminal finished rows are printed once and stay; only the last line moves. Elsewhere (a file, a pipe) there is
one plain line an epoch.
"""

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pellucid.errors import counted
from pellucid.reports.spending import spent_words, starving
from pellucid.reports.transfer import Transfer, transfer_words
from pellucid.reports.words import bounds, duration, percent, rate, short_number
from pellucid.runs.events import (
    BatchLosses,
    Epoch,
    Event,
    Failed,
    Noted,
    PixelsReady,
    Preparing,
    Progress,
    Saved,
    Started,
    Stopped,
    Validated,
)

REFRESH = 0.1  # seconds between two pictures of the moving line

# Width, first and second line of the heading. With the spaces between them: 79 columns.
COLUMNS = (
    (7, "", "epoch"),
    (6, "train", "loss"),
    (5, "acc.", "%"),
    (6, "valid.", "loss"),
    (20, "acc., * best so far", "% [95 % interval]"),
    (7, "learn.", "rate"),
    (8, "", "images/s"),
    (5, "data", "wait"),
    (7, "time", "left"),
)


class LiveTable:
    """`with LiveTable(console) as table: for event in events: table.show(event)`."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        self.console = console
        self.clock = clock
        self.live = Live(console=console, transient=True, auto_refresh=False) if _moves(console) else None
        self.epochs = 0
        self.learned: Epoch | None = None  # waits for its validation
        self.best: Validated | None = None
        self.begun: Started | None = None
        self.pixels: PixelsReady | None = None
        self.seconds_left: float | None = None
        self.phase: tuple[str, ...] = ()
        self.drawn = float("-inf")

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.learned:
            self._row(self.learned, None)
        self._move(Text(""), now=True)
        if self.live:
            self.live.stop()

    def show(self, event: Event) -> None:
        match event:
            case Preparing():
                self._preparing(event)
            case Started():
                self._started(event)
            case Progress():
                self.epochs, self.seconds_left = event.epochs, event.seconds_left  # a budget may have changed both
                self._phase(_progress_line(event), "epoch", event.phase)
            case BatchLosses():
                if event.told:
                    self._move(Text(""), now=True)
                    self._print(_batch_words(event))
            case Epoch():
                if self.learned:
                    self._row(self.learned, None)
                self.learned = event
            case Validated():
                self.seconds_left = event.seconds_left
                self.best = event if event.best else self.best
                self._row(self.learned, event)
            case Stopped():
                self._end(_end_words(event, self.best))
                if said := spent_words(event.spent):
                    self._print(f"time in training: {said}")
                if said := starving(event.spent, self.begun, self.pixels):
                    self._print(f"! {said}")
            case Failed():  # what went wrong is told once, by whoever catches the error
                self._end(f"stopped by an error {f'after epoch {event.epoch}' if event.epoch else 'in epoch 1'}")
            case _ if isinstance(event, Transfer):
                self.pixels = event if isinstance(event, PixelsReady) else self.pixels
                self._move(Text(""), now=True)
                self._print(transfer_words(event))
            case Noted():
                self._move(Text(""), now=True)
                self._print(f"! {event.words}")
            case Saved():
                pass

    def _preparing(self, event: Preparing) -> None:
        phase = ("preparing", event.phase)
        if phase != self.phase and not self.live:
            self._print(event.phase)
        self._phase(_preparing_line(event), *phase)

    def _phase(self, line: RenderableType, *phase: str) -> None:
        """A new phase shows at once, however soon after the last picture."""
        self._move(line, now=phase != self.phase)
        self.phase = phase

    def _started(self, event: Started) -> None:
        self.begun, self.epochs = event, event.epochs
        self._move(Text(""), now=True)
        validation = counted(event.validation_images, "image") if event.validation_images else "none"
        trained = "" if event.trained_parameters == event.parameters else f" ({event.trained_parameters:,} trained)"
        epochs = f"{counted(event.epochs - event.epoch, 'epoch')}{f' left of {event.epochs}' if event.epoch else ''}"
        self._print(f"training on {counted(event.train_images, 'image')}, validating on {validation}; {epochs}")
        machine = f"on {event.device} in {event.precision}, {_decoding(event.workers)}"
        self._print(f"{short_number(event.parameters)} parameters{trained}, {machine}")
        if event.heads:
            each = " each" if event.heads > 1 else ""
            self._print(f"{counted(event.heads, 'auxiliary head')}, whose loss counts {event.head_weight:g}{each}")
        self._print(f"run folder {event.run}")
        if self.live:
            self._print("")
            for heading in ([above for _, above, _ in COLUMNS], [below for _, _, below in COLUMNS]):
                self._print(_aligned(heading), style="dim")

    def _row(self, learned: Epoch | None, validated: Validated | None) -> None:
        self.learned = None
        words = _cells if self.live else _sentence
        self._print(words(learned, validated, self.epochs, self.seconds_left))

    def _end(self, words: str) -> None:
        if self.learned:
            self._row(self.learned, None)
        self._move(Text(""), now=True)
        self._print(words)

    def _print(self, words: str, style: str = "") -> None:
        self.console.print(Text(words, style=style if self.live else ""), soft_wrap=True)

    def _move(self, line: RenderableType, *, now: bool = False) -> None:
        if self.live and (now or self.clock() - self.drawn >= REFRESH):
            self.drawn = self.clock()
            # Room for the ^C that a terminal writes behind the line: wrapped, it would leave the line behind.
            self.live.update(Constrain(line, self.console.width - 3), refresh=True)


def _moves(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def _decoding(workers: int) -> str:
    return (
        f"{counted(workers, 'process', 'processes')} decoding images"
        if workers
        else "decoding images in the same process"
    )


def _aligned(cells: list[str]) -> str:
    return " ".join(cell.rjust(width) for cell, (width, _, _) in zip(cells, COLUMNS, strict=True)).rstrip()


def _cells(learned: Epoch | None, validated: Validated | None, epochs: int, seconds_left: float | None) -> str:
    """A row under the heading; what is not known stays empty."""
    epoch = learned.epoch if learned else validated.epoch if validated else 0
    train = [""] * 2 if learned is None else [f"{learned.loss:.3f}", _number(learned.accuracy.value)]
    seen = [""] * 2
    if validated:
        star = "*" if validated.best else " "
        share = f"{_number(validated.accuracy.value)} {bounds(validated.accuracy)}{star}"
        seen = [f"{validated.loss:.3f}", share]
    pace = [""] * 3
    if learned:
        pace = [rate(learned.rate), f"{learned.images_per_second:,.0f}", _waiting(learned)]
    return _aligned([f"{epoch}/{epochs}", *train, *seen, *pace, duration(seconds_left)])


def _sentence(learned: Epoch | None, validated: Validated | None, epochs: int, seconds_left: float | None) -> str:
    """The same as one line that can be read without a heading."""
    epoch = learned.epoch if learned else validated.epoch if validated else 0
    parts = []
    if learned:
        beside = "" if learned.auxiliary_loss is None else f", auxiliary loss {learned.auxiliary_loss:.3f}"
        parts.append(f"loss {learned.loss:.3f}{beside}, accuracy {percent(learned.accuracy.value)}")
    if validated:
        best = " (best so far)" if validated.best else ""
        parts.append(f"validation loss {validated.loss:.3f}, accuracy {validated.accuracy}{best}")
    if learned:
        pace = f"{learned.images_per_second:,.0f} images/s"
        parts.append(f"learning rate {rate(learned.rate)}, {pace}, waiting for data {_waiting(learned)}")
    parts.append(f"{duration(seconds_left)} left")
    return f"epoch {epoch} of {epochs}: {'; '.join(parts)}"


def _number(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _waiting(learned: Epoch) -> str:
    whole = learned.seconds_waiting + learned.seconds_computing
    return percent(learned.seconds_waiting / whole if whole else 0.0, 0)


def _batch_words(event: BatchLosses) -> str:
    last = event.first + len(event.losses) - 1
    return f"epoch {event.epoch}, batch {last} of {event.batches}: loss {event.losses[-1]:.3f}"


def _progress_line(event: Progress) -> RenderableType:
    doing = "training" if event.phase == "train" else "validating"
    said = [f"{event.step}/{event.steps}"]
    if event.phase == "train":
        said += [f"loss {event.mean_loss:.3f}", f"{event.images_per_second:,.0f} images/s"]
    said.append(f"{duration(event.seconds_left)} left" if event.seconds_left is not None else "left: not yet known")
    return _bar_line(f"epoch {event.epoch}/{event.epochs} {doing}", event.step, event.steps, "  ".join(said))


def _preparing_line(event: Preparing) -> RenderableType:
    return _bar_line(event.phase, event.done, event.total, f"{event.done:,}/{event.total:,}" if event.total else "")


def _bar_line(before: str, done: int, total: int, after: str) -> RenderableType:
    line = Table.grid(padding=(0, 2, 0, 0))
    for ratio in (None, 1, None):
        line.add_column(no_wrap=True, ratio=ratio)
    # rich's own bar is pink, and red means wrong here.
    bar = ProgressBar(total=total, completed=done, style="dim", complete_style="none", finished_style="none")
    line.add_row(Text(before), bar if total else "", Text(after))
    line.expand = True
    return line


def _end_words(event: Stopped, best: Validated | None) -> str:
    epochs, time = counted(event.epoch, "epoch"), duration(event.seconds)
    how = {
        "finished": f"finished {epochs} in {time}",
        "early": f"stopped early after {epochs} in {time}: no longer improving",
        "budget": f"ended with the budget after {epochs} in {time}",
        "interrupted": f"interrupted after {epochs} and {time}",
    }[event.why]
    if best and not best.epoch:
        how += f"\nbest was the probe before the first epoch: validation accuracy {best.accuracy}"
    elif best:
        how += f"\nbest was epoch {best.epoch}: validation accuracy {best.accuracy}"
    elif event.best_epoch is not None:
        how += f"\nbest was epoch {event.best_epoch}"
    return how
