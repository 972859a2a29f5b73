"""What `bench` measured, as lines for the terminal."""

from collections.abc import Mapping
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.errors import counted, named
from pellucid.uses.bench import Bench, Timing


def step_line(library: str, step: int, seconds: float) -> Text:
    """The line of one batch, as the TF-Slim tutorial prints it."""
    return Text(f"{datetime.now():%Y-%m-%d %H:%M:%S}: {library} step {step}, duration = {seconds:.3f}")


def ahead_line(first: Mapping[str, float], batches: int) -> Text:
    """How long all will take, by the first batch of each library: the first is the slowest, as a rule."""
    took = sum(first.values())
    each = f"a batch of each of {named(list(first))}" if len(first) > 1 else "the first batch"
    return Text(
        f"{each} took {took:.2f} s: {counted(batches, 'batch', 'batches')} will take about {_time(took * batches)}"
    )


def _time(seconds: float) -> str:
    """As a person would say it: 40 s, 5 min, 1 h 20 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def closing_line(bench: Bench, timing: Timing) -> Text:
    """The line that the TF-Slim tutorial's harness ends with; whose it is where there are several."""
    what = "Forward-backward" if bench.direction == "backward" else "Forward"
    across = f"{what} across {len(timing.seconds)} steps, {timing.mean:.3f} +/- {timing.deviation:.3f} sec / batch"
    return Text(f"{datetime.now():%Y-%m-%d %H:%M:%S}: {across}" + f" ({timing.library})" * (len(bench.timings) > 1))


def bench_text(bench: Bench) -> RenderableType:
    """Seconds per batch with spread, images per second, the share of the machine's peak, and ratios to the others."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(("", "mean s", "+/-", "median s", "5 % to 95 %", "images/s", "of peak")):
        table.add_column(name, justify="right" if index else "left")
    for timing in bench.timings:
        table.add_row(*_row(bench, timing))
    what = "forward and backward" if bench.direction == "backward" else "forward"
    batches = counted(len(bench.ours.seconds), "batch", "batches")
    peak = (
        f"peak: {bench.peak / 1e9:,.0f} GFLOP/s in a product of float32 matrices, "
        f"{counted(bench.threads, 'thread')}, measured in the same run"
    )
    if any((bench.share_of_peak(timing) or 0) > 1 for timing in bench.timings):
        peak += "; more than 100 % means that convolutions were computed with fewer multiplications than are counted"
    images = f"{counted(bench.batch, 'image')}, {bench.size} x {bench.size} pixels"
    return Group(
        Text(f"{bench.name}{_options(bench)}, {what}: {batches} of {images}"),
        Text(""),
        table,
        Text(""),
        *(Text(_ratio(bench, other)) for other in bench.timings[1:]),
        Text(peak, style="dim"),
        Text(""),
        *(closing_line(bench, timing) for timing in bench.timings),
    )


def _options(bench: Bench) -> str:
    """What was asked of the network, in words."""
    said = {name.replace("_", "-"): value for name, value in bench.options.items() if value is not False}
    return "".join(f", {name}" if value is True else f", {name} {value}" for name, value in said.items())


def _row(bench: Bench, timing: Timing) -> list[str]:
    share = bench.share_of_peak(timing)
    return [
        timing.library,
        f"{timing.mean:.3f}",
        f"{timing.deviation:.3f}",
        f"{timing.median:.3f}",
        f"{timing.percentile(5):.3f} to {timing.percentile(95):.3f}",
        f"{bench.batch / timing.median:,.1f}",
        "?" if share is None else f"{100 * share:.0f} %",
    ]


def _ratio(bench: Bench, other: Timing) -> str:
    middle, low, high = bench.ratio(other)
    bounds = f"[{low:.2f}, {high:.2f}]"
    return f"{middle:.2f} {bounds} times as fast as {other.library} (median and 5 % to 95 % of batches in pairs)"
