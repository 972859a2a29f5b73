"""Records as text for the terminal: rich renderables that fit 80 columns.

predictions.py has what is said of an image, live_table.py shows a training as it happens.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.errors import counted
from pellucid.images.manifest import Split
from pellucid.images.remarks import divided_groups
from pellucid.measures.intervals import Measured, wilson
from pellucid.names import in_a_line
from pellucid.reports.cautions import of_division, of_evaluation
from pellucid.reports.confusions import Confused, most_confused
from pellucid.reports.division import division
from pellucid.reports.facts import MEANINGS, measures
from pellucid.reports.sentences import decision, preprocessing
from pellucid.reports.words import bounds, disk_space, percent, short_number
from pellucid.runs.card import Card
from pellucid.runs.evaluation import Evaluation
from pellucid.uses.ensemble import Ensembled
from pellucid.uses.export import Exported

if TYPE_CHECKING:
    from pellucid.reports.page import Page

MOST_CLASSES = 40  # with more, the terminal shows those with the lowest recall
MOST_NAMED = 8
WIDEST_CONFUSION = 78  # columns; a wider table is folded to what is confused most
MOST_CONFUSED = 10


def evaluation_text(evaluation: Evaluation) -> RenderableType:
    """The accuracy first, then other measures, each class, what is confused with what, and what weakens all this."""
    of = f"the {evaluation.part} part of {evaluation.data}" if evaluation.part else evaluation.data
    where = f"{evaluation.model} on {of}: {counted(len(evaluation.classes), 'class', 'classes')}, "
    return Group(
        Text(f"accuracy {evaluation.accuracy}", style="bold"),
        Text(f"{where}{evaluation.seconds:.1f} s, {evaluation.images_per_second:,.0f} images/s", style="dim"),
        Text(""),
        _measures(evaluation),
        Text(""),
        _classes(evaluation),
        Text(""),
        *_confusion(evaluation),
        *_cautions(of_evaluation(evaluation)),
    )


def _measures(evaluation: Evaluation) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, figure in measures(evaluation)[1:]:
        table.add_row(name, figure, Text(MEANINGS[name], style="dim"))
    return table


def _classes(evaluation: Evaluation) -> RenderableType:
    table = table_of("class", "images", "recall %", "precision %", "F1 %")
    shown, rest = evaluation.per_class, 0
    if len(shown) > MOST_CLASSES:
        present = [result for result in shown if result.recall.value is not None]
        shown = tuple(sorted(present, key=lambda result: result.recall.value or 0.0)[:MOST_CLASSES])
        rest = len(evaluation.per_class) - len(shown)
    for result in shown:
        measures = (result.recall, result.precision, result.f1)
        table.add_row(Text(result.name), f"{result.support:,}", *(_brief(measure) for measure in measures))
    left_out = f"\nthese have the lowest recalls; --format json has the other {rest:,} classes too" if rest else ""
    return Group(
        table,
        Text(
            f"{left_out}\n[from, to]: the true figure lies in between, with 95 % confidence",
            style="dim",
        ),
    )


def _brief(measured: Measured) -> str:
    """`91.7 [86, 95]`: bounds to a whole percent, as three of them have to fit beside each other."""
    if measured.value is None:
        return "–"
    return f"{100 * measured.value:.1f} {bounds(measured, 0)}"


def _confusion(evaluation: Evaluation) -> list[RenderableType]:
    """The matrix where it fits; else, what is confused most."""
    names = evaluation.classes
    cell = max(5, *(len(f"{n:,}") for row in evaluation.confusion for n in row)) + 2
    if max(map(len, names)) + len(names) * max(cell, 2 + min(12, max(map(len, names)))) <= WIDEST_CONFUSION:
        table = table_of("truth \\ said", *names)
        for name, row in zip(names, evaluation.confusion, strict=True):
            table.add_row(Text(name), *(f"{n:,}" for n in row))
        return [table]
    pairs = most_confused(evaluation)
    if not pairs:
        return [Text("no two classes were confused")]
    table = table_of("truth", "said", "images", "of the class", left=2)
    for pair in pairs[:MOST_CONFUSED]:
        table.add_row(Text(pair.truth), Text(pair.said), f"{pair.images:,}", percent(pair.share))
    rest = pairs[MOST_CONFUSED:]
    return [Text("most often confused"), table, *_rest(rest)]


def _rest(pairs: Sequence[Confused]) -> list[RenderableType]:
    if not pairs:
        return []
    images = sum(pair.images for pair in pairs)
    return [Text(f"and {counted(len(pairs), 'more pair')} with {counted(images, 'image')}", style="dim")]


def split_text(split: Split) -> RenderableType:
    """Classes in their order, with images in each part; then the rule."""
    counts = split.counts()
    parts = [part for part in ("train", "validation", "test") if part in counts]
    table = table_of("class", *parts, "all", footer=True)
    for name in split.classes:
        row = [counts[part].get(name, 0) for part in parts]
        table.add_row(Text(name), *(f"{n:,}" for n in (*row, sum(row))))
    totals = [sum(counts[part].values()) for part in parts]
    for column, total in zip(table.columns, ["all", *totals, sum(totals)], strict=True):
        column.footer = total if isinstance(total, str) else f"{total:,}"
    groups = split.groups()
    whole = f"{counted(len(groups), 'group')} of images, none of them divided"
    return Group(
        Text(f"{counted(len(split.files), 'image')} in {split.root}", style="bold"),
        Text(division(split), style="dim"),
        *([Text(divided_groups(split) or whole, style="dim")] if groups else []),
        Text(""),
        table,
        *([Text("")] if split.notes else []),
        *(_bulleted("-", note) for note in split.notes),
        *_cautions(of_division(split)),
    )


def exported_text(made: Exported) -> RenderableType:
    """What was written, and what shows that it says the same as the model that it was made of."""
    takes = "whole images, and gives probabilities" if made.inside else "prepared pixels, and gives logits"
    return Group(
        Text(f"{made.path}: {disk_space(made.bytes)}; it takes {takes}", style="bold"),
        Text(f"proved: of the proof's image it says what the model said when it was saved ({made.engine})"),
        *_checked(made),
    )


def page_text(made: "Page") -> RenderableType:
    """What was written, and what shows that it says the same as the model that it was made of."""
    return Group(
        Text(f"{made.path}: {disk_space(made.bytes)}; it opens in a browser, and needs no network", style="bold"),
        Text(
            f"proved: of the proof's image its model says what it said when it was saved ({made.engine}); "
            "the page repeats that wherever it is opened, and answers only then"
        ),
        *(_checked(made.exported) if made.exported else []),
    )


def _checked(made: Exported) -> list[Text]:
    """What was compared besides the proof."""
    lines = []
    if (agreed := made.agreement) is not None:
        ties = f", but for {counted(agreed.ties, 'tie')}" if agreed.ties else ""
        lines.append(
            Text(
                f"checked: of {counted(agreed.images, 'image')} no answer is another one{ties}; the largest difference "
                f"of a probability is {agreed.greatest:.1g}"
            )
        )
        if agreed.unreadable:
            lines.append(Text(f"{counted(len(agreed.unreadable), 'image')} could not be read: {agreed.unreadable[0]}"))
    if (worth := made.measured) is not None:
        n = worth.accuracy.n
        most = percent(wilson(worth.lost, n).high)
        lines += [
            Text(f"{worth.precision}: {worth.speed:.2f} times as fast as float32 on this machine"),
            Text(f"accuracy on the validation images: {worth.accuracy}; in float32: {worth.before}"),
            Text(
                f"of {counted(n, 'image')}, {worth.lost:,} were right only in float32 and {worth.gained:,} only in "
                f"{worth.precision}; with so few images, up to {most} of right answers may be lost"
            ),
        ]
    return lines


def ensemble_text(told: Ensembled) -> RenderableType:
    """What an ensemble is worth, and a line for what each member adds to it."""
    where = f"{told.out}: {counted(len(told.names), 'model')}, {short_number(told.parameters)} parameters"
    if told.accuracy is None or told.log_loss is None:
        return Group(Text(where, style="bold"), Text(told.why, style="dim"))
    table = table_of("member", "alone %", "gained", "lost", "p", "log loss saved")
    for added in told.members:
        alone = f"{percent(added.accuracy.value)} {bounds(added.accuracy, 0)}".replace(" %", "")
        saved = added.saved.plain().partition(" n = ")[0]
        table.add_row(Text(added.name), alone, f"{added.gained:,}", f"{added.lost:,}", f"{added.chance:.2g}", saved)
    lines: list[RenderableType] = [
        Text(where, style="bold"),
        Text(f"accuracy {told.accuracy}, log loss {told.log_loss.plain()}", style="bold"),
        Text(f"on the {told.part} images, which no member was trained on", style="dim"),
        Text(""),
        table,
        *(
            Text(line, style="dim")
            for line in (
                "alone: the accuracy of the member by itself",
                "gained: images that only the ensemble with this member is right about; lost: only the one without it",
                "p: how likely so much of a difference would be by chance",
                "log loss saved: how much higher the log loss is without this member, with its 95 % interval",
            )
        ),
    ]
    if told.part == "validation":
        lines.append(
            Text(
                "! by these images each member's epoch and calibration were chosen: expect somewhat less on new images"
            )
        )
    return Group(*lines)


def card_text(card: Card) -> RenderableType:
    """What a model knows of itself."""
    options = ", ".join(f"{name} {_short(value)}" for name, value in card.options.items() if value is not None)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("network", Text(in_a_line(card.architecture) + (f" ({options})" if options else "")))
    classes = [in_a_line(name) for name in card.classes]
    named = classes[:MOST_NAMED] if len(classes) > MOST_CLASSES else classes
    more = len(classes) - len(named)
    table.add_row("classes", Text("; ".join(named) + f"; and {more:,} more" if more else ", ".join(named)))
    table.add_row("output", Text(f"one number, for {classes[1]}" if card.one_logit else "one number per class"))
    table.add_row("images", Text(in_a_line(preprocessing(card))))
    table.add_row("answer", Text(in_a_line(" ".join(decision(card)))))
    for result in card.results:
        measured = Measured(value=result.value, low=result.low, high=result.high, n=result.n)
        said = measured.plain() if result.measure == "log loss" else str(measured)
        table.add_row(Text(in_a_line(result.part)), Text(in_a_line(f"{result.measure} {said}")))
    for number, member in enumerate(card.members, start=1):
        told = f"{member.name}, {member.architecture}, sha256 {member.sha256[:12]}"
        table.add_row(f"member {number}", Text(in_a_line(told)))
    for name, value in card.provenance.items():
        if isinstance(value, str | int | float):
            table.add_row(Text(in_a_line(name)), Text(in_a_line(str(value))))
    return table


def _short(value: Any) -> str:
    """An option's value: of code, the first figures of its hash; of a table, which is long, only that it is there."""
    if isinstance(value, dict):
        return str(value.get("sha256", ""))[:12]
    return "in the file" if isinstance(value, str) and len(value) > MOST_CLASSES * 10 else str(value)


def table_of(first: str, *others: str, left: int = 1, footer: bool = False) -> Table:
    """A table whose first `left` columns are words and whose others are numbers."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), show_footer=footer)
    for index, name in enumerate((first, *others)):
        words = index < left
        table.add_column(Text(name), justify="left" if words else "right", overflow="fold", no_wrap=not words)
    return table


def _cautions(cautions: Iterable[str]) -> list[RenderableType]:
    """Each behind an exclamation mark, its further lines indented."""
    lines = [_bulleted("!", caution) for caution in cautions]
    return [Text(""), *lines] if lines else []


def _bulleted(sign: str, words: str) -> RenderableType:
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(Text(sign, style="bold yellow" if sign == "!" else "dim"), Text(words))
    return line
