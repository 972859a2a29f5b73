"""What a training is made of while it runs: its network that steps, where it stands, what is saved, the batches."""

from dataclasses import dataclass

from pellucid.features.views import Batches, Features
from pellucid.images.loading import Images, Loader
from pellucid.training.job import Job
from pellucid.training.journal import BatchJournal
from pellucid.training.keeping import Keeper, restored
from pellucid.training.schedule import Steps
from pellucid.training.sitting import Sitting
from pellucid.training.state import Position
from pellucid.training.stepping import Stepping


@dataclass(frozen=True)
class Parts:
    """What a training is made of; `train` and `validation` give batches in the order that was set last."""

    job: Job
    steps: Steps
    stepping: Stepping
    sitting: Sitting
    keeper: Keeper
    journal: BatchJournal
    train: Loader | Batches
    validation: Loader | Batches

    def close(self) -> None:
        """End the processes that decode, and leave the norms as they were made, however training ended."""
        for batches in (self.train, self.validation):
            if isinstance(batches, Loader):
                batches.close()
        self.stepping.statistics.leave()


def made(job: Job, *, resume: bool) -> Parts:
    learning, stepping = job.config.learning, Stepping(job)
    steps = Steps.of(len(job.data.train), batch=learning.batch, accumulate=learning.accumulate)
    sitting = Sitting(job, steps, restored(job, stepping) if resume else Position())
    return Parts(
        job,
        steps,
        stepping,
        sitting,
        Keeper(job, stepping, sitting),
        BatchJournal(job.config.log_every),
        *(_batches(job, images) for images in (job.data.train, job.data.validation)),
    )


def _batches(job: Job, images: Images | Features) -> Loader | Batches:
    batch = job.config.learning.batch
    if isinstance(images, Features):
        return images.batches(batch)
    return Loader(images, batch=batch, workers=job.data.workers)
