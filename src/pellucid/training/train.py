"""`train` and `resume`: a configuration and a folder of images become a run folder."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from inspect import signature
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

from pellucid.errors import UserError
from pellucid.features.views import Features
from pellucid.images.manifest import Split
from pellucid.interruption import Interrupted
from pellucid.networks.own import keep_code, remember, short
from pellucid.runs.events import (
    Epoch,
    Event,
    Failed,
    FeaturesReady,
    PixelsReady,
    Planned,
    Started,
    Stopped,
    now,
)
from pellucid.runs.first_batch import write_first_batch
from pellucid.runs.lock import held
from pellucid.runs.provenance import gather
from pellucid.runs.run_folder import DAMAGED, ENDED, RunFolder, create_run, open_run
from pellucid.training.config import Config
from pellucid.training.configure import configure, documented
from pellucid.training.frozen import begins_solved, solved_start, with_features
from pellucid.training.job import Job, Start, started
from pellucid.training.loop import fit
from pellucid.training.machine import check_machine, hardware_for
from pellucid.training.planning import Budget, limited, plan_again
from pellucid.training.preparing import Ready, decoding_seconds, noted, provenance_of, ready_for
from pellucid.training.probe_at import probed_at
from pellucid.training.reading import unchanged
from pellucid.training.resuming import (
    check_kept,
    check_settings,
    chosen,
    other_data,
    other_machine,
    take_threads,
)
from pellucid.training.room import check_room
from pellucid.training.seen import first_batch_of
from pellucid.training.start import Prepared, bare_network, job_for, pixel_cache, start_network
from pellucid.training.state import Position, load_network, read_position


@wraps(configure)
def train(*arguments: Any, **settings: Any) -> RunFolder:
    """Let a training happen without a word."""
    return last_run(train_events(configure(*arguments, **settings)))


# What `help` shows: configure's settings, and what comes of them here.
train.__doc__ = documented(
    "Train a classifier on DATA and return its run folder. Quiet: `train_events` tells what happens."
)
train.__name__ = train.__qualname__ = "train"
train.__annotations__ = configure.__annotations__ | {"return": RunFolder}
train.__signature__ = signature(configure).replace(return_annotation=RunFolder)  # type: ignore[attr-defined]


def resume(run: str | PathLike[str], *, model: Any = None) -> RunFolder:
    """Go on with a run that was interrupted, to the same weights as if it had not been.

    `model` is one's own network, as for `train`, where the run is of one and it has not been named in this process.
    """
    remember(model)
    return last_run(resume_events(run))


def last_run(events: Iterator[Event]) -> RunFolder:
    """Let a training happen, and return its folder."""
    *_, path = (event.run for event in events if event.event == "started")
    return RunFolder(Path(path))


def train_events(config: Config, *, began: float | None = None) -> Iterator[Event]:
    """Everything from reading the data to the last weights, as events; the run folder keeps them.

    A budget counts from `began`, a moment of perf_counter; default: now. Raises UserError for data, weights or
    settings that cannot be used, before anything is written.
    """
    ready = yield from ready_for(config, perf_counter() if began is None else began)
    provenance = provenance_of(ready, asked=list(config.asked))  # a plan changes what is done, and not what was asked
    network, place = ready.prepared.network, Path(ready.config.runs)
    every = sum(parameter.numel() for parameter in network.parameters())
    trained = every if ready.config.mode == "scratch" else 0  # at least
    check_room(place, network, ready.config, trained=trained, hint="--runs names another place")
    name = f"{_name(ready.config.data.folder)}-{short(ready.config.model)}"
    run = create_run(place, name, config=ready.wanted.model_dump(), provenance=provenance, split=ready.parts)
    with _named(run), held(run.path):
        yield from _kept(run, _begun(ready, run, provenance))


def _begun(ready: Ready, run: RunFolder, provenance: dict[str, Any]) -> Iterator[Event]:
    """From here on there is a run: what goes wrong is kept in it."""
    keep_code(run.path, ready.config.model)
    job = job_for(ready.config, run, ready.parts, ready.prepared, ready.hardware, provenance, ready.pixels)
    told: list[Event] = [ready.told]
    if ready.plan:
        job = limited(job, ready.plan)
        told.append(ready.plan)
    yield from _trained(job, ready.parts, None, told, ready.budget)


@contextmanager
def _named(run: RunFolder) -> Iterator[None]:
    """A stop says of which run it is, even before anything else was told of that: it can be resumed."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.run = run.path  # type: ignore[attr-defined]
        raise


def resume_events(run: str | PathLike[str]) -> Iterator[Event]:
    """As train_events, from where the run's checkpoint stands. Raises UserError too where another process is at it."""
    folder = open_run(run)
    with held(folder.path):
        yield from _resumed(folder)


