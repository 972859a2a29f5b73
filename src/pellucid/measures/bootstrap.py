"""Intervals by drawing images again: the percentiles of 1000 draws with replacement, the same ones every time.

With fewer than some 20 images per class such intervals are rather too narrow.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.measures.intervals import Measured, undefined

DRAWS = 1000
SEED = 0


def mean(values: npt.NDArray[np.floating[Any]]) -> Measured:
    """The mean of what each image has (N,), between the percentiles of its draws."""
    n = len(values)
    if n == 0:
        return undefined(0)
    values = np.sort(values)  # draws must not depend on the order of the images
    random = np.random.default_rng(SEED)
    return between(float(values.mean()), [values[random.integers(n, size=n)].mean() for _ in range(DRAWS)], n=n)


def between(value: float, draws: Sequence[float], *, n: int) -> Measured:
    """`value` between the percentiles of its D draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    # Draws of a handful of images can lie to one side of the value (average precision rises with ties).
    return Measured(value=value, low=min(value, float(low)), high=max(value, float(high)), n=n)
