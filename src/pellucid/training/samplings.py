"""One training several times, each time from another sampling: what an ensemble is made of."""

from functools import wraps
from inspect import Parameter, signature
from typing import Any

from pellucid.errors import UserError
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Config
from pellucid.training.configure import configure, documented
from pellucid.training.train import last_run, train_events

MOST = 100


def check_samplings(config: Config, number: int) -> None:
    """Raises UserError where so many trainings make no ensemble, or would all come to the same weights."""
    if not 2 <= number <= MOST:
        raise UserError(f"{number} samplings make no ensemble", hint=f"2 to {MOST}; seven, say")
    if config.budget:
        raise UserError("a budget may plan another training for each sampling", hint="--epochs in its place")
    if config.learning.optimizer == "solve" and (config.features.views or 1) == 1:
        raise UserError(
            f"{number} samplings of a head that is computed from plain images are {number} times the same model",
            hint="--views 4 shows it other crops each time; --optimizer adamw takes steps in another order",
        )


def sampling(config: Config, place: int, first: RunFolder | None) -> Config:
    """The configuration of the training in that place, from 0, `first` being the run of the one in place 0.

    They differ in their seed: other first weights, another order, other crops, another mix. All keep the first one's
    split, so that they have the same images to train on and the same test part.
    """
    if first is None:
        return config
    data = config.data
    if data.validation_from.data is None:
        kept = {"keep_split": str(first.path), "train": None, "validation": None, "test": None, "per_class": False}
        data = data.model_copy(update=kept)
    return config.model_copy(update={"seed": config.seed + place, "data": data}).noting(config.asked)


@wraps(configure)
def train_samplings(*arguments: Any, samplings: int = 7, **settings: Any) -> list[RunFolder]:
    """One training after another, without a word."""
    config, runs = configure(*arguments, **settings), list[RunFolder]()
    check_samplings(config, samplings)
    for place in range(samplings):
        runs.append(last_run(train_events(sampling(config, place, runs[0] if runs else None))))
    return runs


# What `help` shows: configure's settings, and what is added and comes of them here.
train_samplings.__doc__ = documented(
    "Train `samplings` times, each time with the next seed on the same split; returns the run folders.\n\n"
    "`ensemble` makes one model of them.",
    "samplings\n    How many times.\n",
)
train_samplings.__name__ = train_samplings.__qualname__ = "train_samplings"
train_samplings.__annotations__ = configure.__annotations__ | {"samplings": int, "return": list[RunFolder]}
train_samplings.__signature__ = signature(configure).replace(  # type: ignore[attr-defined]
    parameters=[
        *signature(configure).parameters.values(),
        Parameter("samplings", Parameter.KEYWORD_ONLY, default=7, annotation=int),
    ],
    return_annotation=list[RunFolder],
)
