"""report.html: one file that opens offline, made of a run's records. The words and their order are in templates/.

Everything that comes from outside (class names, file names, settings) is escaped by the template engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pellucid.errors import counted
from pellucid.images.manifest import Split
from pellucid.measures.intervals import Measured
from pellucid.names import kind_of
from pellucid.records import write
from pellucid.reports import cautions, palette, sentences, words
from pellucid.reports.charts import accuracy_chart, loss_chart
from pellucid.reports.division import division
from pellucid.reports.facts import left_out, measures, origin, settings
from pellucid.reports.history import History, check_every, history
from pellucid.reports.tiles import draw, seen
from pellucid.reports.transfer import transfer_words
from pellucid.runs.card import Card
from pellucid.runs.evaluation import Evaluation, read_evaluation
from pellucid.runs.events import Event
from pellucid.runs.first_batch import FirstBatch, read_first_batch
from pellucid.runs.run_folder import RunFolder, open_run
from pellucid.training.defaults import about

SPACIOUS = 10  # classes up to which the confusion matrix has room for percentages
LARGEST_MATRIX = 60  # classes up to which it is drawn at all
PAIRS_BESIDE, PAIRS_INSTEAD = 5, 40  # pairs of confused classes that are listed beside the matrix, or instead of it
SECTIONS = {
    "mistakes": "Mistakes",
    "confusion": "Which classes are confused",
    "classes": "Class by class",
    "training": "The training",
    "data": "The data",
    "asked": "The settings",
    "decision": "How an image becomes an answer",
    "provenance": "Where the model comes from",
}


@dataclass(frozen=True)
class Headline:
    """The number that everybody looks for first, and what it was measured on."""

    accuracy: Measured
    where: str
    sentence: str
    commonest: float | None  # what always answering the commonest class would reach


def write_report(run: RunFolder | Path | str, *, every: int | None = None) -> Path:
    """Write the run's report.html from what its folder holds now: evaluated or not, finished or not.

    `every`: of how many batches each point of the curve of batch losses is the mean; default: at most 200 points.
    """
    check_every(every)
    run = run if isinstance(run, RunFolder) else open_run(run)
    page = render(
        run.path.name,
        config=run.settings(),
        provenance=run.provenance(),
        split=run.split(),
        events=run.events(),
        card=run.card() if kind_of(run.model) != "nothing" else None,
        evaluation=read_evaluation(run) if kind_of(run.evaluation_path) != "nothing" else None,
        batch=read_first_batch(run.path),
        every=every,
    )
    write(run.report_path, page)
    return run.report_path


def render(
    name: str,
    *,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    split: Split,
    events: Sequence[Event],
    card: Card | None = None,
    evaluation: Evaluation | None = None,
    batch: FirstBatch | None = None,
    every: int | None = None,
) -> str:
    """The report as HTML, under 5 MB.

    `provenance["asked"]`, where there, lists the settings that somebody chose, by dotted name;
    `provenance["left_out"]` lists images that were left out of the data, each with `path` and `reason`.
    """
    course = history(events)
    samples, results = draw(split, evaluation)
    chosen, usual = settings(config, provenance.get("asked"))
    counts = {part: of_class for part, of_class in split.counts().items() if sum(of_class.values())}
    totals = {name: sum(of_class.get(name, 0) for of_class in counts.values()) for name in split.classes}
    absent = {section for section, there in (("training", course.laps), ("decision", card)) if not there}
    absent |= set() if results else {"mistakes", "confusion", "classes"}
    values = {
        "name": name,
        "version": provenance.get("versions", {}).get("pellucid"),
        "titles": {section: title for section, title in SECTIONS.items() if section not in absent},
        "headline": _headline(evaluation, course),
        "cautions": _cautions(evaluation, course, split),
        "results": results,
        "measures": measures(evaluation) if evaluation else [],
        "guessing": log(len(split.classes)),
        "spacious": len(split.classes) <= SPACIOUS,
        "matrix": len(split.classes) <= LARGEST_MATRIX,
        "pairs_shown": PAIRS_BESIDE if len(split.classes) <= LARGEST_MATRIX else PAIRS_INSTEAD,
        "history": course,
        "charts": _charts(course, split, every),
        "split": split,
        "division": division(split),
        "looks": {of_class: palette.look(index) for index, of_class in enumerate(split.classes)},
        "counts": counts,
        "totals": totals,
        "largest": max(totals.values(), default=1),
        "samples": samples,
        "batch": batch,
        "seen": seen(batch),
        "left_out": left_out(provenance, evaluation),
        "chosen": chosen,
        "usual": usual,
        "about": {setting: said for setting, _ in (*chosen, *usual) if (said := about(setting))},
        "card": card,
        "provenance": origin(provenance, course, split),
    }
    page: str = environment().get_template("report.html").render(values)
    return page


def _headline(evaluation: Evaluation | None, course: History) -> Headline | None:
    if evaluation:
        where = f"the {evaluation.part} images" if evaluation.part else evaluation.data
        n = max(1, evaluation.n)
        commonest = max((result.support for result in evaluation.per_class), default=0) / n
        accuracy = evaluation.accuracy
    elif course.best:
        where, accuracy, commonest = "the validation images, while it was trained", course.best.accuracy, None
    else:
        return None
    return Headline(accuracy, where, sentences.accuracy_in_words(accuracy), commonest)


def _cautions(evaluation: Evaluation | None, course: History, split: Split) -> list[str]:
    measured = cautions.of_evaluation(evaluation) if evaluation else cautions.of_no_evaluation(course)
    return [*measured, *cautions.of_training(course), *cautions.of_split(split)]


def _charts(course: History, split: Split, every: int | None) -> list[Any]:
    if not course.laps:
        return []
    validation = split.counts().get("validation", {})
    images = sum(validation.values())
    return [
        loss_chart(course, every=every),
        accuracy_chart(course, commonest=max(validation.values()) / images if images else None),
    ]


def environment() -> Environment:
    """What every page's template is filled with."""
    made = Environment(
        loader=PackageLoader("pellucid.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"counted": counted, "palette": palette, "sentences": sentences, "words": words}
    made.globals["transfer_words"] = transfer_words
    return made


def _unbroken(value: Any) -> Any:
    """A number keeps its percent sign at the end of a line; what is no text, a script say, stays as it is."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return value.replace(" %", "\u00a0%") if plain else value
