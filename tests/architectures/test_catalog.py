"""The catalog against the originals: TF-Slim's arrays, torchvision's and timm's logits, the literature's counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.geometry import Map, measured, walk
from pellucid.architectures.layers import Branches, Chain, Conv, Conventions, Layer, Pool, Residual
from pellucid.errors import UserError
from pellucid.networks.published import default_preprocessing
from pellucid.networks.table_network import _build
from tests.golden import check
from tests.shared import shared

INCEPTIONS = [name for name in pl.architectures() if name.startswith("inception")]
SLIM_END_POINTS = {  # of tf_slim.nets, up to the last block
    "inception_v1": "Conv2d_1a_7x7 MaxPool_2a_3x3 Conv2d_2b_1x1 Conv2d_2c_3x3 MaxPool_3a_3x3 Mixed_3b Mixed_3c "
    "MaxPool_4a_3x3 Mixed_4b Mixed_4c Mixed_4d Mixed_4e Mixed_4f MaxPool_5a_2x2 Mixed_5b Mixed_5c",
    "inception_v2": "Conv2d_1a_7x7 MaxPool_2a_3x3 Conv2d_2b_1x1 Conv2d_2c_3x3 MaxPool_3a_3x3 Mixed_3b Mixed_3c "
    "Mixed_4a Mixed_4b Mixed_4c Mixed_4d Mixed_4e Mixed_5a Mixed_5b Mixed_5c",
    "inception_v3": "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_3a_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3 "
    "MaxPool_5a_3x3 Mixed_5b Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b Mixed_7c",
    "inception_v4": "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Mixed_3a Mixed_4a Mixed_5a Mixed_5b Mixed_5c Mixed_5d "
    "Mixed_5e Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_6f Mixed_6g Mixed_6h "
    "Mixed_7a Mixed_7b Mixed_7c Mixed_7d",
    "inception_resnet_v2": "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_3a_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3 "
    "MaxPool_5a_3x3 Mixed_5b Mixed_6a PreAuxLogits Mixed_7a Conv2d_7b_1x1",
}


@pytest.mark.parametrize("name", SLIM_END_POINTS)
def test_end_points_are_tf_slims(name: str) -> None:
    assert ARCHITECTURES[name].end_points[:-3] == tuple(SLIM_END_POINTS[name].split())
    assert ARCHITECTURES[name].end_points[-3:] == ("PreLogits", "Logits", "Predictions")


@pytest.mark.parametrize(
    ("name", "parameters", "with_heads"),
    [  # torchvision's and timm's documentation; Szegedy et al.; Keras' for the tf conventions below
        ("vgg16", 138_357_544, None),
        ("vgg19", 143_667_240, None),
        ("resnet34", 21_797_672, None),
        ("resnet50", 25_557_032, None),
        ("resnet101", 44_549_160, None),
        ("resnet152", 60_192_808, None),
        ("inception_v1", 6_624_904, 13_004_888),
        ("inception_v3", 23_834_568, 27_161_264),
        ("inception_v4", 42_679_816, None),
        ("inception_resnet_v2", 55_843_464, None),
    ],
)
def test_parameters_are_those_of_the_literature(name: str, parameters: int, with_heads: int | None) -> None:
    assert pl.structure(name).totals.parameters == parameters
    if with_heads:
        assert pl.structure(name, auxiliary=True).totals.parameters == with_heads


def test_without_scales_v3_has_the_variables_that_tf_slims_test_counts() -> None:
    # tf_slim's testModelHasExpectedNumberOfParameters: 21,802,784, of which mean and variance are not trained.
    rows = pl.structure("inception_v3", conventions="tensorflow", until="Mixed_7c").rows
    assert sum(row.parameters + 2 * sum(row.norm) for row in rows) == 21_802_784


def slim_reference(name: str) -> Any:
    return np.load(shared(f"reference/{name}.npz"))


@pytest.mark.parametrize(
    ("file", "name", "size"),
    [
        ("slim_inception_v2_d025_224", "inception_v2", 224),
        ("slim_inception_v3_d025_150", "inception_v3", 150),
        pytest.param("slim_inception_v3_d025_299", "inception_v3", 299, marks=pytest.mark.slow),
    ],
)
def test_every_end_point_is_tf_slims(file: str, name: str, size: int) -> None:
    arrays = slim_reference(file)
    heads = {"auxiliary": True} if name == "inception_v3" else {}
    net = pl.network(name, 7, size=size, width=0.25, conventions="tensorflow", **heads).eval()
    report = pl.load_weights(net, {key: arrays[key] for key in arrays if key.startswith("weights/")})
    assert report.layout == "tf-slim" and not report.left_random and not report.left_out
    with torch.inference_mode():
        found = net.end_points(torch.from_numpy(arrays["input"].transpose(0, 3, 1, 2).copy()))
    names = [key.removeprefix("end_points/") for key in arrays if key.startswith("end_points/")]
    for end_point in names:
        expected = arrays[f"end_points/{end_point}"]
        if expected.ndim == 4:
            expected = expected.transpose(0, 3, 1, 2)
        ours = found[end_point].numpy().reshape(expected.shape)
        assert np.abs(ours - expected).max() <= 1e-4 * expected.std(), end_point


def test_an_npz_of_tf_slims_variables_is_read_from_a_file(tmp_path: Path) -> None:
    arrays = slim_reference("slim_inception_v2_d025_224")
    np.savez(tmp_path / "v2.npz", **{key.removeprefix("weights/"): arrays[key] for key in arrays if "weights/" in key})
    net = pl.network("inception_v2", 7, width=0.25)
    report = pl.load_weights(net, tmp_path / "v2.npz", layout="tf-slim")
    assert not report.left_random  # under torch's conventions there are scales: they are one
    assert all(torch.all(tensor == 1) for name, tensor in net.state_dict().items() if name.endswith("norm.weight"))


LIBRARIES = [
    ("torchvision", "googlenet", "inception_v1", 224),
    ("torchvision", "inception_v3", "inception_v3", 299),
    ("torchvision", "resnet50", "resnet50", 224),
    ("torchvision", "vgg13", "vgg13", 64),
    ("timm", "inception_v3", "inception_v3", 299),
    pytest.param("timm", "inception_v4", "inception_v4", 299, marks=pytest.mark.slow),
    pytest.param("timm", "inception_resnet_v2", "inception_resnet_v2", 299, marks=pytest.mark.slow),
    *(
        pytest.param("torchvision", name, name, 224, marks=pytest.mark.slow)
        for name in ("resnet34", "resnet101", "resnet152", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
    ),
    *(
        pytest.param("timm", name, name, 224, marks=pytest.mark.slow)
        for name in ("resnet34", "resnet50", "resnet101", "resnet152", "vgg13", "vgg16_bn", "vgg19")
    ),
]


@pytest.mark.parametrize(("library", "theirs", "ours", "size"), LIBRARIES)
def test_logits_and_auxiliary_logits_equal_the_original_librarys(
    library: str, theirs: str, ours: str, size: int
) -> None:
    torch.manual_seed(3)
    original = made(library, theirs)
    heads = {"auxiliary": True} if library == "torchvision" and ours.startswith("inception") else {}
    net = pl.network(ours, 5, size=size, **heads).eval()
    report = pl.load_weights(net, original.state_dict(), layout=library)
    assert not report.left_out and not report.left_random
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        expected = original(images)
        assert close(net(images), expected)
        if heads:
            assert same_heads(original, net, images)


def made(library: str, name: str) -> nn.Module:
    """The library's network for 5 classes, with statistics that a wrong norm would show."""
    net: nn.Module
    if library == "torchvision":
        import torchvision

        inception = name in ("googlenet", "inception_v3")
        more = {"aux_logits": True, "transform_input": False, "init_weights": False} if inception else {}
        net = torchvision.models.get_model(name, num_classes=5, **more)
    else:
        import timm

        net = timm.create_model(name, num_classes=5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def same_heads(original: nn.Module, net: Any, images: Tensor) -> bool:
    """Auxiliary heads, on our own maps: torchvision computes them in training only."""
    found = net.end_points(images)
    if "AuxLogits" in found:
        return close(found["AuxLogits"], original.AuxLogits(found["Mixed_6e"]))
    return close(found["AuxLogits_1"], original.aux1(found["Mixed_4b"])) and close(
        found["AuxLogits_2"], original.aux2(found["Mixed_4e"])
    )


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Within float32 rounding; timm writes VGG's linear layers as convolutions, which are summed in another order."""
    return bool((ours - theirs).abs().max() <= 1e-5 * theirs.abs().max())


@pytest.mark.parametrize("name", ["inception_v1", "inception_v2", "inception_v3", "resnet34", "vgg11_bn"])
def test_tables_and_modules_agree_at_other_sizes_and_widths(name: str) -> None:
    table = ARCHITECTURES[name]
    for size, width in ((table.size // 2, 0.5), (table.size // 2 + 33, 0.3)):
        for conventions in ("torch", "tensorflow"):
            net = pl.network(name, 3, size=size, width=width, conventions=conventions).eval()
            with torch.inference_mode():
                found = net.end_points(torch.zeros(1, 3, size, size))
            for step in walk(table, size=size, classes=3, width=width, conventions=conventions):
                assert tuple(found[step.name].shape) == (1, *step.after.shape), (step.name, size, conventions)
            counted = pl.structure(name, size=size, width=width, classes=3, conventions=conventions)
            assert counted.totals.parameters == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", INCEPTIONS)
def test_a_network_takes_other_sizes_than_it_was_built_for(name: str) -> None:
    net = pl.network(name, 4, width=0.1, conventions="tensorflow").eval()
    with torch.inference_mode():
        for size in (139, 200):
            assert net(torch.zeros(1, 3, size, size)).shape == (1, 4)


FAMILIES = ["inception_v1", "inception_v1_plain", "inception_v2", "inception_v3", "inception_v4"]
FAMILIES += ["inception_resnet_v2", "resnet34", "resnet50", "vgg11", "vgg13_bn", "small"]


@pytest.mark.parametrize("name", FAMILIES)
def test_evaluation_after_training_shares_the_weights_at_another_size_and_batch(name: str) -> None:
    """TF-Slim's testTrainEvalWithReuse and testLogitsNotSqueezed, of every family: one network, trained, then used."""
    torch.manual_seed(0)
    net = pl.network(name, 6, width=0.1, size=160)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    assert net(torch.randn(5, 3, 160, 160)).shape == (5, 6)
    after = net.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert all("running_" in key or key.endswith("num_batches_tracked") for key in moved)  # no step was taken
    assert bool(moved) == any("running_" in key for key in before)
    net.eval()
    with torch.inference_mode():
        for batch, size in ((1, 160), (2, 203)):
            found = net.end_points(torch.randn(batch, 3, size, size))
            assert found["Logits"].shape == found["Predictions"].shape == (batch, 6)  # a batch of one stays a batch
            assert torch.allclose(found["Predictions"].sum(dim=1), torch.ones(batch))
    assert all(torch.equal(value, after[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ["inception_v3", "inception_resnet_v2", "vgg13", "resnet50"])
def test_computing_ends_at_the_end_point_asked_for(name: str) -> None:
    net = pl.network(name, 4, size=128, width=0.1).eval()
    for last in net.end_point_names:
        after = net.end_point_names[net.end_point_names.index(last) + 1 :]
        for later in after:
            getattr(net, later).register_forward_hook(_fail)
        with torch.inference_mode():
            assert list(net.end_points(torch.zeros(1, 3, 128, 128), last=last))[-1] == last
        for later in after:
            getattr(net, later)._forward_hooks.clear()


def _fail(*_: object) -> None:
    raise AssertionError("computed although nobody asked")


def test_heads_are_built_when_asked_for_and_cost_nothing_in_the_forward_pass() -> None:
    net = pl.network("inception_v3", 4, size=150, width=0.25, auxiliary=True).eval()
    images = torch.zeros(1, 3, 150, 150)
    names = list(net.end_points(images))
    assert names[-4:] == ["AuxLogits", "PreLogits", "Logits", "Predictions"]
    net.AuxLogits.register_forward_hook(_fail)
    assert net(images).shape == (1, 4)


@pytest.mark.parametrize(
    ("case", "name", "options"),
    [
        ("no-head", "resnet50", {"auxiliary": True}),
        ("conventions", "inception_v3", {"conventions": "keras"}),
        ("negative-width", "inception_v3", {"width": -0.1}),
        ("too-small", "inception_v3", {"size": 74}),
        ("too-small-for-the-head", "inception_v3", {"size": 100, "auxiliary": True}),
    ],
)
def test_nonsense_is_refused_with_what_works(case: str, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        pl.network(name, 3, **options)
    check(f"networks/{case}", str(caught.value))


@pytest.mark.parametrize("name", pl.architectures())
def test_multiply_adds_are_those_of_torchs_own_counter(name: str) -> None:
    size = min(ARCHITECTURES[name].size, 160)
    net = pl.network(name, 10, size=size).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, size, size))
    assert counter.get_total_flops() == 2 * pl.structure(name, size=size, classes=10).totals.multiply_adds


KERNELS = st.tuples(st.integers(1, 5), st.integers(1, 5))


def conv(kernel: tuple[int, int], stride: int) -> Conv:
    return Conv(2, kernel, stride, (kernel[0] // 2, kernel[1] // 2), norm=False, relu=False)


CONVS = st.builds(conv, KERNELS, st.just(1))
POOLS = st.builds(lambda kernel: Pool("average", kernel, 1, kernel // 2), st.sampled_from([1, 3]))


def odd(kernel: tuple[int, int]) -> tuple[int, int]:
    return kernel[0] | 1, kernel[1] | 1


BRANCHED = st.lists(st.builds(lambda kernel: conv(odd(kernel), 1), KERNELS), min_size=2, max_size=3).map(
    lambda paths: Branches(tuple((f"Branch_{index}", path) for index, path in enumerate(paths)))
)
RESIDUAL = st.builds(
    lambda kernel: Residual((("a", conv(odd(kernel), 1)), ("b", Conv("input", (1, 1), norm=False))), relu=False),
    KERNELS,
)
STRIDED = st.builds(conv, KERNELS, st.integers(2, 3))


@given(st.lists(st.one_of(CONVS, POOLS, BRANCHED, RESIDUAL, STRIDED), min_size=1, max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_receptive_fields_are_what_gradients_reach(layers: list[Layer], same: bool) -> None:
    if same:
        layers = [with_same(layer) for layer in layers]
    chained = Chain(tuple((f"step_{index}", layer) for index, layer in enumerate(layers)))
    before = Map(3, 80, 80)
    after = measured(chained, before, Conventions())
    net = _build(chained, before, Conventions())[0].double()
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.5, 1)
    images = torch.ones(1, 3, 80, 80, dtype=torch.float64, requires_grad=True)
    cell = (after.height // 2, after.width // 2)
    net(images)[0, :, cell[0], cell[1]].sum().backward()
    assert images.grad is not None
    reached = images.grad.abs().sum(dim=(0, 1)) > 0
    for axis in (0, 1):
        seen = torch.nonzero(reached.any(dim=1 - axis)).flatten()
        first = after.start[axis] + cell[axis] * after.stride
        if first < 0 or first + after.field[axis] > 80:
            continue  # cut by the padding
        assert (int(seen[0]), int(seen[-1])) == (first, first + after.field[axis] - 1)


def with_same(layer: Layer) -> Layer:
    match layer:
        case Conv(stride=stride) if stride > 1:
            return Conv(2, layer.kernel, stride, layer.pad, norm=False, relu=False, same=True)
    return layer


@pytest.mark.parametrize(
    ("name", "end_point", "field"), [("inception_v3", "Mixed_5d", 127), ("resnet50", "conv2_x", 35)]
)
def test_receptive_fields_of_the_catalog_are_what_gradients_reach(name: str, end_point: str, field: int) -> None:
    torch.manual_seed(0)
    net = pl.network(name, 2, width=0.1).eval()
    for module in net.modules():  # so that nothing is cut off by a ReLU or a maximum
        if isinstance(module, nn.ReLU | nn.MaxPool2d):
            module.forward = smooth(module)  # type: ignore[method-assign]
    images = torch.rand(1, 3, net.size, net.size, requires_grad=True)
    maps = net.end_points(images, last=end_point)[end_point]
    middle = maps.shape[-1] // 2
    maps[0, :, middle, middle].sum().backward()
    assert images.grad is not None
    seen = torch.nonzero(images.grad.abs().sum(dim=(0, 1)).any(dim=0)).flatten()
    assert int(seen[-1]) - int(seen[0]) + 1 == field
    step = next(s for s in walk(ARCHITECTURES[name], size=net.size, classes=2) if s.name == end_point)
    assert step.after.field == (field, field)


def smooth(module: nn.Module) -> Any:
    if isinstance(module, nn.ReLU):
        return lambda x: x
    return lambda x: nn.functional.avg_pool2d(x, module.kernel_size, module.stride, module.padding)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "last"), [("inception_v3", "Mixed_6e"), ("resnet50", "conv4_x"), ("vgg13", "pool3")])
def test_a_network_may_end_early_and_is_then_pooled_and_classified(name: str, last: str) -> None:
    torch.manual_seed(0)
    net = pl.network(name, 3, size=96, width=0.2, last=last).eval()
    whole = pl.network(name, 3, size=96, width=0.2).eval()
    names = whole.end_point_names
    assert net.end_point_names == (*names[: names.index(last) + 1], "PreLogits", "Logits", "Predictions")
    pl.load_weights(net, whole.state_dict(), layout="pellucid", until=last, head=False)
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        found, expected = net.end_points(images), whole.end_points(images, last=last)
    assert torch.equal(found[last], expected[last])
    assert torch.allclose(found["PreLogits"], expected[last].mean(dim=(2, 3)), atol=1e-6)
    counted = pl.structure(name, size=96, width=0.2, classes=3, last=last)
    assert counted.totals.parameters == sum(parameter.numel() for parameter in net.parameters())


def test_a_network_cannot_end_where_there_is_no_map() -> None:
    with pytest.raises(UserError) as caught:
        pl.network("vgg11", 3, last="fc6")
    check("networks/no-map", str(caught.value))


def test_weights_that_end_early_give_a_probe_of_what_they_reach() -> None:
    file = shared("data/weights/inception_v3_imagenet_to_mixed_7a.fp16.safetensors")
    net = pl.network("inception_v3", 2, last="Mixed_7a")
    report = pl.load_weights(net, file, until="Mixed_7a", head=False)
    assert report.left_random == ("Logits.weight", "Logits.bias")
    assert all(tensor.dtype == torch.float32 for tensor in net.state_dict().values() if tensor.is_floating_point())


def test_weights_ported_from_tensorflow_want_minus_one_to_one() -> None:
    """torchvision turns ImageNet's mean and deviation back to a half for them: the same logits either way."""
    import torchvision

    torch.manual_seed(2)
    theirs = torchvision.models.googlenet(num_classes=3, transform_input=True, aux_logits=False, init_weights=False)
    ours = pl.network("inception_v1", 3).eval()
    pl.load_weights(ours, theirs.state_dict(), layout="torchvision")
    wanted = default_preprocessing("inception_v1", size=224)
    assert (wanted.mean, wanted.std) == ((0.5,) * 3, (0.5,) * 3)
    raw = torch.rand(1, 3, 224, 224)
    usual = (raw - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.inference_mode():
        assert close(ours((raw - 0.5) / 0.5), theirs.eval()(usual))


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        pytest.param("inception_v3", marks=pytest.mark.slow),
        pytest.param("timm/mobilenetv2_050", marks=pytest.mark.slow),
    ],
)
def test_end_points_are_the_same_when_compiled(name: str) -> None:
    torch.manual_seed(0)
    net = pl.network(name, 4, size=96).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = net.end_points(images)
        found = torch.compile(net.end_points, backend="aot_eager")(images)  # captured; generating code takes a minute
    assert list(found) == list(expected)
    for end, value in expected.items():
        assert torch.allclose(found[end], value, atol=1e-4 * float(value.abs().max())), end


@pytest.mark.parametrize("name", ["inception_v3", "resnet18"])
def test_end_points_pass_through_torchs_export(name: str) -> None:
    net = pl.network(name, 3, size=96, width=0.1).eval()
    images = torch.randn(1, 3, 96, 96)

    class AtEndPoints(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return tuple(self.net.end_points(x).values())

    exported = torch.export.export(AtEndPoints(), (images,)).module()
    with torch.no_grad():
        for ours, theirs in zip(net.end_points(images).values(), exported(images), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)
