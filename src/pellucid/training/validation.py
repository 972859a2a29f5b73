"""A validation: the weights measured on the validation part, told, and kept where they are the best so far."""

from collections.abc import Iterator
from time import perf_counter

import torch
from torch import Tensor

from pellucid.runs.events import Event, Validated, now
from pellucid.training.judging import is_better, judge
from pellucid.training.parts import Parts
from pellucid.training.sitting import Sitting
from pellucid.training.state import Best


def validate(parts: Parts) -> Iterator[Event]:
    """Measure the weights (their moving average, with ema) on the validation part; keep them if they are best."""
    job, stepping, sitting, began = parts.job, parts.stepping, parts.sitting, perf_counter()
    if not len(job.data.validation):
        yield parts.keeper.best(unmeasured(sitting))
        return
    network, said, truth = stepping.measured(), list[Tensor](), list[Tensor]()
    total = -(-len(job.data.validation) // parts.steps.batch)
    for batch, (images, labels) in enumerate(stepping.batches(parts.validation), start=1):
        said.append(stepping.logits(network, images).cpu())
        truth.append(labels.cpu())
        yield sitting.progress("validation", batch, steps=total)
    yield from judged(parts, torch.cat(said), torch.cat(truth), began=began)


def judged(parts: Parts, logits: Tensor, labels: Tensor, *, began: float | None) -> Iterator[Event]:
    """Tell of a validation that `began` at that moment, and keep the weights where they are the best so far."""
    sitting, learning = parts.sitting, parts.job.config.learning
    judgement, epoch = judge(logits, labels, learning), sitting.position.epoch
    if not judgement.finite:
        raise parts.keeper.diverged(
            f"the outputs of the network for the validation images are not numbers (NaN) after epoch {epoch}"
        )
    seconds = 0.0 if began is None else perf_counter() - began
    if began is not None:
        sitting.pace.validation(seconds)
        sitting.spend(validating=seconds)
    best = Best(epoch=epoch, value=judgement.value, loss=judgement.loss)
    better = is_better(best, sitting.position.best, learning)
    sitting.move(stale=0 if better else sitting.position.stale + 1)
    yield Validated(
        time=now(),
        epoch=epoch,
        loss=judgement.loss,
        accuracy=judgement.accuracy,
        measure=learning.best_by,
        value=judgement.value,
        best=better,
        seconds=seconds,
        seconds_left=sitting.seconds_left(),
    )
    if better:
        yield parts.keeper.best(best, judgement)


def unmeasured(sitting: Sitting) -> Best:
    """The weights as they are, where no image says what they are worth."""
    return Best(epoch=sitting.position.epoch, value=0.0, loss=0.0)
