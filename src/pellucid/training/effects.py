"""Settings that could change nothing beside the others: whoever gave one believes in an effect that is not there.

Torch-free, as `configure`, which asks.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from pellucid.training.config import Config

STEPS = (
    "epochs rate momentum nesterov weight_decay decay_norms schedule warm_up step_epochs step_factor decay_epochs "
    "decay_factor clip accumulate ema patience best_by input_rate"
)
VARIED = "crop decode scale ratio flip vertical_flip policy erasing blur blur_sigma jpeg jpeg_quality"


@dataclass(frozen=True)
class Idle:
    """`names` (dotted) have no effect where `when` holds, which `because` says; `through` are what decides that."""

    names: tuple[str, ...]
    when: Callable[[Config], bool]
    because: str
    through: tuple[str, ...]


def _solved(config: Config) -> bool:
    return config.learning.optimizer == "solve"


def _cached(config: Config) -> bool:
    """Whether what is frozen may be computed once and cached while the rest learns; a budget may come to that."""
    frozen = config.mode == "probe" or bool(config.train_from) or (config.mode == "finetune" and bool(config.budget))
    return frozen and config.features.cache == "auto" and not config.mixed


def _begins_solved(config: Config) -> bool:
    return config.mode == "finetune" and config.learning.head == "solved" and config.features.cache == "auto"


def _whole(config: Config) -> bool:
    """Whether the weights reach up to the head."""
    return config.weights != "none" and not config.until and not config.options.get("auxiliary")


def _in(place: str, names: str) -> tuple[str, ...]:
    return tuple(f"{place}.{name}" for name in names.split())


OPTIMIZER = ("learning.optimizer", "mode", "budget")
IDLE = (
    Idle(
        _in("learning", STEPS),
        _solved,
        "the best head is computed at once, without steps; --optimizer adamw takes steps",
        OPTIMIZER,
    ),
    Idle(
        ("log_every",),
        lambda config: _solved(config) and config.log_every > 0,
        "the best head is computed at once, so no batch has a loss",
        OPTIMIZER,
    ),
    Idle(
        _in("augmentation", VARIED),
        lambda config: _solved(config) and (config.features.views or 1) == 1,
        "the head is computed from the plain images; --views 4 uses random versions of them",
        (*OPTIMIZER, "features.views"),
    ),
    Idle(
        _in("learning", "momentum nesterov"),
        lambda config: config.learning.optimizer == "adamw",
        "that is for --optimizer sgd",
        OPTIMIZER,
    ),
    Idle(
        ("learning.decay_norms",),
        lambda config: not config.learning.weight_decay,
        "learning.weight_decay is 0",
        ("learning.weight_decay",),
    ),
    Idle(
        _in("learning", "step_epochs step_factor"),
        lambda config: config.learning.schedule != "step",
        "that is for learning.schedule step",
        ("learning.schedule",),
    ),
    Idle(
        _in("learning", "decay_epochs decay_factor"),
        lambda config: config.learning.schedule != "exponential",
        "that is for learning.schedule exponential",
        ("learning.schedule",),
    ),
    Idle(
        ("learning.warm_up",),
        lambda config: not config.budget and config.learning.warm_up > config.learning.epochs,
        "training ends before the learning rate has risen to what was asked for",
        ("learning.epochs",),
    ),
    Idle(
        ("learning.head",),
        lambda config: config.mode != "finetune",
        "that is for mode finetune",
        ("mode",),
    ),
    Idle(
        ("learning.head",),
        lambda config: config.learning.head == "solved" and config.features.cache == "off",
        "with features.cache off the head starts at random",
        ("features.cache",),
    ),
    Idle(
        ("options.head_initialisation",),
        lambda config: _solved(config) or (_begins_solved(config) and _whole(config)),
        "the head does not start at random; in fine-tuning it does with --learning.head random",
        (*OPTIMIZER, "learning.head", "features.cache"),
    ),
    Idle(
        ("learning.input_rate",),
        lambda config: config.mode == "probe",
        "only the head is trained in mode probe",
        ("mode",),
    ),
    Idle(
        ("learning.unfreeze",),
        lambda config: not config.budget and config.learning.unfreeze > config.learning.epochs,
        "training ends before all is trained",
        ("learning.epochs",),
    ),
    Idle(
        ("learning.auxiliary_weight",),
        lambda config: not config.options.get("auxiliary"),
        "the network has no auxiliary heads unless options.auxiliary is true",
        ("options.auxiliary", "model"),
    ),
    Idle(
        ("learning.optimizer",),
        lambda config: bool(config.budget) and config.mode == "probe" and config.solvable and not _solved(config),
        "with a budget, the best head of a probe is computed at once",
        ("budget", "mode"),
    ),
    Idle(
        _in("augmentation", "scale ratio"),
        lambda config: config.augmentation.crop != "random-resized",
        "that is for augmentation.crop random-resized",
        ("augmentation.crop",),
    ),
    Idle(
        ("augmentation.blur_sigma",),
        lambda config: not config.augmentation.blur,
        "augmentation.blur, its probability, is 0",
        ("augmentation.blur",),
    ),
    Idle(
        ("augmentation.jpeg_quality",),
        lambda config: not config.augmentation.jpeg,
        "augmentation.jpeg, its probability, is 0",
        ("augmentation.jpeg",),
    ),
    Idle(
        ("input.interpolation",),
        lambda config: config.input.resize == "native",
        "nothing is resized with input.resize native",
        ("input.resize",),
    ),
    Idle(
        _in("features", "views most_views"),
        lambda config: not _cached(config),
        "no features are cached there: that is for mode probe and --train-from, without mixup and cutmix",
        ("mode", "train_from", "features.cache", "augmentation.mixup", "augmentation.cutmix"),
    ),
    Idle(
        ("features.most_views",),
        lambda config: _solved(config) or (config.features.most_views or 4) < (config.features.views or 4),
        "versions are added only where the rest learns in steps, and beyond the features.views at first",
        (*OPTIMIZER, "features.views"),
    ),
    Idle(
        ("features.precision",),
        lambda config: not (_cached(config) or _begins_solved(config) or config.probe_at),
        "no features are cached there",
        ("mode", "train_from", "features.cache", "learning.head"),
    ),
    Idle(
        ("layout",),
        lambda config: config.layout != "auto" and config.weights in ("none", "own"),
        "no weights are loaded",
        ("weights", "mode"),
    ),
)


def idle(config: Config, *, flags: Collection[str], recipe: Collection[str]) -> Iterator[str]:
    """Each setting that somebody gave and that has no effect, with why. What a recipe says has to give way to flags."""
    said = {*flags, *recipe}
    for rule in IDLE:
        given = [name for name in rule.names if name in said]
        given = [name for name in given if name in flags or not set(rule.through) & set(flags)]
        if given and rule.when(config):
            yield from (f"{name}: {rule.because}" for name in given)
