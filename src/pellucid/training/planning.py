"""A budget as it is spent: a plan before training, and another one once the probe is there and time is left."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from math import inf
from statistics import median
from time import perf_counter

import torch

from pellucid.errors import UserError
from pellucid.images.decode import Unreadable, open_image
from pellucid.images.loading import Images
from pellucid.images.manifest import Split
from pellucid.images.pixels import PixelCache
from pellucid.images.preprocessing import Preprocessing
from pellucid.names import is_own
from pellucid.networks.network import Network
from pellucid.records import flat
from pellucid.runs.events import Event, Planned, Preparing, now
from pellucid.training.budget import FINISH, MEASURED, Plan, Speed, choose, measure, most_epochs, planned
from pellucid.training.config import Config, seconds_of
from pellucid.training.frozen import begins_solved
from pellucid.training.job import Job
from pellucid.training.transfer import freeze, frozen_at_random

CROWDED = 1.5  # times as long as alone: others compute here as well, and may soon be done
SPIN = 0.03  # seconds of computing by which that is judged
SETTLING = 0.05  # of the budget, that may go into measuring until it is quiet
LARGEST_END = 0.25  # of the budget, that may be kept for what comes after training, unless that is less than FINISH
WORTH_WAITING = 0.5  # of the budget: with more than that left, nothing is given up after one measurement
MEASURING = 16  # times as long as a look at the same images, that measuring training takes
TRIED = 3  # test images by which the evaluation's decoding is judged


def crowding() -> float:
    """How many times as long as alone one thread takes here and now."""
    shares = []
    for _ in range(3):
        began, computed = perf_counter(), time.thread_time()
        while time.thread_time() - computed < SPIN:
            pass
        shares.append((perf_counter() - began) / max(SPIN, time.thread_time() - computed))
    return max(1.0, median(shares))


@dataclass(frozen=True)
class Budget:
    """What was asked, before any plan, and when its time began (a moment of the `clock`).

    `look`: seconds that the first plan expects a look at an image to take.
    """

    asked: Config
    began: float
    look: float = 0.0
    clock: Callable[[], float] = perf_counter
    crowding: Callable[[], float] = field(default_factory=lambda: crowding)

    @property
    def seconds(self) -> float:
        return seconds_of(self.asked.budget or "0")

    def left(self) -> float:
        return self.began + self.seconds - self.clock()


@dataclass(frozen=True)
class Chosen:
    """A plan, the speeds that it trusts, the seconds that are left for it and those that are kept for the end."""

    plan: Plan
    speed: Speed
    left: float
    ahead: float


def chosen(
    budget: Budget,
    measured: Callable[[], Speed],
    plan_for: Callable[[Speed, float], Plan],
    ahead_of: Callable[[Speed], float],
) -> Chosen:
    """A plan by a measurement of now.

    Where others compute on the same machine, they may soon be done: unless there is nothing better to plan, it is
    measured again for a while, and before all that is left of a large part of the budget is given up. The quickest
    of each counts. Raises what `plan_for` raises in the end.
    """
    began, speed, ahead = budget.clock(), measured(), 0.0
    while True:
        crowded = budget.crowding()
        speed = replace(speed, crowding=crowded)
        ahead = max(ahead, ahead_of(speed))
        left = budget.left() - ahead
        settling = budget.clock() - began < SETTLING * budget.seconds
        patient = crowded > CROWDED
        try:
            plan = plan_for(speed, left)
            giving_up = plan.seconds == 0.0 and left > WORTH_WAITING * budget.seconds
            if plan.best or not patient or not (settling or giving_up):
                return Chosen(plan, speed, left, ahead)
        except UserError:
            if not (patient and settling):
                raise
        speed = speed.quicker(measured())


def first_plan(
    budget: Budget,
    network: Network,
    preprocessing: Preprocessing,
    parts: Split,
    pixels: PixelCache,
    *,
    decode: float,
    device: torch.device,
    left_random: tuple[str, ...],
) -> tuple[Config, Planned]:
    """What to train within the budget, of which reading the data has taken its part already."""
    asked, side = budget.asked, preprocessing.size
    begins = asked.solvable and begins_solved(network, asked, left_random) is not None
    # Fine-tuning begins from a probe: what follows is measured and planned for when that is there.
    first = asked.model_copy(update={"mode": "probe"}) if begins else asked
    files, validation = parts.part("train"), len(parts.part("validation"))
    images = Images(files, parts.classes, preprocessing, None, asked.seed, cache=pixels)
    if is_own(network.name):  # which may take images of one size only
        first = first.model_copy(update={"input": first.input.model_copy(update={"size": network.size})})

    def learns(plan: Plan) -> bool:
        """Whether nothing is frozen that the weights left random."""
        return not any(frozen_at_random(network, planned(asked, plan, side=side), left_random))

    found = chosen(
        budget,
        lambda: measure(network, images, first, device=device, decode=decode, left=budget.left()),
        lambda speed, left: choose(
            first, speed, left=left, train=len(files), validation=validation, side=side, allowed=learns
        ),
        lambda speed: _ahead(budget, parts, speed),
    )
    plan = found.plan
    changed = planned(asked, replace(plan, mode="begin") if begins else plan, side=side)
    size = changed.input.size or side
    return changed, _told(budget, found, changed, side=size, more=begins)


def plan_again(budget: Budget, job: Job, parts: Split, *, decode: float, look: float) -> Generator[Event, None, Job]:
    """After the probe: what fits into the time that is left, by a measurement of now.

    `look`: seconds that it took to look at an image. Where hardly another look at every image fits, nothing is
    measured; where time is short, what is known already is not.
    """
    images = job.data.train
    assert isinstance(images, Images)
    side, validation = job.data.preprocessing.size, len(job.data.validation)
    hopeless = Speed(inf, look, decode, 0)
    yield Preparing(phase=f"measuring again, to plan for what is left of {budget.asked.budget}", done=0, total=0)

    def measured() -> Speed:
        left = budget.left() - _ahead(budget, parts, hopeless)
        if not worth_measuring(left, images=len(images) + validation, look=look):
            return hopeless
        known = look if left < 4 * measuring(look) else None
        device = job.hardware.device
        return measure(job.network, images, budget.asked, device=device, decode=decode, left=left, look=known)

    found = chosen(
        budget,
        measured,
        lambda speed, left: choose(
            budget.asked, speed, left=left, train=len(images), validation=validation, side=side, probed=True
        ),
        lambda speed: _ahead(budget, parts, speed),
    )
    plan = found.plan
    config = job.config if plan.mode == "probe" else planned(_at(budget.asked, job), plan, side=side)
    told = _told(budget, found, config, side=side, again=True)
    yield told
    for parameter in job.network.parameters():
        parameter.requires_grad_(True)
    until = perf_counter() + found.left - plan.training
    limits = replace(job.limits, views_until=until)
    return limited(replace(job, config=config, frozen=freeze(job.network, config), limits=limits), told)


def measuring(look: float) -> float:
    """Seconds that it takes to measure training, where a look at an image takes `look`."""
    return MEASURING * MEASURED * look


def worth_measuring(left: float, *, images: int, look: float) -> bool:
    """Whether anything could be planned in the `left` seconds, once it was measured."""
    return left >= measuring(look) + images * look / 2


def limited(job: Job, plan: Planned, *, spent: float = 0.0) -> Job:
    """`job` with the moment at which training ends, so that the rest of the command ends with the budget.

    `spent`: seconds since the plan was made.
    """
    most = 0 if plan.mode == "probe" and job.config.mode == "finetune" else most_epochs(plan.mode)
    looking = plan.look * len(job.data.validation)
    deadline = perf_counter() + plan.left - spent
    limits = replace(job.limits, deadline=deadline, most_epochs=most, validation_seconds=looking)
    return replace(job, limits=limits)


def _at(asked: Config, job: Job) -> Config:
    """What was asked, at the resolution that a plan has settled on."""
    return asked.model_copy(update={"input": job.config.input})


def _ahead(budget: Budget, parts: Split, speed: Speed) -> float:
    """Seconds for what comes after training: the evaluation and the report."""
    files = parts.part("test") or parts.part("validation")
    end = FINISH * budget.crowding() + len(files) * (speed.look + _decoding(parts))
    return min(end, max(FINISH, LARGEST_END * budget.seconds))


def _decoding(parts: Split) -> float:
    """Seconds that an image of the evaluation takes to be decoded; none of them is kept."""
    files = (parts.part("test") or parts.part("validation"))[:TRIED]
    began = perf_counter()
    for file in files:
        try:
            open_image(file.path)
        except Unreadable:  # the evaluation tells of it
            continue
    return (perf_counter() - began) / max(1, len(files))


def _told(
    budget: Budget, found: Chosen, config: Config, *, side: int, again: bool = False, more: bool = False
) -> Planned:
    plan, speed = found.plan, found.speed
    before, after = dict(flat(budget.asked.model_dump())), dict(flat(config.model_dump()))
    return Planned(
        time=now(),
        budget=budget.seconds,
        left=max(0.0, found.left),
        ahead=found.ahead,
        mode=plan.mode,
        epochs=plan.epochs,
        train_from=None if plan.mode == "probe" else config.train_from,
        views=plan.views,
        size=side,
        expected=plan.seconds,
        step=0.0 if speed.step == inf else speed.step,
        look=speed.look,
        decode=speed.decode,
        again=again,
        more=more,
        settings={name: value for name, value in after.items() if value != before.get(name)},
    )
