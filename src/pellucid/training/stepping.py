"""Steps of training: a batch gets to the device, its loss and gradients, the optimiser's turn; what is measured."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pellucid.images.augmentation import mix
from pellucid.images.loading import prepare
from pellucid.images.preprocessing import averaged
from pellucid.networks.cut import halves
from pellucid.networks.network import Network
from pellucid.networks.quick import quick_to_train
from pellucid.training.config import Learning
from pellucid.training.job import Job
from pellucid.training.objective import choose, objective
from pellucid.training.optimizers import SGD, AdamW, Optimizer
from pellucid.training.statistics import Statistics
from pellucid.training.transfer import parameter_groups


@dataclass(frozen=True)
class Loss:
    """Of a batch. `main`: of the logits; `auxiliary`: the mean over the auxiliary heads, None without any; `whole`: the
    main loss and each head's by its weight, which is minimised.
    """

    main: Tensor
    auxiliary: Tensor | None
    whole: Tensor


@dataclass(frozen=True)
class Learned:
    """What came of one batch: its losses as numbers, and how many of its images were right."""

    loss: float
    auxiliary: float | None
    right: int


class Stepping:
    """The network that learns (or what of it comes after kept features), its optimiser and its moving average."""

    def __init__(self, job: Job) -> None:
        self.job, learning = job, job.config.learning
        network = job.halves.rest if job.halves else job.network
        quick_to_train(network)
        self.network = job.hardware.to(network)
        self.optimizer = make_optimizer(job.network, learning)
        self.average = (
            AveragedModel(job.network, multi_avg_fn=averaging(learning.ema), use_buffers=True) if learning.ema else None
        )
        self.statistics = Statistics(job.network, job.fresh_norms)
        counts = np.bincount(job.data.labels, minlength=len(job.data.classes))
        self.objective = objective(learning, counts.tolist())

    def batches(self, loaded: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (or features) and labels on the device: the one place where what enters a step gets there."""
        device, preprocessing = self.job.hardware.device, self.job.data.preprocessing
        for given, labels, _ in loaded:
            inputs = given.to(device) if self.job.halves else prepare(given, device, preprocessing)
            yield _laid_out(inputs), labels.to(device)

    def loss(self, images: Tensor, labels: Tensor, *, seed: int) -> tuple[Loss, Tensor, Tensor]:
        """The loss of a batch from `batches`, its logits (N, classes), and its targets: classes (N,), or their shares.

        `seed` decides dropout and mixing.
        """
        job, learning = self.job, self.job.config.learning
        torch.manual_seed(seed)
        images, targets = mix(images, labels, job.config.augmentation, classes=len(job.data.classes), seed=seed)
        logits, *heads = job.hardware.forward(self.network.with_heads, _laid_out(images))
        main = self.objective(logits.float(), targets)
        beside = [self.objective(head.float(), targets) for head in heads]
        whole = main + learning.auxiliary_weight * sum(beside) if beside else main
        auxiliary = torch.stack(beside).mean() if beside else None
        return Loss(main, auxiliary, whole), logits, targets

    def learn(self, images: Tensor, labels: Tensor, *, seed: int, window: int) -> Learned:
        """One batch of a step's `window`, forward and back.

        A loss may be no number; then no gradient is to be believed.
        """
        loss, logits, targets = self.loss(images, labels, seed=seed)
        (loss.whole / window).backward()
        truth = targets.argmax(dim=1) if targets.ndim == 2 else targets
        right = choose(logits, one_logit=self.job.config.learning.one_logit) == truth
        beside = None if loss.auxiliary is None else loss.auxiliary.item()
        return Learned(loss.main.item(), beside, int(right.sum()))

    def step(self, rate: float) -> None:
        """Move the weights by what the gradients since the last step say."""
        clip = self.job.config.learning.clip
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        if clip:
            # Gradients that are no numbers make weights that are none, which the next loss tells in words.
            nn.utils.clip_grad_norm_(list(self.optimizer.parameters()), clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.job.network)

    def evaluated(self) -> nn.Module:
        """The network whose weights are measured and saved."""
        return self.job.network if self.average is None else self.average.module

    def measured(self) -> nn.Module:
        """What computes the logits of a validation batch, in evaluation mode."""
        if self.job.halves is None:
            return self.evaluated().eval()
        if self.average is None:
            return self.job.halves.rest.eval()
        cut = halves(self.average.module, self.job.train_from)
        assert cut is not None  # as the network was
        return cut.rest.eval()

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """What `measured` says of a batch from `batches`, computed in float32 as a model is used: float32 (N, classes).

        In bfloat16 an image or two in a hundred were said otherwise, and a report had two accuracies for one model.
        """
        job = self.job
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            said = network(images) if job.halves else averaged(network, images, job.data.preprocessing)
        return said.float()


def _laid_out(inputs: Tensor) -> Tensor:
    """Maps with their channels last, which is how they are computed fastest."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def averaging(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """A moving average for AveragedModel that keeps min(decay, (1 + t) / (10 + t)) of itself after t steps.

    As TensorFlow's, told the number of updates: with 0.9999 all the time, the average of a short training would still
    be its first, nearly random, weights (decisions/0018).
    """

    def average(kept: Any, now: Any, steps: Tensor | int) -> None:
        done = int(steps)
        get_ema_multi_avg_fn(min(decay, (1 + done) / (10 + done)))(kept, now, steps)

    return average


def make_optimizer(network: Network, learning: Learning) -> Optimizer:
    groups = parameter_groups(
        network,
        weight_decay=learning.weight_decay,
        decay_norms=learning.decay_norms,
        input_rate=learning.input_rate,
    )
    if learning.optimizer == "sgd":
        return SGD(groups, rate=learning.rate, momentum=learning.momentum, nesterov=learning.nesterov)
    return AdamW(groups, rate=learning.rate)
