"""The card that a model carries: what its outputs mean, how images reach it, and the probe that proves both.

Torch-free: bundle.py puts a card into a file and takes it out again.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.images.preprocessing import Preprocessing
from pellucid.records import Record

FORMAT = 1


class Result(Record):
    """One measured result: accuracy on validation, say. Bounds are 95 % intervals, `n` counts images."""

    part: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int


class Probe(Record):
    """What the network gave for the fixed synthetic image when it was saved.

    `pixels` are samples of its preprocessed form; `logits` and `probabilities` are by class name, so that a
    changed order of the classes shows. One logit: only the positive class has a logit.
    """

    image: str  # which synthetic image: a name that fixes its pixels for ever
    pixels: tuple[float, ...]
    logits: dict[str, float]
    probabilities: dict[str, float]


class Card(Record):
    """Everything a prediction needs besides the weights. No field has a default: a card is complete or it is none.

    `classes` are in logit order; with `one_logit` they are (negative, positive). `temperature` divides logits before
    the softmax or sigmoid. `threshold`: with two classes, the probability of the second from which it is called;
    None where the largest wins. `sure_from`: the probability from which validation was right at least 95 % of the
    time; None if it never was.
    """

    format: int
    architecture: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    one_logit: bool
    preprocessing: Preprocessing
    temperature: float
    threshold: float | None
    sure_from: float | None
    provenance: dict[str, Any]
    results: tuple[Result, ...]
    probe: Probe


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
