"""A budget of time: what this machine does in a second is measured, and what to train is chosen to fit."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import nn

from pellucid.errors import UserError
from pellucid.features.extractor import fastest
from pellucid.images.loading import Images
from pellucid.images.preprocessing import Preprocessing, averaged
from pellucid.inspection.stopwatch import seconds_of as seconds_of_one
from pellucid.networks.cut import Halves, before_head, halves
from pellucid.networks.network import Network
from pellucid.networks.quick import quick_to_train
from pellucid.training.config import Config, seconds_of
from pellucid.training.transfer import last_stage

FINISH = 8.0  # seconds for the last weights and the report
FULL = 0.9  # of the time that is left is planned for; what differs from the measurement has the rest
MEASURED = 16  # images
MORE = 1.3  # what loading, the optimiser and the first batch of an epoch add to a step
SHARES = (1.0, 0.75, 0.5)  # of the usual resolution, the best that fits
LEAST_SIDE = 64
MOST_TUNED, FEWEST_TUNED, MOST_SCRATCH, FEWEST_SCRATCH = 12, 6, 120, 10  # epochs
LEAST_STEP = 2  # looks: no training step of an image takes less
LONG = 2.0  # seconds: what takes longer is measured once
LOADED = 1.15  # what loading adds to a look
# Views of each training image, and epochs, for the last blocks: the most that fits.
LAST_BLOCKS = (*((views, MOST_TUNED) for views in (12, 8, 6, 4, 3, 2)), (2, 6))
HURRIED = ((1, 6), (1, 2))  # where the probe is there, and nothing more would be tried
SOLVED = 5e-7  # seconds per image and weight of the head that solving it takes, measured on 2 cores


@dataclass(frozen=True)
class Speed:
    """Seconds per image: a training step, a look at it without training, decoding; and the weights of its head.

    `solvable`: whether the head stands by itself. `last`: of training from one end point on alone, where that can be
    done on kept features. `crowding`: how many times as long as alone everything takes, what is not measured too.
    """

    step: float
    look: float
    decode: float
    head: int
    solvable: bool = True
    last: "LastBlocks | None" = None
    crowding: float = 1.0

    def quicker(self, other: "Speed") -> "Speed":
        """Of two measurements, whatever took less: the other was held up by something else."""
        last = self.last
        if self.last and other.last:
            last = replace(
                self.last,
                before=min(self.last.before, other.last.before),
                step=min(self.last.step, other.last.step),
            )
        return replace(self, step=min(self.step, other.step), look=min(self.look, other.look), last=last)

    def at(self, share: float) -> "Speed":
        """At that share of the resolution."""
        if share == 1:
            return self
        return replace(self, step=self.step * share**2, look=self.look * share**2, last=None)


@dataclass(frozen=True)
class LastBlocks:
    """Seconds per image: to compute what comes before `train_from`, and a training step of the rest."""

    train_from: str
    before: float
    step: float


@dataclass(frozen=True)
class Plan:
    mode: str
    share: float  # of the resolution
    epochs: int
    seconds: float  # that it should take from now on
    train_from: str | None = None
    views: int = 1
    training: float = 0.0  # seconds of the epochs alone

    @property
    def best(self) -> bool:
        """Whether more time would not change it."""
        whole = self.epochs == most_epochs(self.mode) and not self.train_from
        return self.share == 1 and whole and self.seconds > 0


def measure(
    network: Network,
    images: Images,
    config: Config,
    *,
    device: torch.device,
    decode: float,
    left: float = inf,
    look: float | None = None,
) -> Speed:
    """What `config` may come to, on a copy, so that nothing is learned yet. A mode "probe" needs no steps.

    `look`: seconds that it takes to look at an image, where they are known already. What cannot be done in the `left`
    seconds anyway is not tried, and takes for ever.
    """
    some = torch.stack([images[index][0] for index in range(min(MEASURED, len(images)))])
    copy = deepcopy(network).to(device)
    for parameter in copy.parameters():
        parameter.requires_grad_(True)
    cut = before_head(copy)
    seen = _look(copy, cut, some, images.preprocessing, device=device) if look is None else look
    side = images.preprocessing.size
    weights = [module.weight for module in copy.head_modules() if isinstance(module, nn.Linear)]
    head = sum(max(2, len(weight)) * weight[0].numel() for weight in weights)  # one logit is solved as two
    if config.mode == "probe":
        return Speed(inf, seen, decode, head, cut is not None)
    some = some[..., :side, :side]
    last = _last_blocks(copy, some, config, device=device) if config.mode == "finetune" and config.solvable else None
    least = FEWEST_TUNED if last else 1 if config.mode == "finetune" else 0
    hopeless = least * LEAST_STEP * seen * len(images) > left
    step = inf if hopeless else MORE * _step(copy, some.to(device)) / len(some)
    return Speed(step, seen, decode, head, cut is not None, last)


def _look(
    network: Network, cut: Halves | None, images: torch.Tensor, preprocessing: Preprocessing, *, device: torch.device
) -> float:
    extractor = fastest(cut.frozen, images, device=device) if cut else None
    with torch.inference_mode():
        how = extractor or (lambda given: network.eval()(given.to(device)))
        return _seconds(lambda: averaged(how, images, preprocessing)) / len(images)


def _last_blocks(network: Network, images: torch.Tensor, config: Config, *, device: torch.device) -> LastBlocks | None:
    """None where features cannot take the place of images there."""
    place = config.train_from or last_stage(network, images[:1].to(device))
    cut = halves(network, place) if place and config.input.crops in (None, 1) else None
    if cut is None or place is None:
        return None
    extractor = fastest(cut.frozen, images, device=device)
    before = _seconds(lambda: extractor(images)) / len(images)
    features = torch.from_numpy(extractor(images)).to(device)
    return LastBlocks(place, LOADED * before, MORE * _step(cut.rest, features) / len(images))


def _step(module: nn.Module, given: torch.Tensor) -> float:
    quick_to_train(module.train())
    if given.ndim == 4:
        given = given.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        module(given).square().mean().backward()
        module.zero_grad(set_to_none=True)

    return _seconds(step)


def _seconds(work: Callable[[], object]) -> float:
    """The quicker of two, after one that does not count, unless that is all that there is time for."""
    first = seconds_of_one(work)
    return first if first > LONG else min(seconds_of_one(work) for _ in range(2))


def choose(
    config: Config,
    speed: Speed,
    *,
    left: float,
    train: int,
    validation: int,
    side: int,
    allowed: Callable[[Plan], bool] = lambda _: True,
    probed: bool = False,
) -> Plan:
    """The most that is `allowed` and fits into `left` seconds. Raises UserError where nothing does, with what would.

    Scratch: the highest resolution at which there is time for some epochs. With weights, a probe first and at the
    highest resolution at which it fits; the time that is then left is for fine-tuning, which begins from it: of all
    blocks where there is time for enough epochs, else of the last blocks on as many kept views as fit.

    `probed`: the probe is there, at `side` pixels. What is planned then comes after it, and is a probe where nothing
    more fits; with time left, fewer epochs or views are better than nothing, since the better of both is kept.
    """
    if probed:
        plans = _tuning(config, speed, left=left * FULL, train=train, validation=validation, before=0.0, probed=True)
        fitting = [plan for plan in plans if plan.seconds <= left * FULL]
        return fitting[0] if fitting else Plan("probe", 1.0, 1, 0.0)
    counts = {"train": train, "validation": validation, "side": side}
    known = list(_candidates(config, speed, left=left * FULL, **counts))
    candidates = [plan for plan in known if allowed(plan)]
    if known and not candidates:
        raise UserError(
            f"{config.budget} is not enough to train all that {config.weights} leaves random, and what is frozen must "
            "be known",
            hint="a longer --budget, or say --epochs",
        )
    if not candidates:
        raise UserError(
            f"a budget plans mode {config.mode} only where the best head can be computed from cached features",
            hint="leave --budget out and say --epochs, or --mode finetune",
        )
    fitting = [plan for plan in candidates if plan.seconds <= left * FULL]
    if not fitting:
        least = min(plan.seconds for plan in candidates) / FULL
        raise UserError(
            f"{config.budget} is not enough: {max(0.0, left):.0f} s are left of it, and the least that can be trained "
            f"here takes {least:.0f} s",
            hint=f"--budget {seconds_of(config.budget or '0') + least - left:.0f}s, or fewer images (--train)",
        )
    return fitting[0]


def _candidates(config: Config, speed: Speed, *, left: float, train: int, validation: int, side: int) -> Iterator[Plan]:
    """Plans, the preferred first."""
    solvable = config.solvable and speed.solvable
    for share in SHARES:
        if share < 1 and (side * share < LEAST_SIDE or config.input.size is not None):
            return
        at = speed.at(share)
        again = at.decode * (train + validation) if share < 1 else 0.0  # pixels of another size
        epoch = train * at.step + validation * at.look
        probe = (train + validation) * at.look + train * at.head * SOLVED * at.crowding + again if solvable else again
        if config.mode == "scratch":
            epochs = min(MOST_SCRATCH, int((left - again) / epoch))
            enough = epochs >= FEWEST_SCRATCH or share == SHARES[-1] or side * share * 0.75 < LEAST_SIDE
            if enough:
                yield Plan("scratch", share, max(1, epochs), again + max(1, epochs) * epoch)
            continue
        if config.mode == "finetune" and share == 1:
            whole = False
            for plan in _tuning(config, at, left=left, train=train, validation=validation, before=probe):
                whole = whole or not plan.train_from
                yield plan
            if not solvable and not whole:
                yield Plan("finetune", share, 1, again + epoch, training=epoch)
        if solvable:
            yield Plan("probe", share, 1, probe)


def _tuning(
    config: Config,
    speed: Speed,
    *,
    left: float,
    train: int,
    validation: int,
    before: float,
    probed: bool = False,
) -> Iterator[Plan]:
    """Ways to fine-tune, the preferred first, once `before` seconds have been spent."""
    epoch, last = train * speed.step + validation * speed.look, speed.last
    epochs = min(MOST_TUNED, int((left - before) / epoch))
    all_blocks = not (last and config.train_from)
    if all_blocks and epochs >= (FEWEST_TUNED if last else 1):
        yield Plan("finetune", 1.0, epochs, before + epochs * epoch, training=epochs * epoch)
    if last:
        for views, tuned in (*LAST_BLOCKS, *(HURRIED if probed else ())):
            views = config.features.views or views
            steps = tuned * (train + validation / 2) * last.step  # a look takes at most half of a step
            took = before + (views * train + validation) * last.before + steps
            yield Plan("finetune", 1.0, tuned, took, last.train_from, views, steps)
    if probed and all_blocks and epochs >= 1:
        yield Plan("finetune", 1.0, epochs, before + epochs * epoch, training=epochs * epoch)


def most_epochs(mode: str) -> int:
    """However much time there is; a probe has no epochs to add."""
    return {"finetune": MOST_TUNED, "scratch": MOST_SCRATCH}.get(mode, 1)


def planned(config: Config, plan: Plan, *, side: int) -> Config:
    """`config` as the plan has it, checked as a whole.

    The mode "begin" settles the resolution, and leaves the rest to another plan.
    """
    values = config.model_dump()
    if plan.mode == "begin":
        values["mode"] = config.mode
    elif plan.mode == "probe":
        values["mode"] = plan.mode
        values["train_from"] = None
        values["learning"] |= {"optimizer": "solve", "unfreeze": 0, "norms": "learned"}
        values["features"]["views"] = 1
    else:
        values["mode"] = plan.mode
        values["learning"]["epochs"] = plan.epochs
        values["learning"]["warm_up"] = min(values["learning"]["warm_up"], plan.epochs / 4)
        values["train_from"] = plan.train_from or values["train_from"]
        values["features"]["views"] = plan.views if plan.train_from else values["features"]["views"]
    if plan.share < 1:
        values["input"]["size"] = round(side * plan.share / 32) * 32
    return Config.from_fields(values, "the plan for this budget")


def check_decoding(config: Config, *, done: int, total: int, spent: float) -> None:
    """Raises UserError where reading the images alone will take most of the budget."""
    allowed = seconds_of(config.budget or "0")
    whole = spent * total / max(1, done)
    if done >= MEASURED and spent > 5 and whole > 0.6 * allowed:
        raise UserError(
            f"{config.budget} is not enough: decoding {total:,} images takes about {whole:.0f} s of it",
            hint=f"--budget {2 * whole:.0f}s; what is decoded is kept for the next time",
        )
