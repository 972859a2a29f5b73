"""One's own module behind the interface of every network, or refused in plain words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks.cut import halves
from tests.networks.own_nets import Small, Tuple


def test_options_are_a_classs_own_parameters() -> None:
    net = pl.network(Small, 2, size=32, width=4.0)  # as a flag gives it
    assert net.end_points(torch.zeros(1, 3, 32, 32))["stem.0"].shape == (1, 4, 32, 32)
    assert pl.network(net.name, 2, **net.options).state_dict().keys() == net.state_dict().keys()
    with pytest.raises(UserError, match="has no option 'widht'") as caught:
        pl.network(Small, 2, widht=4)
    assert caught.value.hint == "did you mean width?"


def test_halves_of_a_module_are_cut_where_its_code_can_be_followed() -> None:
    net = pl.network(Small, 2, size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    assert net.end_point_names == (
        *("stem.0", "stem.1.0", "stem.1.1", "classifier.0", "classifier.1"),
        *("PreLogits", "Logits", "Predictions"),
    )
    with torch.no_grad():
        found = net.end_points(images)
        assert torch.equal(found["Logits"], net(images)) and tuple(found) == net.end_point_names
        assert (found["classifier.0"] < 0).any()  # before the ReLU in place
        for place in ("stem.1", "classifier", "Logits"):
            cut = halves(net, place)
            assert cut is not None and torch.allclose(cut.rest(cut.frozen(images)), net(images), atol=1e-6)


def test_weights_are_read_by_the_modules_own_names(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(Small(5).state_dict(), tmp_path / "five.safetensors")
    net = pl.network(Small, 2, size=32)
    report = pl.load_weights(net, tmp_path / "five.safetensors", head=False)
    assert report.layout == "its code"
    assert {name.rpartition(".")[0] for name in report.left_random} == {"model.classifier.2"}
    early = pl.load_weights(net, tmp_path / "five.safetensors", until="stem", head=False)  # a container's name
    assert all(name.startswith("model.classifier.") for name in early.left_random)


def test_dropout_by_hand_is_never_lost_where_features_take_the_place_of_images() -> None:
    class ByHand(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.dropout(self.pool(self.pool(self.stem(x))), 0.5, training=self.training)
            return self.classifier(x.view(x.size(0), -1))

    assert halves(pl.network(ByHand, 2, size=32), "stem.1") is None


class TupleInTraining(Small):
    def forward(self, x: Tensor) -> Any:
        return (super().forward(x), x) if self.training else super().forward(x)


class Softmax(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(dim=1)


def convolutions(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def ten() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))


def fails(classes: int) -> nn.Module:
    raise RuntimeError(f"not for {classes}")


@pytest.mark.parametrize(
    ("model", "size", "problem", "hint"),
    [
        (Tuple, 32, "gives a tuple of 2, and no tensor of logits", "let forward return the logits alone"),
        (TupleInTraining, 32, "in training, .* gives a tuple of 2", "self.training"),
        (Softmax, 32, "does not end with its last linear layer, classifier.2: softmax", "the loss has a softmax"),
        (convolutions, 32, r"no linear layer at its end: .* 0 \(Conv2d\)", "torch.nn.Linear"),
        (Small, 48, "fails at classifier.0 on images of 48 x 48 pixels: .*shapes cannot be multiplied", "--size 32"),
        (ten, 32, "has 10 outputs, for 2 classes", "torch.nn.Linear(3072, 2)"),
        (fails, 32, "cannot be made for 2 classes: RuntimeError: not for 2", ""),
        (nn.Conv2d, 32, "wants in_channels, out_channels, kernel_size", "name a function of the number of classes"),
        (lambda classes: print(classes), 32, "gives nothing", "return an nn.Module"),
        (7, 32, "7 is no network", "an nn.Module"),
        ("nowhere.py:Net", 32, "nowhere.py is not there", "FILE.py:NAME"),
        ("no.such.package:Net", 32, "no module no to import", "no/such/package.py:Net"),
    ],
)
def test_what_is_no_network_is_refused_in_plain_words(model: Any, size: int, problem: str, hint: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        pl.network(model, 2, size=size)
    assert hint in caught.value.hint
