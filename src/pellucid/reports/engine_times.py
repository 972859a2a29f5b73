"""What `bench` measured of a model in several engines, as tables for the terminal, 80 columns wide."""

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.errors import counted
from pellucid.uses.engine_bench import ENOUGH, EngineBench, Measured

UNSTEADY = 1.5  # times the median that the slowest batches take on a machine with other work


def engine_bench_text(bench: EngineBench) -> RenderableType:
    """A table for each size of batch, one of starts and answers, and what was left out."""
    parts: list[RenderableType] = [
        Text(
            f"{bench.model}: {bench.architecture}, {bench.size} x {bench.size} pixels, "
            f"{counted(bench.threads, 'thread')}"
        ),
        Text("on prepared pixels: decoding images is not in the figures"),
    ]
    sizes = sorted({each.images for one in bench.measured for each in one.batches})
    for images in sizes:
        parts += [Text(""), Text(_heading(bench, images), style="bold"), _speed(bench, images)]
    parts += [Text(""), Text("Start, and what they say", style="bold"), _answers(bench)]
    if bench.left_out:
        parts += [Text(""), Text("Not measured", style="bold")]
        parts += [
            Text(f"  {each.name}: {each.why}" + (f" ({each.hint})" if each.hint else "")) for each in bench.left_out
        ]
    parts += [Text(""), Text(_notes(bench), style="dim")]
    return Group(*parts)


def _heading(bench: EngineBench, images: int) -> str:
    numbers = {len(of.seconds) for each in bench.measured if (of := each.of(images))}
    return f"{counted(images, 'image')} per batch, {' or '.join(map(str, sorted(numbers)))} batches each"


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    return table


def _speed(bench: EngineBench, images: int) -> Table:
    table = _table("", "images/s", "p50 ms", "p95", "p99", "memory", "times as fast")
    for one in bench.measured:
        if (of := one.of(images)) is None:
            table.add_row(one.name, *["-"] * 6)
            continue
        last = _milliseconds(of.percentile(99)) if len(of.seconds) >= ENOUGH else "-"
        times = [_milliseconds(of.percentile(50)), _milliseconds(of.percentile(95)), last]
        table.add_row(one.name, f"{of.per_second:,.1f}", *times, _bytes(of.memory), _ratio(bench, one, images))
    return table


def _ratio(bench: EngineBench, one: Measured, images: int) -> str:
    if one is bench.reference or (ratio := bench.ratio(one, images)) is None:
        return "1" if one is bench.reference else "-"
    return _spread(*ratio)


def _spread(middle: float, low: float, high: float) -> str:
    """A figure with what it lies within."""
    shown = [f"{number:.2f}" if number < 10 else f"{number:.0f}" for number in (middle, low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _answers(bench: EngineBench) -> Table:
    table = _table("", "cold start s", "greatest change", "other answers", "ties")
    for one in bench.measured:
        ordered = sorted(one.starts)
        start = _spread(ordered[len(ordered) // 2], ordered[0], ordered[-1])
        if one is bench.reference:
            table.add_row(one.name, start, "reference", "", "")
        elif one.agreement is None:
            table.add_row(one.name, start, "-", "-", "-")
        else:
            agreed = one.agreement
            changed = f"{len(agreed.changed)} of {agreed.images:,}"
            table.add_row(one.name, start, f"{agreed.greatest:.1g}", changed, str(agreed.ties))
    return table


def _notes(bench: EngineBench) -> str:
    """What the columns mean, and what is weak about them."""
    starts = len(bench.reference.starts)
    notes = [
        "p50, p95, p99: half, 95 and 99 % of the batches took no longer.",
        "memory: the most that the process had by then, beyond an empty one.",
        f"times as fast: as {bench.reference.name}; median, and 5 % to 95 %, of batches in pairs.",
        f"cold start: from a process's start to its first answer; median of {starts}, extremes.",
        f"greatest change: of a probability, on {bench.sample}.",
    ]
    batches = [each for one in bench.measured for each in one.batches]
    if any(len(each.seconds) < ENOUGH for each in batches):
        notes.insert(1, f"p99 takes {ENOUGH} batches: --steps {ENOUGH} measures so many.")
    if any(one.agreement and one.agreement.ties for one in bench.measured):
        notes.append("ties: other answers where two were within 0.001 of each other, counted apart.")
    if sum(each.percentile(95) > UNSTEADY * each.percentile(50) for each in batches) > len(batches) / 3:
        notes.append("The same batch often took much longer than at other times: other programs may")
        notes.append("run here. Measure again when they do not.")
    return "\n".join(notes)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f}" if seconds >= 0.1 else f"{1000 * seconds:.1f}"


def _bytes(number: int | None) -> str:
    if number is None:
        return "?"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
