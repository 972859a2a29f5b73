"""Fine-tuned against probe, image by image: what the longer training added, and whether that can be chance."""

from collections.abc import Sequence
from math import comb

from pellucid.intervals import wilson
from pellucid.records import Record, read_text, write
from pellucid.runs.events import Compared, now
from pellucid.runs.run_folder import RunFolder

FILE = "paired.json"
CHANCE = 0.05


class Paired(Record):
    """Whether the probe, and the best weights since, were right about each validation image, in order."""

    probe: tuple[bool, ...]
    tuned: tuple[bool, ...]


def write_paired(run: RunFolder, paired: Paired) -> None:
    write(run.path / FILE, paired.model_dump_json() + "\n")


def note_tuned(run: RunFolder, right: Sequence[bool]) -> None:
    """Keep what the best tuned weights so far are right about, where there is a probe to compare with."""
    path = run.path / FILE
    if path.exists():
        before = Paired.from_json(read_text(path), str(path))
        if not before.tuned or sum(right) >= sum(before.tuned):
            write_paired(run, before.model_copy(update={"tuned": tuple(bool(one) for one in right)}))


def compared(run: RunFolder) -> Compared | None:
    """McNemar's exact test of both; None where one of them is not known."""
    path = run.path / FILE
    if not path.exists():
        return None
    paired = Paired.from_json(read_text(path), str(path))
    if len(paired.probe) != len(paired.tuned) or not paired.tuned:
        return None
    both = list(zip(paired.probe, paired.tuned, strict=True))
    gained = sum(tuned and not probe for probe, tuned in both)
    lost = sum(probe and not tuned for probe, tuned in both)
    # Both tails of a fair coin's tosses; scipy.stats has it too, for a second and a half of importing.
    tail = sum(comb(gained + lost, heads) for heads in range(min(gained, lost) + 1))
    chance = min(1.0, 2 * tail / 2 ** (gained + lost))
    return Compared(
        time=now(),
        probe=wilson(sum(paired.probe), len(both)),
        tuned=wilson(sum(paired.tuned), len(both)),
        gained=gained,
        lost=lost,
        chance=chance,
        worth=gained > lost and chance < CHANCE,
    )
