"""Which images to show where there is no room for all: spread evenly, so that nothing is chosen for its looks."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from pellucid.runs.evaluation import Evaluation, Judged

Item = TypeVar("Item")


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, evenly spaced, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[(2 * index + 1) * len(items) // (2 * most)] for index in range(most)]


def spread_by_class(
    items: Sequence[Item], classes: Sequence[str], label: Callable[[Item], str], most: int
) -> list[Item]:
    """About equally many items of each class, class by class; where there are more classes than room, some classes."""
    shown = spread(classes, most)
    of_class: dict[str, list[Item]] = {name: [] for name in shown}
    for item in items:
        if label(item) in of_class:
            of_class[label(item)].append(item)
    each = max(1, most // max(1, len(shown)))
    return [item for name in shown for item in spread(of_class[name], each)]


def mistakes(evaluation: Evaluation) -> list[Judged]:
    """Wrong predictions, the most confident first."""
    return sorted((judged for judged in evaluation.predictions if not is_right(judged)), key=lambda j: -j.probability)


def right(evaluation: Evaluation) -> list[Judged]:
    return [judged for judged in evaluation.predictions if is_right(judged)]


def is_right(judged: Judged) -> bool:
    return judged.best == judged.truth
