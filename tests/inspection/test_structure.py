"""The structure report: the tutorial's table, sums that add up, other people's modules, and the page."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.inspection.flow import flows
from pellucid.uses.structure import flowing, timed
from tests.golden import check


def test_the_resnet_tutorials_table_comes_out_row_for_row() -> None:
    """Output, weight and norm shapes of a ResNet-50 on 10 images with one logit; the first three worked out by hand."""
    lines = str(pl.structure("resnet50", batch=10, size=224, classes=1)).splitlines()
    shapes = [line.split(" ", 1)[1] for line in lines]
    assert shapes[0] == "[10, 64, 112, 112] [64, 3, 7, 7] [64]"
    assert shapes[1] == "[10, 64, 56, 56]"  # 3x3 maximum at stride 2
    assert shapes[2] == "[10, 64, 56, 56] [64, 64, 1, 1] [64]"
    assert "Logits [10, 1] [1, 2048] [1]" in lines
    check("structure/resnet50-tutorial", "\n".join(lines))


@pytest.mark.parametrize("name", pl.architectures())
def test_sums_add_up(name: str) -> None:
    found = pl.structure(name, batch=3)
    for measure in ("parameters", "multiply_adds", "memory"):
        total = getattr(found.totals, measure)
        assert total == sum(getattr(row, measure) for row in found.rows)
        assert total == sum(getattr(end.totals, measure) for end in found.ends)
    assert sum(end.layers for end in found.ends) == len(found.rows)
    assert all(row.output[0] == 3 for row in found.rows)


def test_json_and_csv_hold_every_layer() -> None:
    found = pl.structure("inception_v1", auxiliary=True)
    assert [row["name"] for row in json.loads(found.to_json())["rows"]] == [row.name for row in found.rows]
    lines = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert sum(int(line["parameters"]) for line in lines) == 13_004_888
    assert lines[0]["weight"] == "64x3x7x7"


def test_a_traced_network_is_counted_as_its_table_is() -> None:
    net = pl.network("resnet18", 5, size=64)
    counted, watched = pl.structure("resnet18", size=64, classes=5), pl.structure(net)
    assert watched.totals.parameters == counted.totals.parameters
    assert watched.totals.multiply_adds == counted.totals.multiply_adds
    convolutions = [row.output for row in counted.rows if row.kind == "convolution"]
    assert [row.output for row in watched.rows if row.kind == "convolution"] == convolutions
    sums = [(row.name, row.output, row.field, row.memory) for row in counted.rows if row.kind == "addition"]
    found = [(row.name, row.output, row.field, row.memory) for row in watched.rows if row.kind == "addition"]
    assert found == sums and len(sums) == 8  # the end of each unit


@pytest.mark.parametrize("name", ["vgg11", "resnet50", "inception_v2", "inception_v3", "inception_resnet_v2"])
def test_what_layers_see_is_found_from_the_operations_as_from_the_table(name: str) -> None:
    windows = ("convolution", "depthwise convolution", "linear", "max pooling", "average pooling")
    net = pl.network(name, 10)
    counted, watched = pl.structure(name, classes=10), pl.structure(net)
    assert [(row.output, row.field, row.stride) for row in watched.rows if row.kind in windows] == [
        (row.output, row.field, row.stride) for row in counted.rows if row.kind in windows
    ]
    assert watched.main_path == counted.main_path  # as deep, whichever way it is found


@pytest.mark.parametrize(("size", "field"), [(224, (150, 150)), (448, (182, 182)), (256, None), (64, None)])
def test_a_map_averaged_to_a_size_of_its_own_has_seen_all_of_it_only_afterwards(
    size: int, field: tuple[int, int] | None
) -> None:
    """VGG-11 averages to 7 x 7: of 14 cells each two, of 8 or 2 what nobody should guess; fc6 has seen them all."""
    pool, flat, *_ = (row for row in pl.structure("vgg11", size=size).rows if row.name.startswith("fc6"))
    assert pool.field == field
    assert flat.field == (150 + 32 * (size // 32 - 1),) * 2


def test_receptive_fields_are_the_literatures() -> None:
    """Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks (2019), of TF-Slim's."""
    known = {"vgg16": 212, "inception_v2": 699, "inception_v3": 1311, "inception_v4": 2071}
    known |= {"inception_resnet_v2": 3039, "resnet50": 483, "resnet101": 1027, "resnet152": 1507}
    for name, field in known.items():
        maps = [end for end in pl.structure(name, conventions="tensorflow").ends if len(end.output) == 4]
        assert maps[-1].field == (field, field), name


