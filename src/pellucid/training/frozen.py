"""What can be had of the frozen part before any step is taken: features in the place of images, and a solved head."""

from collections.abc import Collection, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from time import perf_counter

import torch

from pellucid.errors import UserError
from pellucid.features.extract import Extracted, FeatureCache, extraction
from pellucid.features.head import put_head
from pellucid.features.views import Features
from pellucid.images.augmentation import Augmentation
from pellucid.images.loading import Images
from pellucid.images.store import cache_folder
from pellucid.interruption import watch
from pellucid.networks.cut import Halves, before_head, halves
from pellucid.networks.network import Network
from pellucid.runs.events import Event, FeaturesReady, FrozenRecomputed, HeadSolved, Preparing, now, place
from pellucid.runs.paired import Paired, write_paired
from pellucid.training.config import Config, bytes_of
from pellucid.training.job import Job, Start
from pellucid.training.objective import choose

VIEWS = 4  # of each training image, where the rest learns in steps and nobody says how many


def check_solvable(network: Network, config: Config) -> None:
    """Raises UserError where the head is to be solved and does not stand by itself."""
    if config.learning.optimizer == "solve" and before_head(network) is None:
        raise UserError(
            f"the head of {network.name} cannot be computed at once", hint="--optimizer adamw learns it in steps"
        )


def with_features(job: Job, *, epoch: int = 0) -> Generator[Event, None, Job]:
    """`job` on features in the place of images, where what is frozen can be computed once; as it is elsewhere.

    `epoch` is how many are done: views are added as they go by.
    """
    config = job.config
    if not job.train_from or config.features.cache == "off":
        return job
    cut = _cut(job)
    if isinstance(cut, str):
        yield FrozenRecomputed(time=now(), train_from=job.train_from, why=cut)
        return job
    views, most = views_of(config)
    augmentation = config.augmentation if most > 1 else None
    train, validation = yield from features_of(
        job, cut, views=min(most, views + epoch), augmentation=augmentation, until=job.limits.views_until
    )
    growing = _Views(job, cut, train, views=views, most=most) if most > views else None
    return replace(job, halves=cut, data=replace(job.data, train=train, validation=validation, views=growing))


def views_of(config: Config) -> tuple[int, int]:
    """Of how many views of each training image features are computed: at first, and at most. One: the plain image."""
    solved = config.learning.optimizer == "solve"
    views = config.features.views or (1 if solved else VIEWS)
    return views, views if solved else max(views, config.features.most_views or 0)


def views_at_first(job: Job) -> int:
    """Of how many views features will take the place of images; 0 where they will not."""
    if not job.train_from or job.config.features.cache == "off" or isinstance(_cut(job), str):
        return 0
    return views_of(job.config)[0]


@dataclass(frozen=True)
class _Views:
    """The views of `train`: `views` at first, and one more after each epoch, until there are `most`.

    `job` is still of images, which they are made of.
    """

    job: Job
    cut: Halves
    train: Features
    views: int
    most: int

    def grow(self, epoch: int) -> Iterator[Event]:
        first = len(self.train.views)
        missing = min(self.most, self.views + epoch) - first
        if missing < 1:
            return
        augmentation = self.job.config.augmentation
        (added,) = yield from features_of(
            self.job, self.cut, views=missing, augmentation=augmentation, first=first, which=("train",)
        )
        self.train.add_views(added.views)


def begins_solved(network: Network, config: Config, left_random: Collection[str]) -> Halves | None:
    """Where fine-tuning begins from a solved head, the cut before it: the weights are whole up to there."""
    if config.mode != "finetune" or config.learning.head != "solved" or config.features.cache == "off":
        return None
    if config.weights == "none" or network.head_names or not set(left_random) <= _head_names(network):
        return None
    return before_head(network)


