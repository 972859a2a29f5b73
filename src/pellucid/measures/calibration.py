"""Make probabilities mean what they say: one temperature, and the probability from which the model is sure."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST = 20  # images; with fewer, neither can be told
SURE = 0.95  # the share that must be right


def probabilities(
    logits: npt.NDArray[np.floating[Any]], *, temperature: float, one_logit: bool
) -> npt.NDArray[np.float64]:
    """Logits (N, classes), or (N, 1) for one logit, to probabilities (N, classes) in float64; rows add up to 1."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if one_logit:
        scaled = np.concatenate([np.zeros_like(scaled), scaled], axis=1)
    grown = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = grown / grown.sum(axis=1, keepdims=True)
    return shares


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], *, one_logit: bool) -> float:
    """The temperature that makes validation likeliest (Guo et al. 2017, arXiv:1706.04599), between 1/10 and 10.

    Targets are softened as Platt did (1999, section 2.2), or a validation part without a mistake would ask for
    certainty. `logits` (N, classes) or (N, 1); 1.0 where there are too few images to tell.
    """
    if len(labels) < FEWEST:
        return 1.0
    classes = 2 if one_logit else logits.shape[1]
    counts = np.bincount(labels, minlength=classes)
    right = (counts + 1.0) / (counts + 2.0)
    targets = np.repeat(((1 - right) / (classes - 1))[labels, None], classes, axis=1)
    targets[np.arange(len(labels)), labels] = right[labels]

    def loss(log_temperature: float) -> float:
        shares = probabilities(logits, temperature=float(np.exp(log_temperature)), one_logit=one_logit)
        return float(-(targets * np.log(np.clip(shares, 1e-12, None))).sum(axis=1).mean())

    return float(np.exp(_lowest(loss)))


def _lowest(loss: Callable[[float], float]) -> float:
    from scipy.optimize import minimize_scalar  # a third of a second, and not for every training

    return float(minimize_scalar(loss, bounds=(-np.log(10), np.log(10)), method="bounded").x)


def sure_from(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> float | None:
    """The least probability from which on at least 95 % of the predictions were right; None if there is none.

    `confidence` and `right` are of each validation image. At least 20 images must lie at or above it.
    """
    order = np.argsort(-confidence, kind="stable")
    correct = np.cumsum(right[order])
    counted = np.arange(1, len(order) + 1)
    level = confidence[order]
    # A level holds only where the next image is less sure, or the run of equals would be cut in two.
    ends = np.append(level[1:] < level[:-1], True) if len(level) else np.zeros(0, dtype=bool)
    good = np.flatnonzero(ends & (counted >= FEWEST) & (correct >= SURE * counted))
    return float(level[good[-1]]) if len(good) else None
