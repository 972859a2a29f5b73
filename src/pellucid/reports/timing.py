"""What `bench` measured, as lines for the terminal."""

from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.errors import counted
from pellucid.uses.bench import Bench, Timing


def step_line(library: str, step: int, seconds: float) -> Text:
    """The line of one batch, as the TF-Slim tutorial prints it."""
    return Text(f"{datetime.now():%Y-%m-%d %H:%M:%S}: {library} step {step}, duration = {seconds:.3f}")


def bench_text(bench: Bench) -> RenderableType:
    """Seconds a batch with their spread, images a second, and the share of the machine's peak; ratios to the others."""
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
        peak += "; more than 100 % where a convolution was computed with fewer multiplications than are counted"
    return Group(
        Text(f"{bench.name}, {what}: {batches} of {counted(bench.batch, 'image')}, {bench.size} x {bench.size} pixels"),
        Text(""),
        table,
        Text(""),
        *(Text(_ratio(bench, other)) for other in bench.timings[1:]),
        Text(peak, style="dim"),
    )


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
