"""The training loop: steps, epochs, validation, the best bundle, checkpoints. It yields events and prints nothing."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pellucid.errors import UserError
from pellucid.features.extract import Features
from pellucid.features.head import put_head
from pellucid.images.loading import Loader
from pellucid.images.preprocessing import Input
from pellucid.interruption import Interrupted, Interruption, watch
from pellucid.measures.calibration import fit_temperature, probabilities, sure_from
from pellucid.measures.intervals import Measured, wilson
from pellucid.runs import probe
from pellucid.runs.bundle import logits_of, save_bundle
from pellucid.runs.card import FORMAT, Card, Result
from pellucid.runs.events import Epoch, Event, Failed, HeadSolved, Progress, Saved, Stopped, Validated, now
from pellucid.runs.paired import compared, note_tuned
from pellucid.runs.probe import Logits
from pellucid.training.config import Learning
from pellucid.training.job import Job, Start
from pellucid.training.journal import BatchJournal
from pellucid.training.objective import choose, objective
from pellucid.training.pace import Pace
from pellucid.training.schedule import rate_at
from pellucid.training.state import Best, Position, Sums, load_checkpoint, save_checkpoint
from pellucid.training.stepping import Learned, Stepping


def fit(job: Job, *, resume: bool = False, start: Start | None = None) -> Iterator[Event]:
    """Train to the end, or until Ctrl-C. The best weights so far are always in the run folder as a whole bundle."""
    trainer = _Trainer(job)
    if resume:
        trainer.restore()
    try:
        with watch() as interruption:
            if start:
                yield from trainer.begin(start)
            yield from trainer.solve() if job.config.learning.optimizer == "solve" else trainer.run(interruption)
    except Exception as cause:
        problem = cause.problem if isinstance(cause, UserError) else str(cause) or type(cause).__name__
        yield Failed(time=now(), epoch=trainer.position.epoch, problem=problem)
        raise
    finally:
        trainer.close()


class _Trainer:
    """Holds together what changes while training goes on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        learning = job.config.learning
        self.stepping = Stepping(job)
        # Batch norm cannot learn from a single image, so one that would be left over sits this epoch out.
        self.images = len(job.train) - (len(job.train) % learning.batch == 1)
        self.batches = -(-self.images // learning.batch)
        self.steps = -(-self.batches // learning.accumulate)
        self.train, self.validation = (
            images.batches(learning.batch)
            if isinstance(images, Features)
            else Loader(images, batch=learning.batch, workers=job.workers)
            for images in (job.train, job.validation)
        )
        self.journal = BatchJournal(job.config.log_every)
        self.position = Position()
        self.pace = Pace(job.deadline, validation=job.validation_seconds)
        self.epochs = 0 if job.most_epochs == 0 else job.epochs  # fewer or more, as a deadline has it
        self.began = perf_counter()

    def close(self) -> None:
        """End the processes that decode, and leave the norms as they were made, however training ended."""
        for batches in (self.train, self.validation):
            if isinstance(batches, Loader):
                batches.close()
        self.stepping.statistics.leave()

    def restore(self) -> None:
        self.position = load_checkpoint(
            self.job.run,
            network=self.job.network,
            optimizer=self.stepping.optimizer,
            average=self.stepping.average,
        )

    def run(self, interruption: Interruption) -> Iterator[Event]:
        learning = self.job.config.learning
        why = "finished" if self.epochs else "budget"
        while self.position.epoch < self.epochs and not self.position.ended:
            yield from self.epoch(interruption)
            if interruption.asked:
                yield from self.interrupted()
                return
            if self.position.batch:  # the deadline came first
                why = "budget"
                if self.position.best:  # which may be better than what is half done
                    break
                yield self.finish_epoch()
                self.epochs = self.position.epoch
            if len(self.job.validation):
                yield from self.validate()
            else:
                yield self.save_best(Best(epoch=self.position.epoch, value=0.0, loss=0.0), (), None)
            if learning.patience and self.position.stale >= learning.patience:
                self.move(ended=True)
                why = "early"
            more = self.pace.epochs_that_fit(batches=self.batches, validated=len(self.job.validation) > 0)
            if more is not None:
                most = self.job.most_epochs or self.job.epochs
                self.epochs = min(most, self.position.epoch + more)
                why = "budget" if self.position.epoch == self.epochs < most else why
            self.checkpoint()
            if interruption.asked and self.position.epoch < self.epochs:
                yield from self.interrupted()
                return
            if self.job.more_views and self.position.epoch < self.epochs and not self.pace.late:
                try:
                    yield from self.job.more_views(self.position.epoch)
                except Interrupted:
                    yield from self.interrupted()
                    return
        if self.position.best is None:  # a probe alone, and no image to measure it by
            yield self.save_best(Best(epoch=self.position.epoch, value=0.0, loss=0.0), (), None)
        self.save_bundle(self.job.run.last, self.stepping.evaluated(), (), 1.0, None)
        yield self.saved(self.job.run.last.name, "last")
        best = self.position.best
        if best and (found := compared(self.job.run, kept=best.epoch, epochs=self.position.epoch)):
            yield found
        yield self.stopped(why)

    def begin(self, start: Start) -> Iterator[Event]:
        """The probe is the best model until fine-tuning makes a better one."""
        best, accuracy = self.judge(start.logits, start.labels)
        yield from self.judged(best, accuracy, start.logits, start.labels, seconds=0.0)

    def solve(self) -> Iterator[Event]:
        """The best head there is for the training features, in the place of epochs."""
        job, learning = self.job, self.job.config.learning
        assert job.halves is not None and isinstance(job.train, Features)
        began = perf_counter()
        views = len(job.train.views)
        features = np.concatenate([job.train.view(number) for number in range(views)])
        labels = np.tile(job.train_labels, views)
        solved = job.solved(features, views=views)
        put_head(job.network, solved, one_logit=learning.one_logit)
        job.network.eval()
        with torch.inference_mode():
            logits = job.halves.rest(torch.from_numpy(features).to(job.hardware.device)).float().cpu()
        targets = torch.from_numpy(labels)
        loss = float(objective(Learning(one_logit=learning.one_logit), ())(logits, targets))
        right = int((choose(logits, one_logit=learning.one_logit) == targets)[: len(job.train)].sum())
        took = perf_counter() - began
        self.move(epoch=1)
        self.spend(computing=took)
        yield Epoch(
            time=now(),
            epoch=1,
            loss=loss,
            accuracy=wilson(right, len(job.train)),
            rate=0.0,
            images_per_second=len(job.train) / max(1e-9, took),
            seconds_waiting=0.0,
            seconds_computing=took,
        )
        yield HeadSolved(time=now(), strength=solved.strength, tried=solved.strengths, views=views, seconds=took)
        if len(job.validation):
            yield from self.validate()
        else:
            yield self.save_best(Best(epoch=1, value=0.0, loss=0.0), (), None)
        self.move(ended=True)
        self.checkpoint()
        self.save_bundle(job.run.last, self.stepping.evaluated(), (), 1.0, None)
        yield self.saved(job.run.last.name, "last")
        yield self.stopped("finished")

    def epoch(self, interruption: Interruption) -> Iterator[Event]:
        """The rest of the current epoch; stops at a whole step when a stop was asked for."""
        job, learning, epoch = self.job, self.job.config.learning, self.position.epoch
        self.job.frozen.set_training(self.job.network, epoch=epoch)
        rest = job.order(epoch)[self.position.batch * learning.batch : self.images]
        job.train.show(epoch=epoch, order=rest.tolist())
        asked = perf_counter()
        for batch, (images, labels) in enumerate(self.stepping.batches(self.train), start=self.position.batch):
            got = perf_counter()
            learned = self.step(batch, images, labels)
            done = perf_counter()
            sums = self.position.sums
            self.move(
                batch=batch + 1,
                sums=Sums(
                    images=sums.images + len(labels),
                    right=sums.right + learned.right,
                    loss=sums.loss + learned.loss * len(labels),
                    auxiliary=sums.auxiliary + (learned.auxiliary or 0.0) * len(labels),
                    waiting=sums.waiting + got - asked,
                    computing=sums.computing + done - got,
                ),
            )
            self.spend(waiting=got - asked, computing=done - got)
            self.pace.step(done - asked)
            yield from self.journal.add(learned.loss, epoch=epoch + 1, batch=batch + 1, batches=self.batches)
            yield self.progress("train", batch + 1, self.batches, learned.loss)
            asked = perf_counter()
            if (interruption.asked or self.pace.late) and self.at_whole_step(batch) and batch + 1 < self.batches:
                yield from self.journal.rest(epoch=epoch + 1, batches=self.batches)
                return
        yield self.finish_epoch()

    def step(self, batch: int, images: Tensor, labels: Tensor) -> Learned:
        """One batch forward and back, and the optimiser's step where a whole step is full."""
        learning, position = self.job.config.learning, self.position
        seed = self.job.batch_seed(position.epoch, batch)
        window = min(learning.accumulate, self.batches - batch // learning.accumulate * learning.accumulate)
        learned = self.stepping.learn(images, labels, seed=seed, window=window)
        whole = learned.loss + (learned.auxiliary or 0.0)
        if not np.isfinite(whole):
            raise self.diverged(f"the loss became {whole} in epoch {position.epoch + 1}, batch {batch + 1}")
        if self.at_whole_step(batch):
            rate = rate_at(self.schedule, step=position.step, steps_per_epoch=self.steps)
            if not np.isfinite(rate):
                raise self.diverged(f"the rate became {rate} in epoch {position.epoch + 1}: its schedule has no bounds")
            self.stepping.step(rate)
            self.move(step=position.step + 1)
        return learned

    def diverged(self, problem: str) -> UserError:
        """The error for numbers that have grown beyond what can be computed with, and what there is in spite of it."""
        best, model = self.position.best, self.job.run.model
        kept = "; there is no model yet"
        if best is not None:
            kept = f"; {model} has the weights of epoch {best.epoch}" if best.epoch else f"; {model} is the probe"
        return UserError(problem, hint=f"train anew: a lower --rate or --learning.clip 1.0 usually helps{kept}")

    @property
    def schedule(self) -> Learning:
        """Settings whose schedule ends with the epochs that there is time for."""
        return self.job.config.learning.model_copy(update={"epochs": self.epochs})

    def at_whole_step(self, batch: int) -> bool:
        return (batch + 1) % self.job.config.learning.accumulate == 0 or batch + 1 == self.batches

    def finish_epoch(self) -> Epoch:
        sums, step = self.position.sums, self.position.step
        self.move(epoch=self.position.epoch + 1, batch=0, sums=Sums())
        return Epoch(
            time=now(),
            epoch=self.position.epoch,
            loss=sums.loss / sums.images,
            auxiliary_loss=sums.auxiliary / sums.images if self.job.network.head_names else None,
            accuracy=wilson(sums.right, sums.images),
            rate=rate_at(self.schedule, step=step - 1, steps_per_epoch=self.steps),
            images_per_second=sums.images / max(1e-9, sums.waiting + sums.computing),
            seconds_waiting=sums.waiting,
            seconds_computing=sums.computing,
        )

    def validate(self) -> Iterator[Event]:
        """Measure the weights (their moving average, with ema) on the validation part; keep them if they are best."""
        job, learning, began = self.job, self.job.config.learning, perf_counter()
        network = self.stepping.measured()
        gathered: list[tuple[Tensor, Tensor]] = []
        total = -(-len(job.validation) // learning.batch)
        for batch, (images, labels) in enumerate(self.stepping.batches(self.validation), start=1):
            gathered.append((self.stepping.logits(network, images).cpu(), labels.cpu()))
            yield self.progress("validation", batch, total, 0.0)
        logits, labels = (torch.cat(column) for column in zip(*gathered, strict=True))
        best, accuracy = self.judge(logits, labels)
        seconds = perf_counter() - began
        self.pace.validation(seconds)
        self.spend(validating=seconds)
        yield from self.judged(best, accuracy, logits, labels, seconds=seconds)

    def judged(
        self, best: Best, accuracy: Measured, logits: Tensor, labels: Tensor, *, seconds: float
    ) -> Iterator[Event]:
        """Tell of a validation, and keep the weights where they are the best so far."""
        better = _better(best, self.position.best, self.job.config.learning)
        self.move(stale=0 if better else self.position.stale + 1)
        yield Validated(
            time=now(),
            epoch=self.position.epoch,
            loss=best.loss,
            accuracy=accuracy,
            measure=self.job.config.learning.best_by,
            value=best.value,
            best=better,
            seconds=seconds,
            seconds_left=self.seconds_left(),
        )
        if better:
            if best.epoch:
                right = choose(logits, one_logit=self.job.config.learning.one_logit) == labels
                note_tuned(self.job.run, right.tolist())
            result = Result(part="validation", measure="accuracy", **accuracy.model_dump())
            yield self.save_best(best, (result,), (logits.numpy(), labels.numpy()))

    def judge(self, logits: Tensor, labels: Tensor) -> tuple[Best, Measured]:
        """The value by which weights are chosen, with plain loss (no smoothing, no class weights) and accuracy.

        Raises UserError where the network gives no numbers: such weights are never the best, nor do they recover.
        """
        learning = self.job.config.learning
        loss = float(objective(Learning(one_logit=learning.one_logit), ())(logits, labels))
        if not (torch.isfinite(logits).all() and np.isfinite(loss)):
            where = f"after epoch {self.position.epoch}"
            raise self.diverged(f"what the network says of the validation images {where} is no number")
        right = (choose(logits, one_logit=learning.one_logit) == labels).numpy()
        recalls = [right[labels.numpy() == index].mean() for index in np.unique(labels.numpy())]
        value = {"accuracy": right.mean(), "balanced_accuracy": np.mean(recalls), "loss": loss}[learning.best_by]
        best = Best(epoch=self.position.epoch, value=float(value), loss=loss)
        return best, wilson(int(right.sum()), len(right))

    def save_best(
        self,
        best: Best,
        results: tuple[Result, ...],
        measured: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]] | None,
        why: str = "best",
    ) -> Saved:
        temperature, sure = 1.0, None
        if measured is not None:
            logits, labels = measured
            one_logit = self.job.config.learning.one_logit
            temperature = fit_temperature(logits, labels, one_logit=one_logit)
            shares = probabilities(logits, temperature=temperature, one_logit=one_logit)
            sure = sure_from(shares.max(axis=1), shares.argmax(axis=1) == labels)
        self.save_bundle(self.job.run.model, self.stepping.evaluated(), results, temperature, sure)
        self.move(best=best)
        return self.saved(self.job.run.model.name, why)

    def save_bundle(
        self, path: Any, network: nn.Module, results: tuple[Result, ...], temperature: float, sure: float | None
    ) -> None:
        job, one_logit, began = self.job, self.job.config.learning.one_logit, perf_counter()
        card = Card(
            format=FORMAT,
            architecture=job.network.name,
            options=job.network.options,
            classes=job.classes,
            one_logit=one_logit,
            preprocessing=job.preprocessing,
            temperature=temperature,
            threshold=0.5 if len(job.classes) == 2 else None,
            sure_from=sure,
            provenance=job.provenance | {"epoch": self.position.epoch, "saved": now()},
            results=results,
            probe=probe.take(
                self.proved(logits_of(network, job.preprocessing)),
                classes=job.classes,
                one_logit=one_logit,
                preprocessing=job.preprocessing,
                temperature=temperature,
            ),
        )
        save_bundle(path, network, card)
        self.spend(saving=perf_counter() - began)
        self.pace.saving(perf_counter() - began)

    def proved(self, logits: Logits) -> Logits:
        """`logits`, refused where they are no numbers: the model could not be opened again."""

        def finite(inputs: Input) -> Input:
            said = logits(inputs)
            if not np.isfinite(said).all():
                raise self.diverged(f"the weights after epoch {self.position.epoch} give no numbers")
            return said

        return finite

    def interrupted(self) -> Iterator[Event]:
        self.checkpoint()
        yield self.saved(self.job.run.checkpoint.name, "interrupted")
        if self.position.best is None:
            self.save_bundle(self.job.run.model, self.stepping.evaluated(), (), 1.0, None)
            yield self.saved(self.job.run.model.name, "interrupted")
        yield self.stopped("interrupted")

    def checkpoint(self) -> None:
        began = perf_counter()
        self.move(seconds=self.position.seconds + began - self.began)
        self.began = began
        save_checkpoint(
            self.job.run,
            self.position,
            network=self.job.network,
            optimizer=self.stepping.optimizer,
            average=self.stepping.average,
        )
        self.spend(saving=perf_counter() - began)
        self.pace.saving(perf_counter() - began)

    def spend(self, **seconds: float) -> None:
        before = self.position.spent
        after = {part: getattr(before, part) + more for part, more in seconds.items()}
        self.move(spent=before.model_copy(update=after))

    def move(self, **changes: Any) -> None:
        self.position = self.position.model_copy(update=changes)

    def seconds_left(self) -> float | None:
        epochs = self.epochs - self.position.epoch
        return self.pace.left(
            batches=epochs * self.batches - self.position.batch, validations=epochs if len(self.job.validation) else 0
        )

    def progress(self, phase: Any, step: int, steps: int, loss: float) -> Progress:
        sums = self.position.sums
        return Progress(
            phase=phase,
            epoch=self.position.epoch + (phase == "train"),
            epochs=self.epochs,
            step=step,
            steps=steps,
            loss=loss,
            mean_loss=sums.loss / sums.images if sums.images else 0.0,
            images_per_second=sums.images / max(1e-9, sums.waiting + sums.computing),
            seconds_left=self.seconds_left(),
        )

    def saved(self, file: str, why: str) -> Saved:
        return Saved(time=now(), epoch=self.position.epoch, file=file, why=why)

    def stopped(self, why: Any) -> Stopped:
        best = self.position.best
        return Stopped(
            time=now(),
            epoch=self.position.epoch,
            why=why,
            best_epoch=None if best is None else best.epoch,
            seconds=self.position.seconds + perf_counter() - self.began,
            spent=self.position.spent,
        )


def _better(new: Best, old: Best | None, learning: Learning) -> bool:
    if old is None:
        return True
    sign = -1 if learning.best_by == "loss" else 1
    return (sign * new.value, -new.loss) > (sign * old.value, -old.loss)
