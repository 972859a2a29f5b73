"""The head of a probe, computed in the place of epochs."""

from collections.abc import Iterator
from time import perf_counter

import numpy as np
import torch

from pellucid.features.head import put_head
from pellucid.features.views import Features
from pellucid.measures.intervals import wilson
from pellucid.runs.events import Epoch, Event, HeadSolved, now
from pellucid.training.config import Learning
from pellucid.training.objective import choose, objective
from pellucid.training.parts import Parts
from pellucid.training.validation import validate


def solve(parts: Parts) -> Iterator[Event]:
    """The best head there is for the training features, in the place of epochs."""
    job, sitting, data = parts.job, parts.sitting, parts.job.data
    assert job.halves is not None and isinstance(data.train, Features)
    one_logit, began = job.config.learning.one_logit, perf_counter()
    views = len(data.train.views)
    features = np.concatenate([data.train.view(number) for number in range(views)])
    solved = job.solved(features, views=views)
    put_head(job.network, solved, one_logit=one_logit)
    job.network.eval()
    with torch.inference_mode():
        logits = job.halves.rest(torch.from_numpy(features).to(job.hardware.device)).float().cpu()
    targets = torch.from_numpy(np.tile(data.labels, views))
    loss = float(objective(Learning(one_logit=one_logit), ())(logits, targets))
    right = int((choose(logits, one_logit=one_logit) == targets)[: len(data.train)].sum())
    took = perf_counter() - began
    sitting.move(epoch=1)
    sitting.spend(computing=took)
    yield Epoch(
        time=now(),
        epoch=1,
        loss=loss,
        accuracy=wilson(right, len(data.train)),
        rate=0.0,
        images_per_second=len(data.train) / max(1e-9, took),
        seconds_waiting=0.0,
        seconds_computing=took,
    )
    yield HeadSolved(time=now(), strength=solved.strength, tried=solved.strengths, views=views, seconds=took)
    yield from validate(parts)
    sitting.move(ended=True)
    parts.keeper.checkpoint()
    yield parts.keeper.last()
    yield sitting.stopped("finished")
