"""The story of a training: epochs of steps, a validation after each, the best weights kept; all of it told as events.

What a step is stands in stepping.py, what a validation says in validation.py and judging.py, what is saved in
keeping.py, and where the training stands, in sitting.py. Nothing here prints.
"""

from collections.abc import Iterator
from time import perf_counter

import numpy as np
from torch import Tensor

from pellucid.errors import UserError
from pellucid.interruption import Interrupted, Interruption, watch
from pellucid.runs.events import Event, Failed, now
from pellucid.runs.paired import compared
from pellucid.training.job import Job, Start
from pellucid.training.parts import Parts, made
from pellucid.training.solving import solve
from pellucid.training.stepping import Learned
from pellucid.training.validation import judged, unmeasured, validate


def fit(job: Job, *, resume: bool = False, start: Start | None = None) -> Iterator[Event]:
    """Train to the end, or until Ctrl-C. The best weights so far are always in the run folder as a whole model."""
    parts = made(job, resume=resume)
    try:
        with watch() as interruption:
            if start:  # the probe is the best model until fine-tuning makes a better one
                yield from judged(parts, start.logits, start.labels, began=None)
            yield from solve(parts) if job.config.learning.optimizer == "solve" else _epochs(parts, interruption)
    except Exception as cause:
        problem = cause.problem if isinstance(cause, UserError) else str(cause) or type(cause).__name__
        yield Failed(time=now(), epoch=parts.sitting.position.epoch, problem=problem)
        raise
    finally:
        parts.close()


def _epochs(parts: Parts, interruption: Interruption) -> Iterator[Event]:
    """Epoch after epoch, until there are enough, none gets better, or the time is up."""
    job, sitting, keeper = parts.job, parts.sitting, parts.keeper
    why = "finished" if sitting.epochs else "budget"
    while sitting.position.epoch < sitting.epochs and not sitting.position.ended:
        yield from _epoch(parts, interruption)
        if interruption.asked:
            yield from keeper.interrupted()
            return
        if sitting.position.batch:  # the deadline came first
            why = "budget"
            if sitting.position.best:  # which may be better than what is half done
                break
            yield sitting.epoch_ended()
            sitting.epochs = sitting.position.epoch
        yield from validate(parts)
        patience = job.config.learning.patience
        if patience and sitting.position.stale >= patience:
            sitting.move(ended=True)
            why = "early"
        if sitting.plan():
            why = "budget"
        keeper.checkpoint()
        if interruption.asked and sitting.position.epoch < sitting.epochs:
            yield from keeper.interrupted()
            return
        if job.data.views and sitting.position.epoch < sitting.epochs and not sitting.pace.late:
            try:
                yield from job.data.views.grow(sitting.position.epoch)
            except Interrupted:
                yield from keeper.interrupted()
                return
    if sitting.position.best is None:  # a probe alone, and no image to measure it by
        yield keeper.best(unmeasured(sitting))
    yield keeper.last()
    best = sitting.position.best
    if best and (found := compared(job.run, kept=best.epoch, epochs=sitting.position.epoch)):
        yield found
    yield sitting.stopped(why)


def _epoch(parts: Parts, interruption: Interruption) -> Iterator[Event]:
    """The rest of the current epoch; stops at a whole step when a stop was asked for, or the time is up."""
    job, steps, sitting, journal = parts.job, parts.steps, parts.sitting, parts.journal
    epoch, first = sitting.position.epoch, sitting.position.batch
    job.frozen.set_training(job.network, epoch=epoch)
    order = job.order(epoch)[first * steps.batch : steps.images]
    job.data.train.show(epoch=epoch, order=order.tolist())
    asked = perf_counter()
    for batch, (images, labels) in enumerate(parts.stepping.batches(parts.train), start=first):
        got = perf_counter()
        learned = _step(parts, batch, images, labels)
        sitting.learned(learned, images=len(labels), waiting=got - asked, computing=perf_counter() - got)
        yield from journal.add(learned.loss, epoch=epoch + 1, batch=batch + 1, batches=steps.batches)
        yield sitting.progress("train", batch + 1, steps=steps.batches, loss=learned.loss)
        asked = perf_counter()
        if (interruption.asked or sitting.pace.late) and steps.ends_at(batch) and batch + 1 < steps.batches:
            yield from journal.rest(epoch=epoch + 1, batches=steps.batches)
            return
    yield sitting.epoch_ended()


def _step(parts: Parts, batch: int, images: Tensor, labels: Tensor) -> Learned:
    """One batch forward and back, and the optimiser's step where a whole step is full."""
    steps, sitting = parts.steps, parts.sitting
    epoch = sitting.position.epoch
    learned = parts.stepping.learn(images, labels, seed=parts.job.batch_seed(epoch, batch), window=steps.window(batch))
    whole = learned.loss + (learned.auxiliary or 0.0)
    if not np.isfinite(whole):
        raise parts.keeper.diverged(f"the loss became {whole} in epoch {epoch + 1}, batch {batch + 1}")
    if steps.ends_at(batch):
        rate = sitting.rate
        if not np.isfinite(rate):
            raise parts.keeper.diverged(
                f"the learning rate became {rate} in epoch {epoch + 1}: its schedule has no bounds"
            )
        parts.stepping.step(rate)
        sitting.move(step=sitting.position.step + 1)
    return learned
