"""A linear head solved to its optimum: softmax regression with a quadratic penalty, its strength by cross-validation.

The loss is convex, so there is one best head, and no rate, schedule or number of epochs to choose. Features are scaled
to a spread of one first, and the head is written back for the features as they come.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from pellucid.networks.network import Network

Floats = npt.NDArray[np.floating]
STRENGTHS = tuple(float(strength) for strength in np.logspace(1, -5, 13))  # the strongest first: each starts the next
FOLDS = 5
ROUGHLY, TO_THE_END = 1e-4, 1e-7  # the largest slope at which the minimum counts as found
MOST_STEPS = 500
RISES = 2  # weaker penalties that did worse than the best, before the search ends
LEAST_SPREAD = 1e-6
_LIMITING = Lock()  # the number of threads is the whole process's


@dataclass(frozen=True)
class Solved:
    """Weights (classes, features) and bias (classes,): logits = features @ weight.T + bias.

    `strengths` are the penalties that were tried, and the mean loss of each on images that were held out.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    strength: float
    strengths: tuple[tuple[float, float], ...]


def solve_head(
    features: Floats,
    labels: npt.NDArray[np.integer],
    *,
    classes: int,
    images: npt.NDArray[np.integer] | None = None,
    class_weights: bool = False,
    smoothing: float = 0.0,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> Solved:
    """The head that minimises the mean loss of `features` (N, D) plus strength / 2 times its squared weights.

    `images` says whose view each row is: those of one image are never on both sides of a fold. `class_weights`: every
    class counts alike. `smoothing` is spread over all classes of each label.
    """
    images = np.arange(len(labels)) if images is None else images
    middle, spread = features.mean(axis=0), np.maximum(features.std(axis=0), LEAST_SPREAD)
    scaled = ((features - middle) / spread).astype(np.float64)
    rotation = None
    if len(scaled) < scaled.shape[1]:  # fewer rows than features: the best head lies in the space that rows span
        rotation, triangle = np.linalg.qr(scaled.T)
        scaled = triangle.T
    targets = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    weights = np.ones(len(labels))
    if class_weights:
        counts = np.bincount(labels, minlength=classes)
        weights = len(labels) / (np.count_nonzero(counts) * counts[labels])
    start = None
    # These products are too thin to share out: numpy and scipy each bring a BLAS, whose threads wait for each other,
    # and the same head took three to nine times as long with two of them.
    with _LIMITING, threadpool_limits(1, user_api="blas"):
        held_out = _cross_validated(scaled, targets, weights, labels, images, seed=seed, strengths=strengths)
        best = min(held_out, key=lambda tried: (round(tried[1], 9), -tried[0]))[0] if held_out else strengths[0]
        for strength in (one for one in strengths if one >= best):  # each starts from the last, which is near
            slope = TO_THE_END if strength == best else ROUGHLY
            start = _minimum(scaled, targets, weights, strength, start, slope=slope)
    assert start is not None
    weight, bias = start[:, :-1], start[:, -1]
    if rotation is not None:
        weight = weight @ rotation.T
    weight = weight / spread
    bias = bias - weight @ middle
    return Solved(weight.astype(np.float32), bias.astype(np.float32), best, tuple(held_out))


def _cross_validated(
    features: Floats,
    targets: Floats,
    weights: Floats,
    labels: npt.NDArray[np.integer],
    images: npt.NDArray[np.integer],
    *,
    seed: int,
    strengths: Sequence[float],
) -> list[tuple[float, float]]:
    """The loss of each strength on held-out images, until it only rises; [] where too few can be held out.

    Half as precise as the last solution: it only chooses.
    """
    fold = _folds(labels, images, seed=seed)
    if fold is None:
        return []
    features, targets, weights = (array.astype(np.float32) for array in (features, targets, weights))
    parts = [(fold != number, fold == number) for number in range(FOLDS)]
    data = [(features[within], targets[within], weights[within]) for within, _ in parts]
    starts: list[Floats | None] = [None] * FOLDS

    def judged(number: int, strength: float) -> float:
        start = starts[number] = _minimum(*data[number], strength, starts[number], slope=ROUGHLY)
        out = parts[number][1]
        losses, _ = _loss(features[out], targets[out], start.astype(np.float32))
        return float((weights[out] * losses).sum())

    tried: list[tuple[float, float]] = []
    pool = ThreadPoolExecutor(min(FOLDS, torch.get_num_threads()))
    try:
        for strength in strengths:
            total = sum(pool.map(judged, range(FOLDS), repeat(strength)))
            tried.append((strength, total / float(weights.sum())))
            if min(loss for _, loss in tried) < min(loss for _, loss in tried[-RISES:]):
                break
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C: no fold is begun any more
    return tried


def _folds(
    labels: npt.NDArray[np.integer], images: npt.NDArray[np.integer], *, seed: int
) -> npt.NDArray[np.integer] | None:
    """The fold of each row: classes are spread evenly, views of an image stay together."""
    names, first = np.unique(images, return_index=True)
    of_image = labels[first]
    counts = np.bincount(of_image)
    if counts[counts > 0].min() < 2 or len(names) < 2 * FOLDS:
        return None
    random = np.random.default_rng(seed)
    fold = np.zeros(len(names), dtype=np.int64)
    for label in np.unique(of_image):
        members = random.permutation(np.flatnonzero(of_image == label))
        fold[members] = (np.arange(len(members)) + random.integers(FOLDS)) % FOLDS
    return fold[np.searchsorted(names, images)]


def _minimum(
    features: Floats, targets: Floats, weights: Floats, strength: float, start: Floats | None, *, slope: float
) -> Floats:
    """The weights (classes, features + 1), bias last, at the minimum; from `start`, or from nothing."""
    classes, columns = targets.shape[1], features.shape[1] + 1
    total = weights.sum()

    def value(flat: Floats) -> tuple[float, Floats]:
        head = flat.reshape(classes, columns).astype(features.dtype, copy=False)
        losses, shares = _loss(features, targets, head)
        over = (shares - targets) * (weights / total)[:, None]
        slope_of = np.concatenate([over.T @ features + strength * head[:, :-1], over.sum(axis=0)[:, None]], axis=1)
        penalty = 0.5 * strength * float((head[:, :-1] ** 2).sum())
        return float((weights * losses).sum() / total) + penalty, slope_of.ravel().astype(np.float64)

    began = np.zeros(classes * columns) if start is None else start.ravel()
    from scipy.optimize import minimize  # a third of a second, and not for every training

    found = minimize(
        value, began, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS, "gtol": slope, "ftol": 0.0}
    )
    head: Floats = found.x.reshape(classes, columns)
    return head


def _loss(features: Floats, targets: Floats, head: Floats) -> tuple[Floats, Floats]:
    """The cross-entropy of each row, and its probabilities."""
    logits = features @ head[:, :-1].T + head[:, -1]
    logits -= logits.max(axis=1, keepdims=True)
    powers = np.exp(logits)
    sums = powers.sum(axis=1, keepdims=True)
    losses: Floats = -(targets * (logits - np.log(sums))).sum(axis=1)
    return losses, powers / sums


def put_head(network: Network, solved: Solved, *, one_logit: bool) -> None:
    """Write the solution into the network's last layer; one logit is the second class's less the first's."""
    (head,) = network.head_modules()
    weight, bias = torch.from_numpy(solved.weight), torch.from_numpy(solved.bias)
    if one_logit:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    with torch.no_grad():
        head.weight.copy_(weight.reshape(head.weight.shape))
        head.bias.copy_(bias)
