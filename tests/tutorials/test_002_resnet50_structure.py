"""The Paddle tutorial's ResNet-50: every shape it prints, its layers' names, what is counted, and how it begins."""

from collections.abc import Iterator

import pytest
import torch

import pellucid as pl
from pellucid.cli.main import run

UNITS = ((3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7))  # in a stage, the channels of each, pixels a side


def printed(batch: int, outputs: int) -> Iterator[str]:
    """What the tutorial prints for a batch, line by line."""
    number, channels, side = 1, 64, 56
    yield f"conv2d_0 [{batch}, 64, 112, 112] [64, 3, 7, 7] [64]"
    yield f"max_pool2d_0 [{batch}, 64, 56, 56]"
    for units, thin, after in UNITS:
        for unit in range(units):
            wide = 4 * thin
            layers = [(thin, channels, 1, side), (thin, thin, 3, after), (wide, thin, 1, after)]
            if unit == 0:
                layers.append((wide, channels, 1, after))  # the projection
            for out, inputs, kernel, pixels in layers:
                weight = f"[{out}, {inputs}, {kernel}, {kernel}]"
                yield f"conv2d_{number} [{batch}, {out}, {pixels}, {pixels}] {weight} [{out}]"
                number += 1
            yield f"end block [{batch}, {wide}, {after}, {after}]"
            channels, side = wide, after
    assert number == 53  # conv2d_52 is the last
    yield f"adaptive_avg_pool2d_0 [{batch}, 2048, 1, 1]"
    yield f"flatten [{batch}, 2048]"
    yield f"linear_0 [{batch}, {outputs}] [2048, {outputs}] [{outputs}]"


def test_every_line_is_the_tutorials(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--batch", "10", "--size", "224", "--classes", "1", "--names", "paddle", "--format", "lines"]
    assert run(["structure", "resnet50", *asked]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("(")]  # no layers of Paddle's
    assert lines == list(printed(10, 1))
    assert sum(line.startswith("end block") for line in lines) == 16


@pytest.mark.parametrize("names", [[], ["--names", "paddle"]])
def test_fifty_layers_are_counted_and_said(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["structure", "resnet50", *names]) == 0
    head = capsys.readouterr().out.splitlines()[:4]
    assert "50 layers with weights on the longest path (49 convolutions, 1 linear)" in head
    assert "4 more beside it" in head
    assert any("torch's conventions" in line for line in head)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_a_resnet_is_as_deep_as_its_name_says(depth: int) -> None:
    found = pl.structure(f"resnet{depth}")
    assert found.main_path is not None and found.main_path.layers == depth and found.main_path.linear == 1
    units = {101: 3 + 4 + 23 + 3, 152: 3 + 8 + 36 + 3}.get(depth, {18: 8}.get(depth, 16))
    assert sum(row.kind == "addition" for row in found.rows) == units


def test_the_3x3_convolution_carries_the_stride() -> None:
    """By torch's conventions; by TensorFlow's it is the first, and the heading says which."""
    for conventions, sides in (("torch", (56, 28)), ("tensorflow", (28, 28))):
        rows = {row.name: row for row in pl.structure("resnet50", conventions=conventions).rows}
        assert tuple(rows[f"conv3_x/unit_1/conv{number}"].output[-1] for number in (1, 2)) == sides


def test_the_last_layer_begins_uniform() -> None:
    torch.manual_seed(0)
    weight = pl.network("resnet50", 1, head_initialisation="uniform").Logits.weight.detach()
    assert weight.shape == (1, 2048) and 0.99 < float(weight.abs().max()) * 2048**0.5 <= 1
    assert abs(float((weight * 2048**0.5).square().mean()) - 1 / 3) < 0.03  # of a uniform between -1 and 1


def test_what_is_averaged_may_stay_a_map() -> None:
    ends = {end.name: end.output for end in pl.structure("resnet50", batch=10, classes=1, spatial_squeeze=False).ends}
    assert (ends["PreLogits"], ends["Logits"]) == ((10, 2048, 1, 1), (10, 1, 1, 1))