def _resumed(folder: RunFolder) -> Iterator[Event]:
    config = Config.from_fields(folder.config(), f"{folder.path}/config.toml", DAMAGED)
    position = read_position(folder)
    if folder.left() in ENDED or (position and position.ended):
        raise UserError(f"{folder.path} has been trained to its end", hint=f"`pellucid evaluate {folder.path}`")
    check_kept(folder, position)
    check_machine(config.machine)
    provenance = folder.provenance()
    words = check_settings(config, provenance.get("config", {}), folder.path / "config.toml")
    preprocessing, origin = chosen(folder, provenance)
    wanted = config
    config = Config.from_fields(folder.settings(), f"{folder.path}/config.toml", DAMAGED)  # as the last plan has it
    take_threads(config, provenance["chosen"])
    parts = folder.split()
    hardware = hardware_for(config)
    words += other_machine(provenance, gather(device=str(hardware.device), precision=hardware.precision))
    words += other_data(config, parts, provenance["data"])
    made = provenance["chosen"].get("network")
    net = bare_network(config, parts.classes, made)
    if position is None:
        prepared = start_network(config, parts.classes, made)
    else:
        load_network(folder, net)  # what is frozen is needed before training goes on
        prepared = Prepared(net, preprocessing, origin)
    pixels = pixel_cache(config)
    told = yield from unchanged(parts, config, preprocessing, pixels)
    job = job_for(config, folder, parts, prepared, hardware, provenance, pixels)
    trained = sum(parameter.numel() for parameter in prepared.network.parameters() if parameter.requires_grad)
    check_room(folder.path, prepared.network, config, trained=trained, hint="free some space there, then resume")
    if plans := [event for event in folder.events() if isinstance(event, Planned)]:
        job = limited(job, plans[-1], spent=position.seconds if position else 0.0)
    budget = Budget(wanted, perf_counter(), look=plans[-1].look) if plans and position is None else None
    yield from _kept(folder, _trained(job, parts, position, [*noted(words), told], budget))


def _trained(
    job: Job, parts: Split, position: Position | None, told: Sequence[Event], budget: Budget | None
) -> Iterator[Event]:
    """The head solved and features computed first, where that can be; then the training itself, from `position` on."""
    resume = position is not None
    yield started(job, epoch=position.epoch if position else 0)
    yield from told
    start, looked = None, 0.0
    try:
        if not resume and job.config.probe_at:
            yield from probed_at(job)
        if not resume:
            start, looked = yield from _timed(solved_start(job))
        if budget and begins_solved(job.network, job.config, job.provenance["weights"].get("left_random", ())):
            decode = max(decoding_seconds(event) for event in told if isinstance(event, PixelsReady))
            job = yield from plan_again(budget, job, parts, decode=decode, look=looked or budget.look)
        of_images = job
        if job.limits.most_epochs != 0:
            job = yield from with_features(job, epoch=position.epoch if position else 0)
        if not resume:
            views = (
                len(job.data.train.views) if isinstance(job.data.train, Features) else int(job.limits.most_epochs == 0)
            )
            write_first_batch(job.run.path, first_batch_of(of_images, parts, views=views))
    except Interrupted:
        stood = position or Position()
        best = None if stood.best is None else stood.best.epoch
        yield Stopped(
            time=now(), epoch=stood.epoch, why="interrupted", best_epoch=best, seconds=stood.seconds, spent=stood.spent
        )
        return
    yield from fit(job, resume=resume and job.config.learning.optimizer != "solve", start=start)


def _timed(
    events: Generator[Event, None, Start | None],
) -> Generator[Event, None, tuple[Start | None, float]]:
    """What comes of the events, and the seconds that each image's features took; 0 where all were kept."""
    looked = 0.0
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value, looked
        if isinstance(event, FeaturesReady) and event.computed:
            looked = event.seconds / event.computed
        yield event


def _kept(run: RunFolder, events: Iterator[Event]) -> Iterator[Event]:
    """`events`, each kept in the run before it is passed on; an error that ends them is one too."""
    epoch, failed = 0, False
    try:
        for event in events:
            failed = isinstance(event, Failed)
            epoch = event.epoch if isinstance(event, Started | Epoch) else epoch
            with suppress(UserError) if failed else nullcontext():  # what went wrong matters more than noting it
                run.note(event)
            yield event
    except (Exception, SystemExit) as cause:  # one's own code may end the program
        if not failed:
            problem = cause.problem if isinstance(cause, UserError) else str(cause) or type(cause).__name__
            event = Failed(time=now(), epoch=epoch, problem=problem)
            with suppress(UserError):
                run.note(event)
            yield event
        raise


def _name(folder: str) -> str:
    return Path(folder).resolve().stem or "images"