def test_the_ends_of_residual_units_have_an_output_in_anybodys_module() -> None:
    found = pl.structure(torchvision.models.resnet18(num_classes=3), size=32)
    sums = [(row.name, row.output) for row in found.rows if row.kind == "addition"]
    assert [name for name, _ in sums] == [f"layer{stage}/{unit}/add" for stage in range(1, 5) for unit in range(2)]
    assert [shape[1] for _, shape in sums] == [64, 64, 128, 128, 256, 256, 512, 512]
    page = Texts()
    page.feed(found.to_html())
    assert page.boxes == len(found.rows)  # the sums are signs where their terms meet


class Between(nn.Module):
    """Adds, and goes on: the sum is not what it gives back."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two((self.one(x) + x).relu())


def test_a_sum_that_is_not_what_leaves_a_module_is_not_its_end() -> None:
    for module in (Between(), nn.Sequential(Between(), nn.Flatten(), nn.Linear(192, 2))):
        assert not [row.name for row in pl.structure(module, size=8).rows if row.kind == "addition"]


def test_what_mixes_all_cells_sees_the_whole_image() -> None:
    transformer, gated = pl.structure("timm/vit_tiny_patch16_224"), pl.structure("timm/efficientnet_b0")
    assert transformer.rows[0].field == (16, 16)  # a patch
    assert {end.field for end in transformer.ends} == {(224, 224)}
    first = next(row for row in gated.rows if "se/" in row.name and row.field is not None)
    assert first.field[0] >= 224
    windowed = pl.structure("timm/swin_tiny_patch4_window7_224")
    assert windowed.rows[0].field == (4, 4)
    assert windowed.ends[-1].field is None  # behind a mask: not known, and not guessed


@pytest.mark.parametrize("name", ["mobilenetv2_100", "vit_tiny_patch16_224"])
def test_timm_networks_are_watched(name: str) -> None:
    net = pl.network(f"timm/{name}", 10)
    found = pl.structure(f"timm/{name}", classes=10, batch=2)
    assert found.totals.parameters == sum(parameter.numel() for parameter in net.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 3, 224, 224))
    assert 2 * found.totals.multiply_adds == counter.get_total_flops()
    assert found.ends[0].name == net.end_point_names[0]
    assert all(row.output[0] == 2 for row in found.rows if row.output)


class Twice(nn.Module):
    """Uses one layer twice, and mixes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.conv(x)).mean(dim=(2, 3)) @ self.scale


