"""Names and values for the report's lists: settings, measures, where a run comes from, what was left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pellucid.images.manifest import Split
from pellucid.records import flat
from pellucid.reports.history import History
from pellucid.reports.spending import spent_words
from pellucid.reports.words import duration, moment
from pellucid.runs.evaluation import Evaluation

Fact = tuple[str, str]

ASKED_OF_EVERY_RUN = frozenset(
    {"model", "mode", "weights", "train_from", "seed", "data.folder", "data.train", "data.validation", "data.test"}
    | {"input.size", "learning.epochs", "learning.batch", "learning.optimizer", "learning.rate", "learning.schedule"}
)
TOLD_ELSEWHERE = ("asked", "left_out", "data", "config")  # keys of a run's provenance that other sections show


def settings(config: Mapping[str, Any], asked: Sequence[str] | None) -> tuple[list[Fact], ...]:
    """(chosen, usual): the settings that tell runs apart with those that somebody chose, and all others."""
    rows = list(told(config))
    first = ASKED_OF_EVERY_RUN | set(asked or ())
    return [row for row in rows if row[0] in first], [row for row in rows if row[0] not in first]


def told(values: Mapping[str, Any]) -> Iterator[Fact]:
    """Nested values as (dotted name, words), without those that are not set."""
    return ((name, _worded(value)) for name, value in flat(values) if value is not None)


def _worded(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_worded, value)) or "none"
        case float():
            return f"{value:g}"
    return str(value)


# In a few words what each measure says, for whoever reads it for the first time.
MEANINGS = {
    "accuracy": "the share of right answers",
    "balanced accuracy": "mean of all classes' recalls",
    "log loss": "0 is perfect",
    "ROC AUC": "0.5 is guessing, 1 perfect",
    "average precision": "of the second class; 1 is perfect",
}


def measures(evaluation: Evaluation) -> list[Fact]:
    """What was measured over all classes together."""
    rows = [
        ("accuracy", evaluation.accuracy.percent()),
        ("balanced accuracy", evaluation.balanced_accuracy.percent()),
        ("log loss", evaluation.log_loss.plain()),
    ]
    if evaluation.roc_auc:
        rows.append(("ROC AUC", evaluation.roc_auc.plain()))
    if evaluation.average_precision:
        rows.append(("average precision", evaluation.average_precision.plain()))
    return rows


def left_out(provenance: Mapping[str, Any], evaluation: Evaluation | None) -> list[Fact]:
    """Images that count nowhere, and why."""
    from_data = [(item["path"], item["reason"]) for item in provenance.get("left_out", [])]
    return [*from_data, *((item.path, item.reason) for item in (evaluation.left_out if evaluation else ()))]


def origin(provenance: Mapping[str, Any], course: History, split: Split) -> list[Fact]:
    """When and how it ran, what it ran on, and all that the run folder knows of versions, commit and machine."""
    rows, begun, ended = [], course.started, course.stopped
    if begun:
        rows.append(("started", moment(begun.time)))
        trained = "all" if begun.trained_parameters == begun.parameters else f"{begun.trained_parameters:,}"
        rows.append(("parameters", f"{begun.parameters:,}, {trained} of them trained"))
    if ended:
        rows.append((ended.why, f"{moment(ended.time)}, after {duration(ended.seconds)}"))
        rows += [("time in training", said)] if (said := spent_words(ended.spent)) else []
    rows.append(("fingerprint of the data", split.fingerprint()))
    shown = {key: value for key, value in provenance.items() if key not in TOLD_ELSEWHERE}
    return [*rows, *told(shown)]
