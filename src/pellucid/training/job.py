"""All that a training needs, ready to run: what `train` makes, `with_features` changes and `fit` uses."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pellucid.features.head import Solved, solve_head
from pellucid.features.views import Features
from pellucid.images.loading import Images, epoch_order
from pellucid.images.preprocessing import Preprocessing
from pellucid.networks.cut import Halves
from pellucid.networks.network import Network
from pellucid.runs.events import Event, Started, now
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Config
from pellucid.training.machine import Hardware
from pellucid.training.transfer import Frozen


class Growing(Protocol):
    """Features of which there come to be more views as epochs go by."""

    def grow(self, epoch: int) -> Iterator[Event]:
        """See to it that there are as many as after that many epochs. Raises Interrupted."""
        ...


@dataclass(frozen=True)
class Data:
    """What is learned from, and what it is measured on; `labels` (N,) are of the training images, in order.

    Features may take the place of images; `views` are those that grow. `workers` are the processes that decode.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    train: Images | Features
    validation: Images | Features
    labels: npt.NDArray[np.int64]
    workers: int
    views: Growing | None = None


@dataclass(frozen=True)
class Limits:
    """What a budget allows. Moments are of perf_counter: the end, and the one after which no view is added.

    `validation_seconds` are those that one is expected to take; `most_epochs` is more than planned, where the deadline
    leaves time, and 0 where the probe is all there is.
    """

    deadline: float | None = None
    validation_seconds: float | None = None
    views_until: float | None = None
    most_epochs: int | None = None


@dataclass(frozen=True)
class Job:
    """A training as it is about to be done. `halves` is where features take the place of images.

    `fresh_norms` are those whose running statistics were of no image when the run began.
    """

    config: Config
    run: RunFolder
    provenance: dict[str, Any]
    network: Network
    frozen: Frozen
    halves: Halves | None
    data: Data
    hardware: Hardware
    fresh_norms: tuple[str, ...] = ()
    limits: Limits = Limits()

    def solved(self, features: npt.NDArray[np.floating[Any]], *, views: int = 1) -> Solved:
        """The best head for the features of the training images, of all their views one after the other."""
        learning = self.config.learning
        return solve_head(
            features.reshape(len(features), -1),
            np.tile(self.data.labels, views),
            classes=len(self.data.classes),
            images=np.tile(np.arange(len(self.data.labels)), views),
            class_weights=learning.class_weights or learning.balanced_sampling,
            smoothing=learning.label_smoothing,
            seed=self.config.seed,
        )

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The training images by their place, as the epoch after so many learns from them."""
        counts = np.bincount(self.data.labels, minlength=len(self.data.classes))
        weights = (1 / counts[self.data.labels]).tolist() if self.config.learning.balanced_sampling else None
        return epoch_order(len(self.data.train), seed=self.config.seed, epoch=epoch, weights=weights)

    def batch_seed(self, epoch: int, batch: int) -> int:
        """What dropout and mixing are drawn by."""
        return int(np.random.SeedSequence((self.config.seed, epoch, batch)).generate_state(1)[0])

    @property
    def train_from(self) -> str:
        """The first end point that is trained, where some are not."""
        return "Logits" if self.config.mode == "probe" else self.config.train_from or ""

    @property
    def epochs(self) -> int:
        """How many there are to be; solving the head takes the place of one."""
        return 1 if self.config.learning.optimizer == "solve" else self.config.learning.epochs


def started(job: Job, *, epoch: int) -> Started:
    """What is about to be trained, after `epoch` full epochs."""
    parameters = list(job.network.parameters())
    still = {id(module) for module in job.frozen.modules}
    norms = [norm for norm in map(job.network.get_submodule, job.fresh_norms) if id(norm) not in still]
    return Started(
        time=now(),
        run=str(job.run.path),
        epoch=epoch,
        epochs=job.epochs,
        train_images=len(job.data.train),
        validation_images=len(job.data.validation),
        parameters=sum(parameter.numel() for parameter in parameters),
        trained_parameters=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        device=str(job.hardware.device),
        precision=job.hardware.precision,
        workers=job.data.workers,
        heads=len(job.network.head_names),
        head_weight=job.config.learning.auxiliary_weight,
        fresh_norms=len(norms),
        norms_keep=round(1 - min(norm.momentum for norm in norms), 9) if norms else None,
    )


@dataclass(frozen=True)
class Start:
    """What the network says of the validation images before it is fine-tuned, its head solved."""

    logits: Tensor
    labels: Tensor
