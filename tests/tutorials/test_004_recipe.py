"""The recipe of TF-Slim's argument scope, beside the facts."""

import pytest

import pellucid as pl
from pellucid.training.configure import configure
from pellucid.training.schedule import rate_at
from pellucid.training.transfer import parameter_groups
from tests.tutorials.facts import differing

RECIPE = "inception-v3-slim"
FACTS = {
    "model": "inception_v3",
    "mode": "scratch",
    "weights": "none",
    "options.conventions": "tensorflow",
    "options.auxiliary": True,
    "options.initialisation": "tf-slim",  # normal, cut at two deviations of 0.1: tests/architectures/test_catalog.py
    "options.norm_decay": 0.9997,
    "options.dropout": 1 - 0.8,
    "input.size": 299,
    "input.mean": (0.5, 0.5, 0.5),
    "input.std": (0.5, 0.5, 0.5),
    "augmentation.scale": (0.08, 1.0),
    "augmentation.flip": 0.5,
    "learning.batch": 32,
    "learning.weight_decay": 4e-5,
    "learning.decay_norms": False,
    "learning.auxiliary_weight": 0.3,
    "learning.warm_up": 0.0,
}


def test_the_recipe_is_the_argument_scope() -> None:
    assert not differing(RECIPE, {name: pytest.approx(fact) for name, fact in FACTS.items() if isinstance(fact, float)})
    assert not differing(RECIPE, {name: fact for name, fact in FACTS.items() if not isinstance(fact, float)})


def test_the_rate_falls_by_four_percent_every_eight_epochs() -> None:
    learning = configure("photos", recipe=RECIPE).learning
    rates = [rate_at(learning, step=epoch, steps_per_epoch=1) for epoch in range(24)]
    assert rates == pytest.approx([learning.rate * factor for factor in [1.0] * 8 + [0.96] * 8 + [0.96**2] * 8])


def test_norms_have_its_decay_and_epsilon_and_no_scale_and_only_weights_are_pulled_to_zero() -> None:
    asked = configure("photos", recipe=RECIPE)
    net = pl.network("inception_v3", 5, width=0.1, **dict(asked.options) | {"initialisation": "he"})
    norms = [module for module in net.modules() if type(module).__name__ == "BatchNorm2d"]
    assert norms and all(norm.weight is None and norm.eps == 0.001 for norm in norms)
    decays = parameter_groups(net, weight_decay=asked.learning.weight_decay, decay_norms=False, input_rate=1.0)
    assert all((group["weight_decay"] == 4e-5) == (group["params"][0].ndim > 1) for group in decays)
