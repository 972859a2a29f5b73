"""What a network sees of the first training images: exactly the pixels that its first step learns from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pellucid.features.views import chosen_views
from pellucid.images.augmentation import mix
from pellucid.images.loading import Images
from pellucid.images.manifest import Split
from pellucid.images.preprocessing import normalise, unnormalised
from pellucid.names import shown
from pellucid.runs.first_batch import FirstBatch, Shown
from pellucid.training.frozen import views_of
from pellucid.training.job import Job

MOST = 16  # images that are kept of a batch


def first_batch_of(job: Job, parts: Split, *, views: int) -> FirstBatch:
    """The first batch of the first epoch, or the first of its images.

    `views`: of how many of each image features are computed first, which then take the place of images; 0 where images
    themselves go through the network in each step. `job` has the images. Nothing of it is changed.
    """
    assert isinstance(job.data.train, Images)
    learning, files = job.config.learning, parts.part("train")
    batch = job.order(0)[: learning.batch]
    mixed = job.config.mixed and not views
    some = batch if mixed else batch[:MOST]
    inputs = _inputs(job, job.data.train, parts, [int(place) for place in some], views=views)
    labels = torch.from_numpy(job.data.labels[some])
    if mixed:
        images, shares = mix(
            torch.from_numpy(inputs),
            labels,
            job.config.augmentation,
            classes=len(job.data.classes),
            seed=job.batch_seed(0, 0),
        )
        inputs, said = images.numpy()[:MOST], [_shares(row, job.data.classes) for row in shares[:MOST].tolist()]
    else:
        said = [job.data.classes[label] for label in labels.tolist()]
    first = [files[place] for place in batch[:MOST]]
    return FirstBatch(
        shown=Shown(
            root=shown(str(Path(parts.root).absolute())),
            files=tuple(map(parts.below, first)),
            classes=tuple(file.label for file in first),
            labels=tuple(said),
            size=inputs.shape[-1],
            images=len(batch),
            how=_how(views),
        ),
        pixels=unnormalised(inputs, job.data.preprocessing),
    )


def _inputs(job: Job, images: Images, parts: Split, places: Sequence[int], *, views: int) -> np.ndarray:
    """float32 (N, 3, S, S), of the images in these places."""
    if not views:
        images.show()
        return np.stack([images[place][0].numpy() for place in places])
    chosen = chosen_views(views, len(images), seed=job.config.seed, epoch=0)
    augmentation = job.config.augmentation if views_of(job.config)[1] > 1 else None
    seen = images.versions_by([int(file.content[:15], 16) for file in parts.part("train")], augmentation)
    inputs = []
    for place in places:
        seen.show(epoch=int(chosen[place]))
        inputs.append(normalise(seen.pixels(place), job.data.preprocessing))
    return np.stack(inputs)


def _shares(row: list[float], classes: tuple[str, ...]) -> str:
    """`ants 63 % bees 37 %`; of an image that was mixed with one of its own class, that class alone."""
    found = sorted(((share, name) for share, name in zip(row, classes, strict=True) if share >= 0.005), reverse=True)
    if len(found) == 1:
        return found[0][1]
    return "\n".join(f"{100 * share:.0f} % {name}" for share, name in found)


def _how(views: int) -> str:
    if not views:
        return ""
    which = "without random changes" if views == 1 else f"one of {views} random versions"
    return f"{which}; the frozen part of the network computes each only once"
