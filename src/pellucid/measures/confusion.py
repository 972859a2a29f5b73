"""What a confusion table says: accuracy, recall, precision, F1 and balanced accuracy, each with its 95 % interval.

Proportions (accuracy, recall, precision) have Wilson's interval, and so have what is made of proportions: F1 and
balanced accuracy. A bootstrap of those would leave out all doubt about a class that is wholly right or wholly wrong,
and with 10 to 20 images per class its 95 % intervals hold the truth 90 % of the time, these 95 to 97 %.

N counts images, K classes. Truth and best are class indices (N,). Tests compare each measure with scikit-learn's.
"""

import numpy as np
import numpy.typing as npt

from pellucid.measures.intervals import Measured, undefined, wilson

Counts = npt.NDArray[np.int64]


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


def mean_recall(table: Counts) -> float:
    """Of the classes that have images: balanced accuracy without its interval."""
    images = table.sum(axis=1)
    return float(np.mean((np.diag(table) / np.maximum(images, 1))[images > 0]))


def balanced_accuracy(table: Counts) -> Measured:
    """The mean recall of the classes that have images.

    How far Wilson's bounds lie from each recall adds up in squares (Newcombe 1998, Statistics in Medicine 17:873,
    method 10, for two proportions; Zou and Donner 2008, ibid. 27:1693, for sums).
    """
    recalls = [recall(table, index) for index in range(len(table)) if table[index].any()]
    if not recalls:
        return undefined(0)
    value, low, high = np.array([(each.value, each.low, each.high) for each in recalls], dtype=np.float64).T  # (K,)
    mean = mean_recall(table)
    below, above = (np.sqrt(((value - bound) ** 2).sum()) / len(recalls) for bound in (low, high))
    return Measured(value=mean, low=max(0.0, mean - below), high=min(1.0, mean + above), n=int(table.sum()))
