"""What a validation says of the weights: loss, accuracy, the value by which the best are chosen, the temperature."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.measures.calibration import fit_temperature, probabilities, sure_from
from pellucid.measures.confusion import confusion, mean_recall
from pellucid.measures.intervals import Measured, wilson
from pellucid.training.config import Learning
from pellucid.training.objective import choose, objective
from pellucid.training.state import Best


@dataclass(frozen=True)
class Judgement:
    """What a network says of the validation images: logits (N, classes) and labels (N,), on the processor.

    `loss` is the plain one, without smoothing and class weights. `right` (N,) says of which images it is right.
    """

    logits: Tensor
    labels: Tensor
    loss: float
    right: Tensor
    value: float
    accuracy: Measured

    @property
    def finite(self) -> bool:
        """Whether all of it is numbers: weights that say others are never the best, nor do they recover."""
        return bool(torch.isfinite(self.logits).all() and np.isfinite(self.loss))


def judge(logits: Tensor, labels: Tensor, learning: Learning) -> Judgement:
    """By the measure that `learning` chooses the best weights by."""
    loss = float(objective(Learning(one_logit=learning.one_logit), ())(logits, labels))
    chosen = choose(logits, one_logit=learning.one_logit)
    right = chosen == labels
    match learning.best_by:
        case "loss":
            value = loss
        case "accuracy":
            value = float(right.numpy().mean())
        case "balanced_accuracy":
            classes = 2 if learning.one_logit else logits.shape[1]
            value = mean_recall(confusion(labels.numpy(), chosen.numpy(), classes=classes))
    return Judgement(logits, labels, loss, right, value, wilson(int(right.sum()), len(right)))


def is_better(new: Best, old: Best | None, learning: Learning) -> bool:
    """By value; of two that are equal, by the lower loss."""
    if old is None:
        return True
    sign = -1 if learning.best_by == "loss" else 1
    return (sign * new.value, -new.loss) > (sign * old.value, -old.loss)


@dataclass(frozen=True)
class Calibrated:
    """How the logits become probabilities, and the probability from which on they are believed; None: never."""

    temperature: float = 1.0
    sure_from: float | None = None


UNCALIBRATED = Calibrated()


def calibrated(judgement: Judgement, *, one_logit: bool) -> Calibrated:
    """By the validation images themselves: see measures.calibration."""
    logits, labels = judgement.logits.numpy(), judgement.labels.numpy()
    temperature = fit_temperature(logits, labels, one_logit=one_logit)
    shares = probabilities(logits, temperature=temperature, one_logit=one_logit)
    return Calibrated(temperature, sure_from(shares.max(axis=1), shares.argmax(axis=1) == labels))
