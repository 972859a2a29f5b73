"""TF-Slim's Inception V3: end points, its own names for layers, the auxiliary head, and what its last layers are."""

import re

import pytest
import torch

import pellucid as pl
from pellucid.cli.main import run

ENDS = {
    "Conv2d_1a_3x3": (149, 149, 32),
    "Conv2d_2a_3x3": (147, 147, 32),
    "Conv2d_2b_3x3": (147, 147, 64),
    "MaxPool_3a_3x3": (73, 73, 64),
    "Conv2d_3b_1x1": (73, 73, 80),
    "Conv2d_4a_3x3": (71, 71, 192),
    "MaxPool_5a_3x3": (35, 35, 192),
    "Mixed_5b": (35, 35, 256),
    **{f"Mixed_5{letter}": (35, 35, 288) for letter in "cd"},
    **{f"Mixed_6{letter}": (17, 17, 768) for letter in "abcde"},
    "Mixed_7a": (8, 8, 1280),
    **{f"Mixed_7{letter}": (8, 8, 2048) for letter in "bc"},
}


@pytest.mark.parametrize("conventions", ["torch", "tensorflow"])
def test_end_points_have_the_tutorials_shapes(conventions: str) -> None:
    found = pl.structure("inception_v3", auxiliary=True, conventions=conventions)
    shapes = {end.name: (*end.output[2:], *end.output[1:2]) for end in found.ends if len(end.output) == 4}
    assert shapes == ENDS and list(shapes) == list(ENDS)
    assert [end.name for end in found.ends][len(ENDS) :] == ["AuxLogits", "PreLogits", "Logits", "Predictions"]


def test_its_names_are_tf_slims_also_where_they_are_irregular(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["structure", "inception_v3", "--names", "slim", "--auxiliary", "--format", "lines"]) == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["Mixed_5c/Branch_1/Conv_1_0c_5x5"] == "[1, 35, 35, 64] [5, 5, 48, 64] [64]"
    assert lines["Mixed_5c/Branch_1/Conv2d_0b_1x1"] == "[1, 35, 35, 48] [1, 1, 256, 48] [48]"
    for branch in ("Branch_0/Conv2d_1a_1x1", "Branch_1/Conv2d_1a_1x1"):
        assert re.search(r"\[3, 3, \d+, \d+\]", lines[f"Mixed_6a/{branch}"])  # named for a kernel that it has not
    assert lines["Logits/AvgPool_1a_8x8"] == "[1, 1, 1, 2048]"
    assert lines["Logits/Conv2d_1c_1x1"] == "[1, 1000] [1, 1, 2048, 1000] [1000]"
    head = ["AvgPool_1a_5x5", "Conv2d_1b_1x1", "Conv2d_2a_5x5", "Conv2d_2b_1x1"]
    assert [lines[f"AuxLogits/{name}"].split("]")[0] for name in head[:3]] == [
        "[1, 5, 5, 768",
        "[1, 5, 5, 128",
        "[1, 1, 1, 768",
    ]
    assert lines["AuxLogits/Conv2d_2b_1x1"] == "[1, 1000] [1, 1, 768, 1000] [1000]"


def test_the_auxiliary_kernel_and_the_last_pooling_shrink_with_the_image() -> None:
    called = {row.called for row in pl.structure("inception_v3", size=150, auxiliary=True, names="slim").rows}
    assert "AuxLogits/Conv2d_2a_1x1" in called and "Logits/AvgPool_1a_3x3" in called
    large = [row.called for row in pl.structure("inception_v3", size=448, names="slim").rows]
    assert "(PreLogits/pool)" in large  # its kernel is 8x8 at most, of 12x12 cells


@pytest.mark.parametrize("name", ["AvgPool_1a", "AvgPool_1a_8x8", "PreL"])
def test_the_last_pooling_is_known_by_the_tutorials_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["structure", "inception_v3", "--until", name, "--end-points"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [*ENDS, "PreLogits"]
    assert said.err == f"{name} is PreLogits here\n"


def test_logits_may_stay_a_map_of_one_cell_of_the_same_numbers() -> None:
    torch.manual_seed(0)
    settings = {"size": 107, "width": 0.2, "auxiliary": True}
    net, usual = (pl.network("inception_v3", 7, **settings, **more).eval() for more in ({"spatial_squeeze": False}, {}))
    net.load_state_dict(usual.state_dict())
    images = torch.randn(2, 3, 107, 107)
    with torch.no_grad():
        found, expected = net.end_points(images), usual.end_points(images)
    for name in ("PreLogits", "Logits", "Predictions", "AuxLogits"):
        assert found[name].shape == (*expected[name].shape, 1, 1)
        assert torch.allclose(found[name].flatten(1), expected[name], atol=1e-6)
    counted = pl.structure("inception_v3", classes=7, spatial_squeeze=False, **settings)
    assert [tuple(found[end.name].shape[1:]) for end in counted.ends] == [end.output[1:] for end in counted.ends]


def test_multiplied_depth_leaves_sixteen_channels_and_there_are_forty_eight_layers() -> None:
    assert min(end.output[1] for end in pl.structure("inception_v3", width=0.25, until="Mixed_7c").ends) == 16
    path = pl.structure("inception_v3").main_path
    assert path is not None and (path.convolutions, path.linear) == (47, 1)