def test_a_module_of_the_users_is_watched_and_shared_weights_count_once() -> None:
    module = Twice().train()
    found = pl.structure(module, size=8)
    assert [row.kind for row in found.rows] == ["convolution", "convolution", "Twice"]
    assert [row.parameters for row in found.rows] == [84, 0, 9]
    assert [row.multiply_adds for row in found.rows] == [81 * 64, 81 * 64, 9]
    assert module.training
    with pytest.raises(UserError, match="cannot be run on images of 8 x 8 pixels"):
        pl.structure(nn.Linear(7, 2), size=8)


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.boxes = 0

    def handle_starttag(self, _: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.boxes += (given.get("class") or "").startswith("box")
        self.addresses += [given[name] or "" for name in ("src", "href") if name in given]


def test_the_page_draws_every_layer_and_loads_nothing() -> None:
    from PIL import Image

    found = pl.structure("inception_v3", auxiliary=True)
    page = Texts()
    page.feed(found.to_html(Image.new("RGB", (400, 300))))
    assert page.boxes == len(found.rows)
    assert page.addresses and all(address.startswith("data:image/jpeg") for address in page.addresses)
    page = Texts()
    page.feed(found.to_html())
    assert not page.addresses


def test_the_page_shows_where_time_goes(tmp_path: Path) -> None:
    out = tmp_path / "timed.html"
    assert run(["structure", "resnet18", "--size", "64", "--time", "--format", "html", "--out", str(out)]) == 0
    page = out.read_text()
    assert "<span>time</span>" in page and len(re.findall(r"<span>[\d.]+ ms<span", page)) >= 7
    assert run(["structure", "resnet18", "--time", "--format", "csv"]) == 2


@pytest.mark.parametrize("name", [*pl.architectures(), "timm/mobilenetv2_100"])
def test_every_layer_fits_a_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["structure", name, "--all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    layers = {line.split()[0] for line in lines if line.strip()}
    assert all(row.name.rpartition("/")[2] in layers for row in pl.structure(name).rows)  # nothing is cut


def test_times_are_of_every_layer_and_no_more_than_the_whole() -> None:
    counted, times = timed("resnet18", size=64, batch=2, classes=3, repeats=5, backward=True)
    computed = [
        row.name for row in counted.rows if row.kind not in ("probabilities", "addition")
    ]  # of the logits, by modules
    assert [layer.name for layer in times.layers] == computed
    assert all(len(layer.forward) == 5 and layer.backward is not None for layer in times.layers)
    assert 0 < sum(sorted(layer.forward)[2] for layer in times.layers) < 1.5 * times.whole
    assert times.peak > 1e9


@pytest.mark.parametrize("flags", [[], ["--all"], ["--backward"]])
@pytest.mark.parametrize("name", ["resnet18", "timm/mobilenetv2_100"])
def test_times_are_shown_by_end_point_or_by_layer(
    capsys: pytest.CaptureFixture[str], name: str, flags: list[str]
) -> None:
    assert run(["structure", name, "--size", "64", "--time", *flags]) == 0
    out = capsys.readouterr().out
    counted = pl.structure(name, size=64)
    wanted = [row.name for row in counted.rows if row.kind == "convolution"] if flags == ["--all"] else []
    ends = [end.name for end in counted.ends if end.name != "Predictions"]
    for line in wanted or ends:
        assert re.search(rf"^{re.escape(line)} .* %", out, re.MULTILINE), line
    assert ("backward" in out) == ("--backward" in flags)


def test_backward_is_for_timing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["structure", "resnet18", "--backward"]) == 2
    assert "write --time --backward" in capsys.readouterr().err


def test_what_flows_is_told_and_shown_for_an_image(tmp_path: Path) -> None:
    """A network whose first channel is dead, and whose second is the mean of the three colours, by hand."""
    from PIL import Image

    net = pl.network("small", 2, size=32).eval()
    with torch.no_grad():
        net.conv1.conv.weight.zero_()
        net.conv1.conv.weight[1, :, 1, 1] = 1 / 3
    images = torch.rand(1, 3, 32, 32)
    first = flows(net, images)[0]
    norm = 1 / (1 + 1e-5) ** 0.5  # an untrained batch norm divides by the root of 1 and epsilon
    assert first.name == "conv1"
    assert first.mean == pytest.approx(float(images.mean()) * norm / 8, rel=1e-4)  # one of 8 channels says something
    assert first.dead == 7 / 8 and first.channels[0] == 1
    grey = images[0].mean(dim=0)
    expected = (255 * (grey - grey.min()) / (grey.max() - grey.min())).round()
    assert (torch.from_numpy(first.maps[0].astype("f4")) - expected).abs().max() <= 1
    Image.new("RGB", (40, 30), "green").save(tmp_path / "photo.png")
    page = Texts()
    shown = flowing("small", tmp_path / "photo.png", size=32)
    page.feed(pl.structure("small", size=32).to_html(flows=shown))
    assert (
        sum(address.startswith("data:image/png") for address in page.addresses) == sum(len(f.maps) for f in shown) > 40
    )


@pytest.mark.parametrize("name", ["weights.pth", "weights.npz", "weights.safetensors"])
def test_weights_alone_are_told_from_a_model(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = {"conv.weight": torch.ones(2, 3, 3, 3)}
    if name.endswith(".npz"):
        np.savez(tmp_path / name, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        (torch.save if name.endswith(".pth") else save_file)(tensors, tmp_path / name)
    assert run(["structure", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert "no model: weights alone do not say of which network they are" in said and "damaged" not in said
    assert f"`pellucid adopt NET --weights {tmp_path / name} --out model.safetensors`" in said
