"""Measures of a classifier, each with its 95 % interval: numpy in, Measured out.

Proportions (accuracy, recall, precision) have Wilson's interval, and so have what is made of proportions: F1 and
balanced accuracy. A bootstrap of those would leave out all doubt about a class that is wholly right or wholly wrong,
and with 10 to 20 images a class its 95 % intervals hold the truth 90 % of the time, these 95 to 97 %.
Log loss, ROC AUC and average precision have the percentiles of 1000 bootstrap draws: images are drawn with
replacement, for the latter two within each class, so that their counts stay what they are. With fewer than some
20 images a class such intervals are rather too narrow.

N counts images, K classes, D draws, C distinct scores. Truth and best are class indices (N,).
Each measure has one formula, which serves the value and its draws; tests compare it with scikit-learn's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.intervals import Measured, wilson

DRAWS = 1000
SEED = 0

Counts = npt.NDArray[np.int64]
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

    Undefined where there are none; 0 where the class is absent but was called. F1 = 2 J / (1 + J), where J is the
    share of those n images that are right, so that Wilson's bounds of J are carried over (Lam, Gopal and Qian 2023,
    arXiv:2309.14621, the indirect method).
    """
    right = int(table[index, index])
    share = wilson(right, int(table[index].sum() + table[:, index].sum()) - right)
    if share.value is None or share.low is None or share.high is None:
        return share
    value, low, high = (2 * each / (1 + each) for each in (share.value, share.low, share.high))
    return Measured(value=value, low=low, high=high, n=share.n)


def balanced_accuracy(table: Counts) -> Measured:
    """The mean recall of the classes that have images.

    How far Wilson's bounds lie from each recall adds up in squares (Newcombe 1998, Statistics in Medicine 17:873,
    method 10, for two proportions; Zou and Donner 2008, ibid. 27:1693, for sums).
    """
    recalls = [recall(table, index) for index in range(len(table)) if table[index].any()]
    if not recalls:
        return undefined(0)
    value, low, high = np.array([(each.value, each.low, each.high) for each in recalls], dtype=np.float64).T  # (K,)
    mean = value.mean()
    below, above = (np.sqrt(((value - bound) ** 2).sum()) / len(recalls) for bound in (low, high))
    return Measured(value=mean, low=max(0.0, mean - below), high=min(1.0, mean + above), n=int(table.sum()))


def log_loss(of_truth: Shares) -> Measured:
    """The mean of -ln of the probability (N,) that each image's true class was given; 0 counts as 2e-16."""
    return _mean(_losses(of_truth))


def difference(of_truth: Shares, others: Shares) -> Measured:
    """How much lower the log loss of the probabilities `of_truth` (N,) is than that of `others` for the same images."""
    return _mean(_losses(others) - _losses(of_truth))


def _losses(of_truth: Shares) -> Shares:
    return -np.log(np.clip(np.asarray(of_truth, dtype=np.float64), np.finfo(np.float64).eps, 1.0))


def _mean(values: Shares) -> Measured:
    """The mean of what each image has (N,), between the percentiles of its draws."""
    n = len(values)
    if n == 0:
        return undefined(0)
    values = np.sort(values)  # draws must not depend on the order of the images
    random = np.random.default_rng(SEED)
    return _bounded(float(values.mean()), [values[random.integers(n, size=n)].mean() for _ in range(DRAWS)], n=n)


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

    value = measure(counted(of_positives), counted(of_negatives))
    if value in (0, 1):  # no draw would differ: Wilson's bounds for the smaller class stand in
        ends = wilson(fewest * int(value), fewest)
        return Measured(value=value, low=ends.low, high=ends.high, n=len(truth))
    return _bounded(value, [measure(drawn(of_positives), drawn(of_negatives)) for _ in range(DRAWS)], n=len(truth))


def _area(positives: Counts, negatives: Counts) -> float:
    """Area under the ROC curve from counts by score (C,), highest first."""
    beneath = negatives.sum() - np.cumsum(negatives) + negatives / 2
    return float((positives * beneath).sum() / (positives.sum() * negatives.sum()))


def _average_precision(positives: Counts, negatives: Counts) -> float:
    """Average precision from counts by score (C,), highest first."""
    right = np.cumsum(positives)
    called = np.maximum(right + np.cumsum(negatives), 1)  # 0 only above the highest score drawn, where none is added
    return float((positives * right / called).sum() / positives.sum())


def _bounded(value: float, draws: Sequence[float], *, n: int) -> Measured:
    """`value` between the percentiles of its D draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    # Draws of a handful of images can lie to one side of the value (average precision rises with ties).
    return Measured(value=value, low=min(value, float(low)), high=max(value, float(high)), n=n)
