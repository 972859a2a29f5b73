"""Two-class measures of the order of the scores alone: ROC AUC and average precision, with 95 % intervals.

The intervals are percentiles of draws within each class, so that their counts stay what they are. N counts images,
C distinct scores; truth is class indices (N,), class 1 the positive one. Each measure has one formula, which serves
the value and its draws; tests compare it with scikit-learn's.
"""

from collections.abc import Callable

import numpy as np

from pellucid.measures.bootstrap import DRAWS, SEED, between
from pellucid.measures.confusion import Counts
from pellucid.measures.intervals import Measured, undefined, wilson
from pellucid.measures.likelihood import Shares


def roc_auc(truth: Counts, scores: Shares) -> Measured:
    """The chance that an image of class 1 has a higher score (N,) than one of class 0, ties counting half.

    Undefined where the data holds one class only.
    """
    return _ranked(truth, scores, _area)


def average_precision(truth: Counts, scores: Shares) -> Measured:
    """The precision at each distinct score (N,), weighted by the recall it adds; class 1 is the positive one.

    Undefined where the data holds one class only.
    """
    return _ranked(truth, scores, _average_precision)


def _ranked(truth: Counts, scores: Shares, measure: Callable[[Counts, Counts], float]) -> Measured:
    """Two-class measures that depend on the order of the scores only: sorted once, then drawn as counts by rank."""
    levels, level = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)  # highest score first
    of_positives, of_negatives = np.sort(level[truth == 1]), np.sort(level[truth == 0])
    fewest = min(len(of_positives), len(of_negatives))
    if fewest == 0:
        return undefined(len(truth))

    def counted(chosen: Counts) -> Counts:
        return np.bincount(chosen, minlength=len(levels))

    random = np.random.default_rng(SEED)

    def drawn(chosen: Counts) -> Counts:
        return counted(chosen[random.integers(len(chosen), size=len(chosen))])

    value = measure(counted(of_positives), counted(of_negatives))
    if value in (0, 1):  # no draw would differ: Wilson's bounds for the smaller class stand in
        ends = wilson(fewest * int(value), fewest)
        return Measured(value=value, low=ends.low, high=ends.high, n=len(truth))
    return between(value, [measure(drawn(of_positives), drawn(of_negatives)) for _ in range(DRAWS)], n=len(truth))


def _area(positives: Counts, negatives: Counts) -> float:
    """Area under the ROC curve from counts by score (C,), highest first."""
    beneath = negatives.sum() - np.cumsum(negatives) + negatives / 2
    return float((positives * beneath).sum() / (positives.sum() * negatives.sum()))


def _average_precision(positives: Counts, negatives: Counts) -> float:
    """Average precision from counts by score (C,), highest first."""
    right = np.cumsum(positives)
    called = np.maximum(right + np.cumsum(negatives), 1)  # 0 only above the highest score drawn, where none is added
    return float((positives * right / called).sum() / positives.sum())
