"""Measures of a classifier, each with its 95 % interval: numpy in, Measured out.

Proportions (accuracy, recall, precision) have Wilson's interval. The others have the percentiles of 1000 bootstrap
draws: images are drawn with replacement, within each class (so that counts of classes stay what they are) for
measures that weigh classes, from all images for the log loss. Where everything is right, so is every draw, and a
bootstrap would claim certainty: the bounds are then Wilson's for the smallest class, all right. A bootstrap knows
nothing of what it never drew: with fewer than some 20 images a class its intervals are rather too narrow.

N counts images, K classes, D draws, C distinct scores. Truth and best are class indices (N,).
Each measure has one formula, which serves the value and its draws; tests compare it with scikit-learn's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.intervals import Measured, wilson

DRAWS = 1000
SEED = 0

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Shares = npt.NDArray[np.floating[Any]]  # probabilities


def confusion(truth: Counts, best: Counts, *, classes: int) -> Counts:
    """Images by true class (rows) and best class (columns): (K, K)."""
    return np.bincount(np.asarray(truth) * classes + best, minlength=classes**2).reshape(classes, classes)


def accuracy(table: Counts) -> Measured:
    """Of all images in the confusion table, those that were right."""
    return wilson(int(np.trace(table)), int(table.sum()))


def recall(table: Counts, index: int) -> Measured:
    """Of the images of class `index`, those that were called so; undefined where there are none."""
    return wilson(int(table[index, index]), int(table[index].sum()))


def precision(table: Counts, index: int) -> Measured:
    """Of the images that were called class `index`, those that are; undefined where none was."""
    return wilson(int(table[index, index]), int(table[:, index].sum()))


def f1(table: Counts, index: int) -> Measured:
    """The harmonic mean of precision and recall of class `index`; n counts images that are of it or were called so.

    Undefined where there are none. 0 where the class is absent but was called.
    """
    support, called = table[index].sum(), table[:, index].sum()
    n = int(support + called - table[index, index])
    if n == 0:
        return undefined(0)
    random = np.random.default_rng(SEED)
    rows = np.flatnonzero(table[:, index])
    supports = table.sum(axis=1)[rows]
    drawn = random.binomial(supports, table[rows, index] / supports, (DRAWS, len(rows)))  # called so, by true class
    with np.errstate(invalid="ignore"):  # a draw without the class has no F1 and is left out
        draws = 2 * drawn[:, rows == index].sum(axis=1) / (support + drawn.sum(axis=1))
    return _bounded(float(2 * table[index, index] / (support + called)), draws, n=n, fewest=int(support) or n)


def balanced_accuracy(table: Counts) -> Measured:
    """The mean recall of the classes that have images."""
    supports = table.sum(axis=1)
    present = supports > 0
    if not present.any():
        return undefined(0)
    supports, recalls = supports[present], table.diagonal()[present] / supports[present]
    draws = np.random.default_rng(SEED).binomial(supports, recalls, (DRAWS, len(supports))) / supports  # (D, K)
    return _bounded(float(recalls.mean()), draws.mean(axis=1), n=int(supports.sum()), fewest=int(supports.min()))


def log_loss(of_truth: Shares) -> Measured:
    """The mean of -ln of the probability (N,) that each image's true class was given; 0 counts as 2e-16."""
    n = len(of_truth)
    if n == 0:
        return undefined(0)
    given = np.clip(np.asarray(of_truth, dtype=np.float64), np.finfo(np.float64).eps, 1.0)
    losses = np.sort(-np.log(given))  # draws must not depend on the order of the images
    random = np.random.default_rng(SEED)
    draws = np.array([losses[random.integers(n, size=n)].mean() for _ in range(DRAWS)])
    low, high = np.quantile(draws, (0.025, 0.975))
    return Measured(value=float(losses.mean()), low=float(low), high=float(high), n=n)


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


def undefined(n: int) -> Measured:
    return Measured(value=None, low=None, high=None, n=n)


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

    draws = np.array([measure(drawn(of_positives), drawn(of_negatives)) for _ in range(DRAWS)])
    return _bounded(measure(counted(of_positives), counted(of_negatives)), draws, n=len(truth), fewest=fewest)


def _area(positives: Counts, negatives: Counts) -> float:
    """Area under the ROC curve from counts by score (C,), highest first."""
    beneath = negatives.sum() - np.cumsum(negatives) + negatives / 2
    return float((positives * beneath).sum() / (positives.sum() * negatives.sum()))


def _average_precision(positives: Counts, negatives: Counts) -> float:
    """Average precision from counts by score (C,), highest first."""
    right = np.cumsum(positives)
    called = np.maximum(right + np.cumsum(negatives), 1)  # 0 only above the highest score drawn, where none is added
    return float((positives * right / called).sum() / positives.sum())


def _bounded(value: float, draws: Numbers, *, n: int, fewest: int) -> Measured:
    """`value` between the percentiles of its draws (D,); at 0 or 1 no draw differs, and Wilson's bounds stand in.

    `fewest`: images of the smallest class that the value rests on.
    """
    if value in (0, 1):
        ends = wilson(fewest * int(value), fewest)
        return Measured(value=value, low=ends.low, high=ends.high, n=n)
    low, high = np.nanquantile(draws, (0.025, 0.975))
    # Draws of a handful of images can lie to one side of the value (average precision rises with ties).
    return Measured(value=value, low=min(value, float(low)), high=max(value, float(high)), n=n)
