"""What a network would see of its first batch, before anything is trained: `pl.first_batch`, and `pellucid show`."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pellucid.errors import UserError
from pellucid.images.labels import check_classes
from pellucid.images.preprocessing import at_size, changed
from pellucid.images.split import split
from pellucid.networks.published import published_record
from pellucid.networks.undisturbed import kept_randomness
from pellucid.runs.events import Event, Preparing
from pellucid.runs.first_batch import FirstBatch, read_first_batch
from pellucid.runs.run_folder import RunFolder, is_run, open_whole
from pellucid.training.config import Config
from pellucid.training.configure import configure
from pellucid.training.frozen import views_at_first
from pellucid.training.machine import hardware_for
from pellucid.training.reading import check_counts, checked, read_data
from pellucid.training.seen import first_batch_of
from pellucid.training.start import Prepared, in_our_words, job_for, pixel_cache, start_network


def first_batch(data: Any, /, **settings: Any) -> FirstBatch:
    """What a network sees of its first batch: of a run, as it kept it; of data, as `train` would with these `settings`.

    `data` is a run folder, a Config, or a folder of images as for `train`. `pl.show` draws it beside the files. Nothing
    is trained, and no run is made; images are decoded, and what is kept of them is there when training begins.
    """
    if isinstance(data, RunFolder) or (not isinstance(data, Config) and is_run(data)):
        if settings:
            raise UserError(f"{next(iter(settings))}: a run keeps the batch that it began with", hint="leave it out")
        return kept_batch(data if isinstance(data, RunFolder) else open_whole(data))
    if isinstance(data, Config) and settings:
        raise UserError(f"{next(iter(settings))}: a configuration has its settings", hint="configure(..., it)")
    *_, batch = preview(data if isinstance(data, Config) else configure(data, **settings))
    assert isinstance(batch, FirstBatch)
    return batch


def kept_batch(run: RunFolder) -> FirstBatch:
    """The batch that the run began with; UserError where it kept none."""
    batch = read_first_batch(run.path)
    if batch is None:
        raise UserError(
            f"{run.path} keeps no batch: it was stopped before training began, or trained by an earlier version",
            hint="name the data and the settings instead",
        )
    return batch


def preview(config: Config) -> Iterator[Event | FirstBatch]:
    """What happens on the way, and the batch at the end."""
    if config.budget:
        raise UserError(
            "with a budget, what the network sees is planned after measuring this machine",
            hint="leave --budget out, or look at the run's batch.png after training began",
        )
    with kept_randomness():
        yield from _previewed(config)


def _previewed(config: Config) -> Generator[Event | FirstBatch, None, None]:
    yield Preparing(phase="reading the data", done=0, total=0)
    config, _ = in_our_words(config)
    samples = read_data(config.data)
    check_classes(samples.classes, config.data.folder)
    prepared = _prepared(config, samples.classes)
    pixels = pixel_cache(config)
    readable = yield from checked(samples, config, prepared.preprocessing, pixels)
    parts = split(
        readable.samples,
        **config.data.division,
        seed=config.seed,
        hashes=readable.hashes,
    )
    check_counts(parts)
    nothing: dict[str, Any] = {"versions": {}, "commit": None, "data": {"fingerprint": ""}}
    job = job_for(config, RunFolder(Path(config.runs)), parts, prepared, hardware_for(config), nothing, pixels)
    yield first_batch_of(job, parts, views=views_at_first(job))


def _prepared(config: Config, classes: Sequence[str]) -> Prepared:
    """As training begins; published weights themselves need not be fetched for what their record says of images."""
    if config.weights != "imagenet":
        return start_network(config, classes)
    bare = start_network(config.model_copy(update={"weights": "none"}), classes)
    wanted = at_size(published_record(config.model).preprocessing, bare.network.size)
    return replace(bare, preprocessing=changed(wanted, config.input.model_dump()))
