"""Parity: equal where implementations are, and each of a dozen planted faults found where it is, by its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.inspection.parity import parity
from pellucid.inspection.torch_original import with_statistics
from pellucid.networks.table_network import TableNetwork
from pellucid.uses.parity import compare
from tests.shared import shared


@pytest.mark.parametrize(
    ("library", "name", "ends"),
    [
        ("torchvision", "resnet18", 7),
        ("timm", "resnet18", 7),
        ("torchvision", "vgg11", 11),
        ("torchvision", "inception_v1", 17),
        ("torchvision", "inception_v3", 19),
        pytest.param("timm", "inception_v4", 23, marks=pytest.mark.slow),
        pytest.param("timm", "inception_resnet_v2", 13, marks=pytest.mark.slow),
    ],
)
def test_the_catalog_agrees_with_the_libraries_at_every_end_point(library: str, name: str, ends: int) -> None:
    found = compare(name, against=library)
    assert found.first is None and len(found.compared) == ends


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_from_a_file_agree_end_point_by_end_point_with_torchvision(tmp_path: Path, suffix: str) -> None:
    import torchvision

    torch.manual_seed(0)
    file = tmp_path / f"resnet18.{suffix}"
    state = torchvision.models.resnet18(num_classes=7).state_dict()
    torch.save(state, file) if suffix == "pth" else save_file(state, file)  # which keeps them in another order
    photo = next(shared("data/hymenoptera/val").rglob("*.jpg"))
    assert compare("resnet18", against="torchvision", weights=file, image=photo).first is None


def test_weights_without_the_librarys_last_layer_are_refused(tmp_path: Path) -> None:
    save_file({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"has no fc\.bias"):
        compare("resnet18", against="torchvision", weights=tmp_path / "part.safetensors")


def built(name: str, **options: Any) -> TableNetwork:
    torch.manual_seed(1)
    net = pl.network(name, 4, size=99, width=0.1, **options)
    assert isinstance(net, TableNetwork)
    return with_statistics(net).eval()  # type: ignore[return-value]


def find(net: nn.Module, place: str) -> Any:
    return net.get_submodule(place)


def replaced(place: str, change: Callable[[nn.Module], None]) -> Callable[[nn.Module], None]:
    return lambda net: change(find(net, place))


def uncounted(part: Any) -> None:
    part.count_include_pad = False


def epsilon(part: Any) -> None:
    part.eps = 1e-5


def transposed(part: Any) -> None:
    part.weight.data = part.weight.data.transpose(2, 3).contiguous()


def flipped(part: Any) -> None:
    part.weight.data = part.weight.data.flip(2, 3)


def unscaled(part: Any) -> None:
    part.weight.data.fill_(1)


def unshifted(part: Any) -> None:
    part.bias.data.zero_()


def fresh(part: Any) -> None:
    part.reset_running_stats()


def linear(part: Any) -> None:
    part.forward = lambda x: x


def pooled(part: Any) -> None:
    part.forward = lambda x: nn.functional.max_pool2d(x, 3, 1, 1)


def uneven(part: Any) -> None:
    def forward(x: Tensor) -> Tensor:
        return nn.functional.conv2d(nn.functional.pad(x, (0, 1, 0, 1)), part.weight, part.bias, 2)

    part.forward = forward


def reordered(part: Any) -> None:
    branches = list(part)
    part.forward = lambda x: torch.cat([branches[at](x) for at in (1, 0, 2, 3)], dim=1)


def whole(part: Any) -> None:
    part.scale = 1.0


def moved(part: Any) -> None:
    part.conv1.conv.stride, part.conv2.conv.stride = part.conv2.conv.stride, part.conv1.conv.stride


V3, RES = "inception_v3", "inception_resnet_v2"
FAULTS = {
    "padding counted": (V3, "Mixed_5c", replaced("Mixed_5c.Branch_3.AvgPool_0a_3x3", uncounted), "counts the padding"),
    "epsilon": (V3, "Mixed_6b", replaced("Mixed_6b.Branch_0.Conv2d_0a_1x1.norm", epsilon), "epsilon is 1e-05"),
    "transposed": (V3, "Mixed_5b", replaced("Mixed_5b.Branch_1.Conv2d_0b_5x5.conv", transposed), "transposed"),
    "flipped": (V3, "Conv2d_2a_3x3", replaced("Conv2d_2a_3x3.conv", flipped), "flipped"),
    "no scale": (V3, "Mixed_6d", replaced("Mixed_6d.Branch_2.Conv2d_0c_1x7.norm", unscaled), "no scale"),
    "no shift": (V3, "Conv2d_4a_3x3", replaced("Conv2d_4a_3x3.norm", unshifted), "lacks a shift"),
    "statistics": (V3, "Mixed_7b", replaced("Mixed_7b.Branch_2.Conv2d_0b_3x3.norm", fresh), "statistics were not"),
    "no relu": (V3, "Mixed_7a", replaced("Mixed_7a.Branch_0.Conv2d_1a_3x3.relu", linear), "no ReLU"),
    "pooling": (V3, "Mixed_6c", replaced("Mixed_6c.Branch_3.AvgPool_0a_3x3", pooled), "a maximum in one"),
    "channel order": (V3, "Mixed_5d", replaced("Mixed_5d", reordered), "another order"),
    "uneven padding": ("inception_v2", "Mixed_5a", replaced("Mixed_5a.Branch_0.Conv2d_1a_3x3.conv", uneven), "uneven"),
    "residual scale": (RES, "Mixed_6a", replaced("Mixed_6a.Repeat.block35_4", whole), "does not scale"),
    "stride": ("resnet50", "conv4_x", replaced("conv4_x.unit_1", moved), "the stride of a bottleneck"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_is_and_by_its_name(fault: str) -> None:
    name, end_point, plant, words = FAULTS[fault]
    net, other = built(name), built(name)
    plant(other)
    images = torch.rand(2, 3, 99, 99) * 2 - 1
    with torch.no_grad():
        theirs = other.end_points(images)
    found = parity(net, images, theirs)
    assert found.first is not None and found.first.name == end_point
    assert any(words in told for told in found.looks_like[:3]), found.looks_like


def test_an_image_in_the_other_channel_order_is_told() -> None:
    net = built("resnet50")
    images = torch.rand(1, 3, 99, 99)
    with torch.no_grad():
        theirs = net.end_points(images.flip(1))
    found = parity(net, images, theirs)
    assert found.first is not None and found.first.name == "conv1"
    assert "BGR" in found.looks_like[0]


def test_arrays_of_tf_slim_are_compared_from_the_shell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = shared("reference/slim_inception_v2_d025_224.npz")
    assert run(["parity", "inception_v2", "--against", str(file), "--width", "0.25"]) == 0
    assert "agrees with" in capsys.readouterr().out
    assert run(["parity", "inception_v2", "--against", str(file), "--width", "0.25", "--conventions", "torch"]) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert "from end point Conv2d_1a_7x7 on" in told
    assert "it looks as if: padding at stride 2: even in one, uneven (TensorFlow's SAME) in the other" in told
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="does not hold `input`"):
        compare("inception_v2", against=str(tmp_path / "other.npz"))


PAIR = """
from torch import nn
from torch.nn import functional as F


class One(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.deep = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.between(self.deep(self.body(x))).mean((2, 3)))

    def between(self, x):
        return F.relu(x)


class Other(One):
    def __init__(self, classes):
        super().__init__(classes)
        self.deep = nn.Conv2d(4, 4, 3)


class Third(One):
    def between(self, x):
        return F.relu(x) + 1
"""


def test_two_modules_are_compared_wherever_they_have_the_same_end_points(tmp_path: Path) -> None:
    (tmp_path / "pair.py").write_text(PAIR)
    one, other, third = (f"{tmp_path}/pair.py:{name}" for name in ("One", "Other", "Third"))
    ends = ["PreLogits", "Logits", "Predictions"]
    same = compare(one, against=one, size=16)
    assert [each.name for each in same.compared] == ["body.0", "body.1", "deep", *ends] and same.first is None
    assert [each.name for each in compare(one, against=other, size=16).compared] == ["body.0", "body.1", *ends]
    differs = compare(one, against=third, size=16)
    assert differs.first is not None and differs.first.name == "PreLogits" and differs.compared[2].agrees
