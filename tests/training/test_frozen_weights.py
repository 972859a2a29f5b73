"""What a file of weights leaves random is trained, or the training is refused: it is never frozen as it is."""

from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.errors import UserError
from pellucid.training.configure import configure
from pellucid.training.train import train_events
from tests.pictures import make_classes

SMALL: dict[str, Any] = {"model": "resnet18", "size": 32, "epochs": 1, "workers": 0, "options": {"width": 0.0625}}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that end at conv2_x."""
    state = pl.network("resnet18", 2, width=0.0625).state_dict()
    file = tmp_path_factory.mktemp("weights") / "early.pth"
    torch.save({name: value for name, value in state.items() if name.startswith(("conv1", "pool1", "conv2_x"))}, file)
    return file


def test_what_lies_between_the_weights_end_and_what_trains_is_not_frozen_at_random(
    photos: Path, early: Path, tmp_path: Path
) -> None:
    chosen = SMALL | {"weights": str(early), "until": "conv2_x", "mode": "finetune", "runs": tmp_path / "runs"}
    with pytest.raises(UserError, match=r"leaves parts of resnet18 random that would be frozen") as caught:
        pl.train(photos, **chosen, train_from="conv5_x")
    assert "conv3_x.unit_1" in str(caught.value) and "--train-from conv3_x" in caught.value.hint
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UserError, match="would be frozen") as caught:
        pl.train(photos, **chosen, learning={"norms": "kept"})
    assert "running_mean" in str(caught.value) and "--learning.norms learned" in caught.value.hint
    run = pl.train(photos, **chosen, train_from="conv3_x")  # as the hint says
    assert run.model.is_file()


def test_a_probe_sees_no_random_block_of_a_network_that_cannot_be_cut(photos: Path, tmp_path: Path) -> None:
    state = pl.network("timm/test_resnet", 2).state_dict()
    early = tmp_path / "early.pth"
    torch.save({name: value for name, value in state.items() if "layer4" not in name}, early)
    with pytest.raises(UserError, match="would be frozen"):
        pl.train(photos, model="timm/test_resnet", mode="probe", weights=str(early), until="layer3", size=32, workers=0)


def test_random_weights_that_were_asked_for_are_told(photos: Path, tmp_path: Path) -> None:
    config = configure(photos, **SMALL, weights="none", mode="probe", runs=tmp_path)
    told = []
    for event in train_events(config):
        told.append(event)
        if event.event == "noted":
            break
    assert told[-1].event == "noted" and "frozen layers keep random weights" in told[-1].words


def test_a_budget_plans_nothing_that_would_freeze_random_weights(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(4)
    state = pl.network("timm/test_resnet", 2).state_dict()
    early = tmp_path / "early.pth"
    torch.save({name: value for name, value in state.items() if "layer4" not in name}, early)
    chosen: dict[str, Any] = {"model": "timm/test_resnet", "weights": str(early), "until": "layer3", "workers": 0}
    events = train_events(configure(photos, **chosen, size=32, budget="20s", runs=tmp_path / "runs"))
    plan = next(event for event in events if event.event == "planned")
    assert plan.mode == "finetune" and plan.train_from in (None, "layer1", "layer2", "layer3", "layer4")
