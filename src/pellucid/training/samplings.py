"""One training several times, each time from another sampling: what an ensemble is made of."""

from collections.abc import Generator, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from pellucid.errors import UserError
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Config
from pellucid.training.configure import configure
from pellucid.training.train import last_run, train_events

MOST = 100


def several(config: Config, number: int) -> Generator[Config, Path, None]:
    """`number` configurations that differ in their seed: other first weights, another order, other crops, another mix.

    The first is `config`. For the second the folder of the first one's run is sent; from then on all keep its split,
    so that they have the same images to train on and the same test part. Raises UserError where all would come to the
    same weights.
    """
    if not 2 <= number <= MOST:
        raise UserError(f"{number} samplings make no ensemble", hint=f"2 to {MOST}; seven, say")
    same = config.learning.optimizer == "solve" and (config.features.views or 1) == 1
    if same and not config.budget:
        raise UserError(
            f"{number} samplings of a head that is solved on plain images are {number} times the same model",
            hint="--views 4 shows it other crops each time; --optimizer adamw takes steps in another order",
        )
    if config.budget:
        raise UserError("a budget may plan another training for each sampling", hint="--epochs in its place")
    first = yield config
    data = config.data
    if data.validation_from.data is None:
        kept = {"keep_split": str(first), "train": None, "validation": None, "test": None, "per_class": False}
        data = data.model_copy(update=kept)
    for place in range(1, number):
        yield config.model_copy(update={"seed": config.seed + place, "data": data}).noting(config.asked)


@wraps(configure)
def train_samplings(*arguments: Any, samplings: int = 7, **settings: Any) -> list[RunFolder]:
    """Train `samplings` times, each time with the next seed on the same split; see `configure` for every setting.

    `pl.ensemble(runs, "model.safetensors")` makes one model of what is returned.
    """
    plans = several(configure(*arguments, **settings), samplings)
    runs = [last_run(train_events(next(plans)))]
    for config in later(plans, runs[0]):
        runs.append(last_run(train_events(config)))
    return runs


train_samplings.__name__ = train_samplings.__qualname__ = "train_samplings"


def later(plans: Generator[Config, Path, None], first: RunFolder) -> Iterator[Config]:
    """The configurations after the first one, whose run is known by now."""
    yield plans.send(first.path)
    yield from plans
