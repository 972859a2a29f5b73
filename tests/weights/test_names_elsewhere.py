"""What other libraries call the layers of a network, and how they write shapes: beside their own names and shapes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torchvision
from torch import nn

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError

REFERENCES = Path(__file__).parents[1] / "references"


def kept(file: str) -> tuple[int, dict[str, list[tuple[int, ...]]]]:
    """The size of image, and the shapes of the kernels that each layer has, as a library itself named them."""
    with np.load(REFERENCES / f"{file}.npz") as held:
        found: dict[str, list[tuple[int, ...]]] = {}
        for name, padded in zip(held["names"], held["shapes"], strict=True):
            layer, _, kind = str(name).removesuffix(":0").rpartition("/")
            shape = tuple(int(side) for side in padded if side)
            if len(shape) > 1 and kind in ("weights", "depthwise_weights", "pointwise_weights", "kernel"):
                found.setdefault(layer, []).append(shape)
        return int(held["size"]), found


@pytest.mark.parametrize(
    ("file", "network", "options"),
    [
        ("slim_inception_v1_1_224", "inception_v1", {}),
        ("slim_inception_v2_0.5_160", "inception_v2", {"width": 0.5}),
        ("slim_inception_v3_0.5_224", "inception_v3", {"width": 0.5, "auxiliary": True}),
        ("slim_inception_v3_1_299", "inception_v3", {"auxiliary": True}),
        ("keras_resnet50", "resnet50", {}),
        ("keras_vgg16", "vgg16", {}),
        ("keras_inception_v3", "inception_v3", {}),
        ("keras_inception_resnet_v2", "inception_resnet_v2", {}),
    ],
)
def test_layers_with_weights_have_tensorflows_own_names_and_shapes(
    file: str, network: str, options: dict[str, object]
) -> None:
    size, theirs = kept(file)
    library, classes = file.partition("_")[0], next(reversed(theirs.values()))[0][-1]
    found: dict[str, list[tuple[int, ...]]] = {}
    for row in pl.structure(network, size=size, classes=classes, names=library, **options).rows:
        if row.weight:
            found.setdefault(row.called, []).append(row.weight)
    if library == "slim":
        theirs = {name.partition("/")[2]: shapes for name, shapes in theirs.items()}
    if "inception" in network and library == "keras":  # whose files count from 0, and whose layers begin without number
        theirs = {name.removesuffix("_0") if name == "conv2d_0" else name: shapes for name, shapes in theirs.items()}
    assert found == theirs


def modules(library: str, network: str) -> nn.Module:
    elsewhere = {"inception_v1": "googlenet"} if library == "torchvision" else {}
    if library == "timm":
        return timm.create_model(network)
    bare = {"aux_logits": False, "init_weights": False} if "inception" in network else {}
    return torchvision.models.get_model(elsewhere.get(network, network), **bare)


@pytest.mark.parametrize(
    ("library", "network"),
    [
        *(("torchvision", name) for name in ("resnet50", "vgg11", "vgg11_bn", "inception_v1", "inception_v3")),
        *(("timm", name) for name in ("resnet18", "vgg11_bn", "inception_v3", "inception_v4", "inception_resnet_v2")),
    ],
)
def test_every_layer_is_a_module_of_that_library_with_that_weight(library: str, network: str) -> None:
    import torch

    with torch.device("meta"):
        theirs = dict(modules(library, network).named_modules())
    rows = [row for row in pl.structure(network, names=library).rows if not row.called.startswith("(")]
    for row in rows:
        module = theirs[row.called]
        if row.weight:
            assert tuple(module.weight.shape) == row.weight, row.called
        elif "pooling" in row.kind:
            assert "pool" in type(module).__name__.lower(), row.called
    weighed = [name for name, module in theirs.items() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sorted(row.called for row in rows if row.weight) == sorted(weighed)  # none is left out


def numbered(rows: Iterator[str], kind: str) -> list[int]:
    return [int(name.rpartition("_")[2]) for name in rows if name.rpartition("_")[0] == kind]


@pytest.mark.parametrize(
    ("network", "convolutions", "linear"), [("resnet18", 20, 1), ("vgg11", 8, 3), ("inception_v1_plain", 59, 5)]
)
def test_paddles_layers_are_counted_by_kind_its_heads_last(network: str, convolutions: int, linear: int) -> None:
    heads = network == "inception_v1_plain"
    found = pl.structure(network, names="paddle", auxiliary=heads or None)
    names = [row.called for row in found.rows]
    assert sorted(numbered(iter(names), "conv2d")) == list(range(convolutions))
    assert sorted(numbered(iter(names), "linear")) == list(range(linear))
    assert next(row for row in found.rows if row.name == "Logits").called == f"linear_{0 if heads else linear - 1}"


@pytest.mark.parametrize(
    ("network", "library", "told"),
    [
        ("resnet50", "slim", "tf-slim has no network resnet50"),
        ("resnet18", "keras", "keras has no network resnet18"),
        ("vgg11", "keras", "there are the names of torchvision, timm and paddle"),
        ("inception_v2", "torchvision", "there are the names of tf-slim"),
        ("small", "timm", "nobody else has it"),
        ("resnet50", "caffe", "there are no names of 'caffe'"),
    ],
)
def test_a_network_that_a_library_does_not_have_is_refused(network: str, library: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        pl.structure(network, names=library)


def test_heads_that_a_library_does_not_have_are_in_brackets() -> None:
    called = {row.name: row.called for row in pl.structure("inception_v1", names="slim", auxiliary=True).rows}
    assert called["AuxLogits_1/conv"] == "(AuxLogits_1/conv)"
    assert called["PreLogits/pool"] == "Logits/AvgPool_0a_7x7"


def test_ones_own_module_has_torchs_names_and_no_others() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(4, 2))
    found = pl.structure(net, size=8, names="torchvision")
    assert [row.called for row in found.rows] == ["0.0", "0.1", "1", "2", "3"]
    with pytest.raises(UserError, match="its names are torch's"):
        pl.structure(net, size=8, names="paddle")
    assert found.main_path is not None and (found.main_path.convolutions, found.main_path.linear) == (1, 1)


def test_names_stand_in_lines_and_in_json_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["structure", "resnet50", "--batch", "10", "--classes", "1", "--names", "paddle"]
    assert run([*asked, "--format", "lines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "conv2d_0 [10, 64, 112, 112] [64, 3, 7, 7] [64]"
    assert "linear_0 [10, 1] [2048, 1] [1]" in lines
    assert run([*asked, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert (rows[2]["name"], rows[2]["called"]) == ("conv2_x/unit_1/conv1", "conv2d_1")
    assert run([*asked, "--format", "html"]) == 2


def test_conventions_are_tensorflows_with_its_libraries_names_unless_they_are_said() -> None:
    assert pl.structure("resnet50", names="keras").conventions == "tensorflow"
    assert pl.structure("resnet50", names="keras", conventions="torch").conventions == "torch"
    assert pl.structure("resnet50", names="paddle").conventions == "torch"


def test_names_are_told_without_torch() -> None:
    code = (
        "import sys; from pellucid.cli.main import run; run(['structure', 'inception_v3', '--names', 'slim',"
        " '--until', 'AvgPool_1a']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