def solved_start(job: Job) -> Generator[Event, None, Start | None]:
    """Before fine-tuning, solve the head on the features as they are, and note what that probe says of validation.

    The first steps then do not destroy the features (Kumar et al. 2022, arXiv:2202.10054), and what fine-tuning adds
    over the probe is known in the end. Only where the weights are whole up to the head.
    """
    cut = begins_solved(job.network, job.config, job.provenance["weights"].get("left_random", ()))
    if cut is None:
        return None
    train, validation = yield from features_of(job, cut, views=1, augmentation=None)
    began, learning = perf_counter(), job.config.learning
    solved = job.solved(train.view(0))
    put_head(job.network, solved, one_logit=learning.one_logit)
    yield HeadSolved(
        time=now(), strength=solved.strength, tried=solved.strengths, views=1, seconds=perf_counter() - began
    )
    if not len(validation):
        return None
    with torch.inference_mode():
        logits = cut.rest.eval()(torch.from_numpy(validation.view(0)).to(job.hardware.device)).float().cpu()
    labels = torch.from_numpy(validation.labels)
    write_paired(
        job.run, Paired(probe=tuple((choose(logits, one_logit=learning.one_logit) == labels).tolist()), tuned=())
    )
    return Start(logits.clone(), labels)


def _head_names(network: Network) -> set[str]:
    tensors = {id(tensor) for module in network.head_modules() for tensor in module.parameters()}
    return {name for name, tensor in network.named_parameters() if id(tensor) in tensors}


def _cut(job: Job) -> Halves | str:
    """Where features can take the place of images, or why nowhere: nothing but the loss may come from the images."""
    config = job.config
    if config.augmentation.mixup or config.augmentation.cutmix:
        return "images are mixed with each other"
    if config.mode == "probe" and job.network.head_names:
        return "its auxiliary heads need the images"
    if job.data.preprocessing.crops > 1 and job.train_from != "Logits":
        return "several crops of an image are averaged only after its head"
    return halves(job.network, job.train_from) or f"{job.network.name} cannot be cut in two there"


def features_of(
    job: Job,
    cut: Halves,
    *,
    views: int,
    augmentation: Augmentation | None,
    first: int = 0,
    which: tuple[str, ...] = ("train", "validation"),
    until: float | None = None,
) -> Generator[Event, None, list[Features]]:
    """The features of the images of `which` parts, computed or found, and told; of training images, `views` views from
    number `first` on, of which those are left out that are not there at the moment `until`. Raises Interrupted.
    """
    config = job.config
    images = {
        part: each for part, each in (("train", job.data.train), ("validation", job.data.validation)) if part in which
    }
    began, computed, made, refused = perf_counter(), 0, list[Features](), ""
    shown = job.data.train
    assert isinstance(shown, Images)
    source = extraction(
        job.network,
        cut,
        images=shown,
        cache=FeatureCache(
            cache_folder(config.features.folder),
            limit=bytes_of(config.features.size),
            half=config.features.precision == "float16",
        ),
        device=job.hardware.device,
        precision=config.machine.precision,
    )
    # What is kept and not varied needs no work, and a worker takes a second or two to start.
    workers = 0 if augmentation is None and shown.cache and shown.cache.has_all else job.data.workers
    with watch() as interruption:
        for part, each in images.items():
            assert isinstance(each, Images)
            run = source.run(
                each,
                workers=workers,
                views=views if part == "train" else 1,
                augmentation=augmentation if part == "train" else None,
                interruption=interruption,
                first=first if part == "train" else 0,
                until=until,
            )
            found = yield from _told(run, f"computing features of the {part} images at {place(**asdict(cut.place))}")
            made.append(found.features)
            views = len(found.features.views) if part == "train" else views
            computed += found.computed
            refused = refused or found.refused
    yield FeaturesReady(
        time=now(),
        frozen_until=cut.place.frozen_until,
        train_from=cut.place.train_from,
        averaged=cut.place.averaged,
        images=sum(len(each) for each in images.values()),
        views=views,
        computed=computed,
        precision=source.extractor.precision,
        difference=source.extractor.difference,
        kept=config.features.precision,
        refused=refused,
        seconds=perf_counter() - began,
    )
    return made


def _told(run: Generator[tuple[int, int], None, Extracted], phase: str) -> Generator[Event, None, Extracted]:
    """What comes of an extraction, each of its steps told."""
    while True:
        try:
            done, total = next(run)
        except StopIteration as end:
            extracted: Extracted = end.value
            return extracted
        yield Preparing(phase=phase, done=done, total=total)
