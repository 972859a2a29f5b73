"""Do two engines say the same of the same images? How far their probabilities are apart, and which answers change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pellucid.engines.engine import Engine
from pellucid.images.decode import Unreadable, open_image
from pellucid.images.preprocessing import Pixels
from pellucid.names import path_of
from pellucid.records import Record
from pellucid.runs.card import Card
from pellucid.uses.ahead import ahead, windows
from pellucid.uses.predict import Failure, Shares, decide, pixels_for, shares

SAME_TO = 1e-3  # of a probability
BATCH = 16  # images


class Change(Record):
    """An image of which the two say something else, and how probable each thinks its own answer."""

    name: str
    first: str
    second: str
    probability: tuple[float, float]


class Agreement(Record):
    """What two engines said of `images` images. `greatest` is the largest difference of a probability.

    `changed` lists other answers, but for those where the first had two answers within SAME_TO: those are `ties`.
    """

    images: int
    greatest: float
    changed: tuple[Change, ...]
    ties: int
    unreadable: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no answer changed, and no probability by more than SAME_TO."""
        return not self.changed and self.greatest <= SAME_TO

    def problems(self) -> list[str]:
        """Why it does not hold, in words."""
        found = [
            f"{change.name}: {change.second} ({change.probability[1]:.3f}), was {change.first} "
            f"({change.probability[0]:.3f})"
            for change in self.changed
        ]
        if self.greatest > SAME_TO:
            found.append(f"a probability differs by {self.greatest:.2g}, and {SAME_TO} is allowed")
        return found


@dataclass(frozen=True, slots=True)
class _Opened:
    name: str
    first: Pixels
    second: Pixels


def agreement(
    first: Engine,
    second: Engine,
    images: Sequence[Path | Failure],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Show both engines every image, each prepared as that engine wants it; the first is what was before.

    Images that cannot be read are listed. `progress` hears (images done, all).
    """
    names: list[str] = []
    unreadable: list[str] = []
    said: tuple[list[Shares], list[Shares]] = ([], [])

    def opened(each: Path | Failure) -> _Opened | str:
        if isinstance(each, Failure):
            return f"{each.name}: {each.error}"
        try:
            return _Opened(str(each), _pixels(each, first.card), _pixels(each, second.card))
        except Unreadable as cause:
            return str(cause)

    for window in windows(ahead(opened, images, depth=2 * BATCH), BATCH):
        ready = [each for each in window if isinstance(each, _Opened)]
        unreadable += [each for each in window if isinstance(each, str)]
        names += [each.name for each in ready]
        said[0].append(shares(first, [each.first for each in ready]))
        said[1].append(shares(second, [each.second for each in ready]))
        if progress:
            progress(len(names) + len(unreadable), len(images))
    before, after = (np.concatenate([np.empty((0, len(first.card.classes))), *each]) for each in said)
    return agreement_of(names, before, after, first.card, second.card, unreadable=unreadable)


def agreement_of(
    names: Sequence[str], before: Shares, after: Shares, first: Card, second: Card, *, unreadable: Sequence[str] = ()
) -> Agreement:
    """What probabilities (N, classes) of the same N images, of two engines with these cards, have in common."""
    ties, changed = 0, []
    for index in np.flatnonzero(decide(before, first) != decide(after, second)).tolist():
        if tied(before[index], first):
            ties += 1
            continue
        changed.append(_change(names[index], before[index], after[index], first))
    greatest = float(np.abs(before - after).max()) if len(names) else 0.0
    return Agreement(
        images=len(names), greatest=greatest, changed=tuple(changed), ties=ties, unreadable=tuple(unreadable)
    )


def tied(row: Shares, card: Card) -> bool:
    """Whether probabilities (classes,) name two answers equally, to what is allowed of a difference."""
    if card.threshold is not None:
        return bool(abs(row[1] - card.threshold) <= SAME_TO)
    second, best = np.sort(row)[-2:]
    return bool(best - second <= 2 * SAME_TO)


def _change(name: str, before: Shares, after: Shares, card: Card) -> Change:
    chosen = [int(decide(row[None], card)[0]) for row in (before, after)]
    return Change(
        name=name,
        first=card.classes[chosen[0]],
        second=card.classes[chosen[1]],
        probability=(float(before[chosen[0]]), float(after[chosen[1]])),
    )


def _pixels(path: Path, card: Card) -> Pixels:
    image = open_image(path_of(path), background=card.preprocessing.background, name=str(path))
    return pixels_for(card, image, name=str(path))
