"""Fine-tuned against probe, image by image: what the longer training added, and whether that can be chance.

Only the model that is kept is compared. The validation images have chosen its epoch, which flatters it: of several
epochs that are no better than the probe the best looks better. So the chance is that of one comparison times the
epochs that there were (Bonferroni's bound, which holds however alike epochs are), and it is said to be exploratory.
"""

from collections.abc import Sequence

from pellucid.measures.comparison import mcnemar
from pellucid.measures.intervals import wilson
from pellucid.records import Record, read_text, write
from pellucid.runs.events import Compared, now
from pellucid.runs.run_folder import RunFolder

FILE = "paired.json"
CHANCE = 0.05


class Paired(Record):
    """Whether the probe, and the tuned weights that are kept, were right about each validation image, in order."""

    probe: tuple[bool, ...]
    tuned: tuple[bool, ...]


def write_paired(run: RunFolder, paired: Paired) -> None:
    write(run.path / FILE, paired.model_dump_json() + "\n")


def note_tuned(run: RunFolder, right: Sequence[bool]) -> None:
    """Note what the tuned weights that are kept now are right about, where there is a probe to compare with."""
    path = run.path / FILE
    if path.exists():
        before = Paired.from_json(read_text(path), str(path))
        write_paired(run, before.model_copy(update={"tuned": tuple(bool(one) for one in right)}))


def compared(run: RunFolder, *, kept: int = 1, epochs: int = 1) -> Compared | None:
    """McNemar's exact test of the weights of epoch `kept`, chosen among so many `epochs`, against the probe.

    Where the probe itself is kept (epoch 0), nothing was added. None where there is no probe.
    """
    path = run.path / FILE
    if not path.exists():
        return None
    paired = Paired.from_json(read_text(path), str(path))
    tuned = paired.tuned if kept else paired.probe
    if len(paired.probe) != len(tuned) or not tuned:
        return None
    both = list(zip(paired.probe, tuned, strict=True))
    gained = sum(after and not before for before, after in both)
    lost = sum(before and not after for before, after in both)
    chance = mcnemar(gained, lost, tries=epochs)
    return Compared(
        time=now(),
        probe=wilson(sum(paired.probe), len(both)),
        tuned=wilson(sum(tuned), len(both)),
        gained=gained,
        lost=lost,
        chance=chance,
        worth=gained > lost and chance < CHANCE,
        kept=kept,
        epochs=epochs,
    )
