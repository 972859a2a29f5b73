"""How likely the true classes were held to be: log loss, alone and against another model's. N counts images."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.measures.bootstrap import mean
from pellucid.measures.intervals import Measured

Shares = npt.NDArray[np.floating[Any]]  # probabilities


def log_loss(of_truth: Shares) -> Measured:
    """The mean of -ln of the probability (N,) that each image's true class was given; 0 counts as 2e-16."""
    return mean(losses(of_truth))


def losses(of_truth: Shares) -> Shares:
    return -np.log(np.clip(np.asarray(of_truth, dtype=np.float64), np.finfo(np.float64).eps, 1.0))
