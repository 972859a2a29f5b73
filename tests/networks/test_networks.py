"""Networks and their weights: equal to torchvision's and timm's, and counted as the literature counts."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.geometry import walk
from pellucid.errors import UserError
from pellucid.networks.published import default_preprocessing
from pellucid.weights.files import read_tensors
from tests.shared import shared


@pytest.mark.parametrize("name", pl.architectures())
def test_the_tables_shape_column_is_what_geometry_finds(name: str) -> None:
    table = ARCHITECTURES[name]
    found = {step.name: str(step.after) for step in walk(table, size=table.size, classes=1000)}
    assert found == {end_point: said for end_point, _, said in table.rows}


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    # Parameters: torchvision's documentation. Multiply-adds of ResNet-18: He et al.'s 1.8e9, exact sum by hand.
    [("resnet18", 11_689_512, 1_814_073_344), ("vgg11", 132_863_336, None), ("vgg11_bn", 132_868_840, None)],
)
def test_counts_are_those_of_the_literature(name: str, parameters: int, multiply_adds: int | None) -> None:
    totals = pl.structure(name).totals
    assert totals.parameters == parameters == sum(row.parameters for row in pl.structure(name).rows)
    assert multiply_adds in (None, totals.multiply_adds)


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_end_points_have_the_shapes_the_table_says_and_stop_where_asked(name: str) -> None:
    net = pl.network(name, 7, size=64).eval()
    with torch.inference_mode():
        found = net.end_points(torch.zeros(2, 3, 64, 64))
        assert (
            list(net.end_points(torch.zeros(2, 3, 64, 64), last="conv3" if name == "small" else "conv3_x"))[-1] in found
        )
        assert torch.equal(found["Logits"], net(torch.zeros(2, 3, 64, 64)))
    for step in walk(ARCHITECTURES[name], size=64, classes=7):
        assert tuple(found[step.name].shape) == (2, *step.after.shape)
    assert torch.allclose(found["Predictions"].sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_logits_equal_the_original_librarys(name: str, library: str) -> None:
    torch.manual_seed(1)
    if library == "torchvision":
        import torchvision

        theirs = torchvision.models.get_model(name, num_classes=5)
    else:
        import timm

        theirs = timm.create_model(name, num_classes=5)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    theirs.eval()
    ours = pl.network(name, 5).eval()
    report = pl.load_weights(ours, theirs.state_dict(), layout=library)
    assert not report.left_out and not report.left_random
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs(images)
        assert torch.allclose(ours(images), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_file_that_ends_early_is_refused_until_told_where() -> None:
    file = shared("data/weights/resnet18_imagenet_to_layer3.safetensors")
    net = pl.network("resnet18", 2)
    with pytest.raises(UserError, match="does not fit resnet18") as caught:
        pl.load_weights(net, file)
    assert "--until conv4_x" in caught.value.hint
    report = pl.load_weights(net, file, until="conv4_x", head=False)
    assert {name.split(".")[0] for name in report.left_random} == {"conv5_x", "Logits"}


def test_a_timm_network_takes_its_own_names() -> None:
    net = pl.network("timm/mobilenetv2_100", 2)
    assert net.end_point_names[-3:] == ("PreLogits", "Logits", "Predictions")
    file = shared("data/weights/mobilenetv2_100_imagenet.timm.safetensors")
    report = pl.load_weights(net, file, head=False)
    assert {name.split(".")[1] for name in report.left_random} == {"classifier"}


@pytest.mark.parametrize("name", ["mobilenetv2_100", "vit_tiny_patch16_224"])
def test_a_timm_networks_end_points_are_its_own_computation(name: str) -> None:
    net = pl.network(f"timm/{name}", 3, size=64).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        found = net.end_points(images)
        assert torch.equal(found["Logits"], net(images))
        assert torch.equal(net.head_modules()[0](found["PreLogits"]), found["Logits"])
    assert tuple(found) == net.end_point_names
    middle = net.end_point_names[2]
    with torch.inference_mode():
        assert list(net.end_points(images, last=middle)) == list(net.end_point_names[:3])
    place = net.divided(middle)
    whole = [*place.before, *place.within, *place.after]
    assert len({id(module) for module in whole}) == len(whole)
    assert sum(tensor.numel() for module in whole for tensor in module.parameters(recurse=False)) == sum(
        parameter.numel() for parameter in net.parameters()
    )


def test_weights_that_end_at_a_timm_feature_are_taken_until_there() -> None:
    net = pl.network("timm/mobilenetv2_100", 2)
    whole = {name.removeprefix("model."): value for name, value in net.state_dict().items()}
    early = {name: value for name, value in whole.items() if name.startswith(("conv_stem", "bn1", "blocks.0"))}
    early |= {name: value for name, value in whole.items() if name.startswith(("blocks.1", "blocks.2"))}
    report = pl.load_weights(net, early, until="blocks.2", head=False)
    assert not report.left_out
    assert all(
        name.startswith(("model.blocks", "model.conv_head", "model.bn2", "model.classifier"))
        for name in report.left_random
    )
    assert not any(name.startswith("model.blocks.2") for name in report.left_random)


def test_a_size_that_a_timm_network_was_not_made_for() -> None:
    assert pl.network("timm/vit_tiny_patch16_224", 2, size=48)(torch.zeros(1, 3, 48, 48)).shape == (1, 2)
    assert default_preprocessing("timm/coat_lite_medium_384", size=384).resize == (384, 384)  # squashed, says timm


class Malice:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("owned"),))


@pytest.mark.parametrize("option", [{"dropout": 1.5}, {"dropout": float("nan")}, {"width": -1.0}, {"depth": 3.0}])
def test_nonsense_options_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(option))):
        pl.network("small", 2, **option)


def test_nothing_that_a_pickle_names_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.pth").write_bytes(pickle.dumps({"weight": Malice()}))
    torch.save({"weight": Malice()}, "worse.pth")
    for name in ("bad.pth", "worse.pth"):
        with pytest.raises(UserError, match=name):
            read_tensors(Path(name))
    assert not Path("owned").exists()


def test_an_honest_checkpoint_is_read() -> None:
    assert len(read_tensors(shared("data/weights/resnet20-12fca82f.th"))) > 50


def test_what_lies_beside_tensors_and_a_parallel_models_names_are_no_hindrance() -> None:
    net, other = pl.network("small", 2), pl.network("small", 2)
    parallel = {f"module.{name}": value for name, value in other.state_dict().items()}
    pl.load_weights(net, {"epoch": 3, "best": None, "names": ["a", "b"], **parallel})
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in net.state_dict().items())


def test_a_deeper_networks_weights_are_refused() -> None:
    net = pl.network("resnet18", 2)
    deeper = {**net.state_dict(), "conv3_x.unit_3.conv1.conv.weight": torch.zeros(128, 128, 3, 3)}
    with pytest.raises(UserError, match="holds more than resnet18 has"):
        pl.load_weights(net, deeper)
