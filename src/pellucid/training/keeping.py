"""What a training leaves on disk as it goes: the best and the last model, each with its card and proof; checkpoints."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from pellucid.errors import UserError
from pellucid.images.preprocessing import Pixels
from pellucid.runs import proof
from pellucid.runs.card import FORMAT, Card, Result
from pellucid.runs.events import Event, Saved, now
from pellucid.runs.model_file import logits_of, save_model_file
from pellucid.runs.paired import note_tuned
from pellucid.runs.proof import Logits
from pellucid.training.job import Job
from pellucid.training.judging import UNCALIBRATED, Calibrated, Judgement, calibrated
from pellucid.training.sitting import Sitting
from pellucid.training.state import Best, Position, load_checkpoint, save_checkpoint
from pellucid.training.stepping import Stepping


class Keeper:
    """Saves what `stepping` has learned into the run's folder, where the `sitting` stands."""

    def __init__(self, job: Job, stepping: Stepping, sitting: Sitting) -> None:
        self.job, self.stepping, self.sitting = job, stepping, sitting

    def best(self, best: Best, judgement: Judgement | None = None) -> Saved:
        """Keep the weights as the best so far; without a `judgement` there was no image to measure them by."""
        one_logit = self.job.config.learning.one_logit
        if judgement is None:
            self._save(self.job.run.model)
        else:
            if best.epoch:  # epoch 0 is the probe itself
                note_tuned(self.job.run, judgement.right.tolist())
            result = Result(part="validation", measure="accuracy", **judgement.accuracy.model_dump())
            self._save(self.job.run.model, (result,), calibrated(judgement, one_logit=one_logit))
        self.sitting.move(best=best)
        return self._saved(self.job.run.model, "best")

    def last(self) -> Saved:
        """Keep the weights that training ended with."""
        self._save(self.job.run.last)
        return self._saved(self.job.run.last, "last")

    def checkpoint(self) -> None:
        """Keep all that the next sitting goes on from."""
        began = perf_counter()
        self.sitting.note_seconds()
        save_checkpoint(
            self.job.run,
            self.sitting.position,
            network=self.job.network,
            optimizer=self.stepping.optimizer,
            average=self.stepping.average,
        )
        self.sitting.saved(perf_counter() - began)

    def interrupted(self) -> Iterator[Event]:
        """Keep where training stands, and a model to look at, where there is none yet."""
        self.checkpoint()
        yield self._saved(self.job.run.checkpoint, "interrupted")
        if self.sitting.position.best is None:
            self._save(self.job.run.model)
            yield self._saved(self.job.run.model, "interrupted")
        yield self.sitting.stopped("interrupted")

    def diverged(self, problem: str) -> UserError:
        """The error for numbers that have grown beyond what can be computed with, and what there is in spite of it."""
        best, model = self.sitting.position.best, self.job.run.model
        there = "; there is no model yet"
        if best is not None:
            there = f"; {model} has the weights of epoch {best.epoch}" if best.epoch else f"; {model} is the probe"
        return UserError(problem, hint=f"train anew: a lower --rate or --learning.clip 1.0 usually helps{there}")

    def _save(self, path: Path, results: tuple[Result, ...] = (), how: Calibrated = UNCALIBRATED) -> None:
        job, one_logit, began = self.job, self.job.config.learning.one_logit, perf_counter()
        network, data = self.stepping.evaluated(), self.job.data
        card = Card(
            format=FORMAT,
            architecture=job.network.name,
            options=job.network.options,
            classes=data.classes,
            one_logit=one_logit,
            preprocessing=data.preprocessing,
            temperature=how.temperature,
            threshold=0.5 if len(data.classes) == 2 else None,
            sure_from=how.sure_from,
            provenance=job.provenance | {"epoch": self.sitting.position.epoch, "saved": now()},
            results=results,
            proof=proof.take(
                self._finite(logits_of(network, data.preprocessing)),
                classes=data.classes,
                one_logit=one_logit,
                preprocessing=data.preprocessing,
                temperature=how.temperature,
            ),
        )
        save_model_file(path, network, card)
        self.sitting.saved(perf_counter() - began)

    def _finite(self, logits: Logits) -> Logits:
        """`logits`, refused where they are no numbers: the model could not be opened again."""

        def finite(pixels: Pixels) -> Any:
            said = logits(pixels)
            if not np.isfinite(said).all():
                raise self.diverged(
                    f"with the weights after epoch {self.sitting.position.epoch} the outputs are not numbers (NaN)"
                )
            return said

        return finite

    def _saved(self, path: Path, why: str) -> Saved:
        return Saved(time=now(), epoch=self.sitting.position.epoch, file=path.name, why=why)


def restored(job: Job, stepping: Stepping) -> Position:
    """Put the run's checkpoint back into the network, its optimizer and its average; where it stands."""
    return load_checkpoint(job.run, network=job.network, optimizer=stepping.optimizer, average=stepping.average)
