"""What training minimises, for labels as they come and for labels that were mixed or softened."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pellucid.training.config import Learning

Objective = Callable[[Tensor, Tensor], Tensor]


def objective(learning: Learning, counts: Sequence[int]) -> Objective:
    """The loss of (logits, targets): cross-entropy, or binary cross-entropy on one logit.

    Targets are class indices (N,) or shares of classes (N, classes). `counts` are training images per class, for
    class weights: a class of n among N images in K classes counts N / (K n), as scikit-learn's "balanced".
    """
    weights = None
    if learning.class_weights:
        weights = torch.tensor([sum(counts) / (len(counts) * count) if count else 0.0 for count in counts])
    smoothing = learning.label_smoothing

    def over_classes(logits: Tensor, targets: Tensor) -> Tensor:
        weight = None if weights is None else weights.to(logits)
        return functional.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)

    def on_one_logit(logits: Tensor, targets: Tensor) -> Tensor:
        positive = (targets[:, 1] if targets.ndim == 2 else targets).to(logits)
        each = None
        if weights is not None:
            negative_weight, positive_weight = weights.to(logits)
            each = negative_weight + (positive_weight - negative_weight) * positive
        softened = positive * (1 - smoothing) + 0.5 * smoothing
        loss = functional.binary_cross_entropy_with_logits(logits[:, 0], softened, weight=each, reduction="none")
        return loss.mean() if each is None else loss.sum() / each.sum()

    return on_one_logit if learning.one_logit else over_classes


def choose(logits: Tensor, *, one_logit: bool) -> Tensor:
    """The class index that each row of logits says, (N,)."""
    return (logits[:, 0] > 0).long() if one_logit else logits.argmax(dim=1)
