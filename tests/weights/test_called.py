"""End points by other libraries' names."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import UserError
from pellucid.runs.events import Noted, Started
from pellucid.runs.model_file import save_model_file
from pellucid.runs.run_folder import RunFolder
from pellucid.training.configure import configure
from pellucid.training.probe_at import probed_names
from pellucid.training.train import train_events
from pellucid.weights.called import end_point_called
from tests.pictures import make_classes


@pytest.mark.parametrize(
    ("network", "theirs", "ours"),
    [
        ("resnet18", "layer3", "conv4_x"),  # torchvision's and timm's: layer1 to layer4 are conv2_x to conv5_x
        ("resnet50", "layer1", "conv2_x"),
        ("resnet18", "fc", "Logits"),
        ("inception_v1", "inception4a", "Mixed_4b"),
        ("inception_v3", "InceptionV3/Mixed_7a", "Mixed_7a"),  # TF-Slim's
        ("resnet18", "conv4_x", "conv4_x"),
        ("resnet18", "layer3.0", "layer3.0"),  # a part of an end point is none
        ("resnet18", "layer9", "layer9"),
        ("resnet18", "layer", "layer"),
        ("timm/mobilenetv2_100", "blocks.3", "blocks.3"),
    ],
)
def test_an_end_point_is_found_by_the_name_that_another_library_has_for_it(
    network: str, theirs: str, ours: str
) -> None:
    assert end_point_called(network, theirs) == ours


@pytest.mark.parametrize(
    ("network", "said", "ours"),
    [
        ("inception_v3", "AvgPool_1a", "PreLogits"),  # TF-Slim's AvgPool_1a_8x8
        ("inception_v3", "AvgPool_1a_8x8", "PreLogits"),
        ("inception_v1", "AvgPool_0a", "PreLogits"),
        ("inception_v3", "Conv2d_1c", "Logits"),
        ("inception_v3", "Conv2d_1a", "Conv2d_1a_3x3"),
        ("inception_v3", "Aux", "AuxLogits"),
        ("resnet50", "maxpool", "pool1"),
        ("resnet50", "conv4", "conv4_x"),
        ("vgg16", "block4_pool", "pool4"),
        ("vgg16", "features.30", "pool5"),
        ("vgg16", "conv1", "conv1"),
        ("inception_v3", "Mixed_7", "Mixed_7"),  # of several
        ("inception_v3", "Branch_0", "Branch_0"),
        ("resnet50", "", ""),
    ],
)
def test_an_end_point_is_found_by_its_beginning_and_by_a_layer_in_it(network: str, said: str, ours: str) -> None:
    assert end_point_called(network, said) == ours


def test_beginnings_say_where_to_train_from_and_where_to_look() -> None:
    net = pl.network("resnet18", 2, size=32).eval()
    assert net.divided("conv5").within == net.divided("conv5_x").within
    assert list(net.end_points(torch.zeros(1, 3, 32, 32), last="conv2"))[-1] == "conv2_x"
    assert list(net.end_points(torch.zeros(1, 3, 32, 32), last="avgpool"))[-1] == "PreLogits"
    assert probed_names(net, "conv3, layer3,pool1") == ["pool1", "conv3_x", "conv4_x"]
    with pytest.raises(UserError, match="several end points that begin with conv"):
        net.divided("conv")
    own = nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 4, 3), conv10=nn.Conv2d(4, 4, 3), pool=nn.AdaptiveAvgPool2d(1)))
    own.add_module("flat", nn.Flatten())
    own.add_module("fc", nn.Linear(4, 2))
    mine = pl.network(own, 2, size=8)
    assert mine.called("conv1") == "conv1" and mine.called("poo") == "pool"  # a whole name is no beginning
    assert pl.network("resnet18", 2, size=64, last="conv3").options["last"] == "conv3_x"


def test_a_run_is_of_the_end_point_that_the_beginning_of_its_name_means(tmp_path: Path) -> None:
    photos = make_classes(tmp_path / "photos", images=6)
    layers = OrderedDict(conv1=nn.Conv2d(3, 4, 3), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(4, 2))
    asked = {"mode": "finetune", "epochs": 1, "batch": 4, "size": 16, "workers": 0, "runs": str(tmp_path / "runs")}
    for model, weights, train_from, ours in (
        (nn.Sequential(layers), "own", "poo", "pool"),
        ("small", "none", "PreL", "PreLogits"),
    ):
        told = list(train_events(configure(photos, model=model, weights=weights, train_from=train_from, **asked)))
        assert f"{train_from} is {ours} here" in [event.words for event in told if isinstance(event, Noted)]
        (started,) = [event for event in told if isinstance(event, Started)]
        assert RunFolder(Path(started.run)).config()["train_from"] == ours


def test_logits_that_are_maps_are_trained_on_by_nobody(tmp_path: Path) -> None:
    photos = make_classes(tmp_path / "photos", images=4)
    with pytest.raises(UserError, match=r"as maps \(N, classes, 1, 1\)"):
        pl.train(photos, model="small", size=16, options={"spatial_squeeze": False}, runs=tmp_path / "runs", workers=0)
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())
    with pytest.raises(UserError, match=r"as maps \(N, classes, 1, 1\)"):
        save_model_file(tmp_path / "x.safetensors", pl.network("small", 2, spatial_squeeze=False), None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="vgg11 does not average its map to one cell"):
        pl.network("vgg11", 2, spatial_squeeze=False)
