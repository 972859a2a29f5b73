"""Which classes are taken for which, most often first."""

from dataclasses import dataclass

from pellucid.runs.evaluation import Evaluation


@dataclass(frozen=True)
class Confused:
    """`images` of class `truth` were called `said`; `share` is of all images of `truth`."""

    truth: str
    said: str
    images: int
    share: float


def most_confused(evaluation: Evaluation) -> list[Confused]:
    """Every pair of classes that was confused at all; ties stay in class order."""
    names = evaluation.classes
    pairs = [
        Confused(truth, said, images, images / sum(row))
        for truth, row in zip(names, evaluation.confusion, strict=True)
        for said, images in zip(names, row, strict=True)
        if images and said != truth
    ]
    return sorted(pairs, key=lambda pair: -pair.images)
