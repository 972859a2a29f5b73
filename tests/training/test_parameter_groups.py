"""Which parameters decay, at which share of the rate, and what a step of several batches is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import pellucid as pl
from pellucid.networks.network import Network
from pellucid.training.config import Learning
from pellucid.training.optimizers import SGD, AdamW
from pellucid.training.stepping import make_optimizer
from pellucid.training.transfer import parameter_groups
from tests.pictures import make_classes
from tests.training.plain import Plain


def groups_of(network: Network, **settings: Any) -> dict[str, tuple[float, float]]:
    """Of each parameter by name: its weight decay and its share of the rate."""
    given = {"weight_decay": 0.1, "decay_norms": False, "input_rate": 1.0} | settings
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: (group["weight_decay"], group["share"])
        for group in parameter_groups(network, **given)
        for parameter in group["params"]
    }


def norms_and_biases(network: nn.Module) -> set[str]:
    norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    return {
        name for name, _ in network.named_parameters() if name.endswith(".bias") or name.rpartition(".")[0] in norms
    }


@pytest.mark.parametrize("name", ["small", "resnet18", "inception_v3"])
def test_norms_and_biases_do_not_decay_unless_asked(name: str) -> None:
    network = pl.network(name, 5)
    found = groups_of(network)
    assert found.keys() == {name for name, _ in network.named_parameters()}  # each once, none forgotten
    assert {name for name, (decay, _) in found.items() if decay == 0} == norms_and_biases(network)
    assert {decay for decay, _ in groups_of(network, decay_norms=True).values()} == {0.1}


def test_what_is_frozen_is_in_no_group() -> None:
    network = pl.network("small", 3)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.Logits.requires_grad_(True)
    assert groups_of(network).keys() == {"Logits.weight", "Logits.bias"}


def test_the_rate_grows_by_equal_factors_from_end_point_to_end_point() -> None:
    shares = groups_of(pl.network("small", 3), input_rate=0.01)
    places = ["conv1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4", "conv5", "PreLogits", "Logits"]
    # The tenth is the head, at the whole rate: each end point before it has the ninth root of 1/100 less.
    expected = {name: 0.01 ** ((9 - places.index(name.split(".")[0])) / 9) for name in shares}
    assert {name: share for name, (_, share) in shares.items()} == pytest.approx(expected)


def test_the_optimizer_is_the_one_asked_for() -> None:
    network = pl.network("small", 3)
    sgd = make_optimizer(network, Learning(optimizer="sgd", momentum=0.8, nesterov=True))
    assert isinstance(sgd, SGD) and (sgd.momentum, sgd.nesterov) == (0.8, True)
    assert isinstance(make_optimizer(network, Learning(optimizer="adamw")), AdamW)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


def trained(photos: Path, runs: Path, **learning: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    run = pl.train(
        photos,
        model=Plain(2),
        size=32,
        train="16",
        validation="8",
        test="8",
        workers=0,
        runs=runs,
        epochs=3,
        learning={"optimizer": "sgd", "rate": 0.05, "warm_up": 0, **learning},
        augmentation={"crop": "centre", "flip": 0},
        machine={"precision": "float32"},
    )
    return load_file(run.last)


def test_batches_that_are_accumulated_are_one_large_batch(photos: Path, tmp_path: Path) -> None:
    large = trained(photos, tmp_path / "large", batch=16)
    small = trained(photos, tmp_path / "small", batch=4, accumulate=4)
    apart = trained(photos, tmp_path / "apart", batch=4)
    weights = [name for name in large if name.endswith("weight")]
    assert weights
    for name in weights:
        torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(apart[weights[0]], large[weights[0]], rtol=1e-3)
