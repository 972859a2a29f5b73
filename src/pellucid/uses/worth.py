"""Is a model in fewer bits worth having? Faster on this machine, and not worse on validation images: both are measured.

A model may lose a little and be much faster; only whoever uses it can say how little. What is lost is told with its
doubt: with 40 validation images nobody can show that less than a percent is lost.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from PIL import Image

from pellucid.engines.engine import Engine
from pellucid.engines.fastest import time_in_turns
from pellucid.errors import UserError
from pellucid.images.decode import content_of, open_image
from pellucid.images.manifest import Split, sha256_of
from pellucid.images.preprocessing import Pixels, crop
from pellucid.images.samples import Sample
from pellucid.measures.bootstrap import mean
from pellucid.measures.comparison import mcnemar
from pellucid.measures.intervals import Measured, wilson
from pellucid.records import Record
from pellucid.runs.card import Card, Precision
from pellucid.runs.run_folder import is_run, open_run
from pellucid.uses.predict import decide, pixels_for, shares

CALIBRATED_ON = 200  # images at most, which is ample for ranges
BATCH = 16
SURE = 0.05  # McNemar's p from which on a loss is no chance


class Worth(Record):
    """A model in fewer bits beside the same in float32, on the same machine and the same `accuracy.n` images.

    `speed` is how many times as fast it is. `drop` is the accuracy that it loses; `lost` and `gained` count images that
    only the one or the other is right about, and `chance` is McNemar's p. `calibrated_on` counts training images.
    """

    precision: Precision
    speed: float
    before: Measured
    accuracy: Measured
    drop: Measured
    gained: int
    lost: int
    chance: float
    calibrated_on: int

    def problems(self, max_drop: float) -> list[str]:
        """Why it is not worth having, in words; [] where it is."""
        found = []
        if self.speed <= 1:
            found.append(f"it is not faster here: {self.speed:.2f} times as fast as float32")
        if (self.drop.value or 0) > max_drop or (self.lost > self.gained and self.chance < SURE):
            found.append(
                f"it is worse: {self.accuracy} are right, and {self.before} in float32; --max-drop allows {max_drop:g}"
            )
        return found


def split_of(model: Path, precision: Precision) -> Split:
    """The split of a run, which names the images that fewer bits need. UserError for a model without one."""
    if not is_run(model):
        raise UserError(
            f"{model} does not say which images it was trained on, and {precision} is measured on some of them",
            hint="name the run folder instead of its model file",
        )
    split = open_run(model).split()
    if not split.part("validation"):
        raise UserError(
            f"the run {model} has no validation image, on which {precision} could be compared with float32",
            hint="leave --int8 and --fp16 out, or train with a validation part",
        )
    return split


def calibration(split: Split, card: Card) -> Iterator[Pixels]:
    """Training images as the network sees them, one crop each: those whose hashes come first, which is by chance."""
    for sample in sorted(split.part("train"), key=lambda sample: sample.content)[:CALIBRATED_ON]:
        pixels = crop(_opened(sample, card), card.preprocessing, name=str(sample.path))
        side = card.preprocessing.size
        start = (pixels.shape[0] - side) // 2
        yield pixels[start : start + side, start : start + side]


def worth(
    fewer: Engine,
    full: Engine,
    split: Split,
    *,
    calibrated_on: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Worth:
    """Compare `fewer` with the same model in float32, `full`: time in turns, and answers on validation images."""
    samples = split.part("validation")
    right = [_right(engine, samples, progress) for engine in (full, fewer)]
    both = [wilson(int(each.sum()), len(samples)) for each in right]
    gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    seconds = time_in_turns([full, fewer])
    return Worth(
        precision=fewer.card.precision,
        speed=median(a / b for a, b in zip(*seconds, strict=True)),
        before=both[0],
        accuracy=both[1],
        drop=mean(right[0].astype(float) - right[1].astype(float)),
        gained=gained,
        lost=lost,
        chance=mcnemar(gained, lost),
        calibrated_on=calibrated_on,
    )


def _right(
    engine: Engine, samples: Sequence[Sample], progress: Callable[[int, int], None] | None
) -> npt.NDArray[np.bool_]:
    """Of which samples (N,) the engine is right."""
    card, right = engine.card, list[bool]()
    for start in range(0, len(samples), BATCH):
        some = samples[start : start + BATCH]
        pixels = [pixels_for(card, _opened(sample, card), name=str(sample.path)) for sample in some]
        called = decide(shares(engine, pixels), card)
        right += [card.classes[index] == sample.label for index, sample in zip(called, some, strict=True)]
        if progress:
            progress(len(right), len(samples))
    return np.array(right)


def _opened(sample: Sample, card: Card) -> Image.Image:
    name = str(sample.path)
    content = content_of(sample.path, name)
    if sha256_of(content) != sample.content:
        raise UserError(f"{name} is not what it was when the run was made", hint="put it back as it was")
    return open_image(content, background=card.preprocessing.background, name=name)
