"""Two models on the same images: what one has right and the other wrong, and how much likelier it held the truth."""

from math import comb

from pellucid.measures.bootstrap import mean
from pellucid.measures.intervals import Measured
from pellucid.measures.likelihood import Shares, losses


def mcnemar(gained: int, lost: int, *, tries: int = 1) -> float:
    """How likely a difference of this size is, among so many `tries`, where there is none: McNemar's exact test.

    Of the images about which two models differ, one has `gained` right and the other `lost`. Several tries count by
    Bonferroni's bound.
    """
    # Both tails of a fair coin's tosses; scipy.stats has it too, for a second and a half of importing.
    tail = sum(comb(gained + lost, heads) for heads in range(min(gained, lost) + 1))
    return min(1.0, float(max(1, tries) * 2 * tail / 2 ** (gained + lost)))


def difference(of_truth: Shares, others: Shares) -> Measured:
    """How much lower the log loss of the probabilities `of_truth` (N,) is than that of `others` for the same images."""
    return mean(losses(others) - losses(of_truth))
