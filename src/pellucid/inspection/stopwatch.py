"""What timings have in common: a stopwatch, and the product of matrices that says what the machine can do."""

import time
from collections.abc import Callable

ROWS = 2048  # of the square matrices of float32 whose product is the machine's peak
PRODUCT_OPERATIONS = 2 * ROWS**3


def seconds_of(compute: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    compute()
    return time.perf_counter() - began
