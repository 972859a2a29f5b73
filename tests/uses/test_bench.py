"""The timing harness, and the quick network that it times: the same numbers, in turn with other libraries."""

from typing import Any

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import UserError
from pellucid.inspection.torch_original import stepping
from pellucid.networks.quick import quick
from pellucid.reports.timing import ahead_line, closing_line
from pellucid.uses.bench import Bench, Timing, _batch, _failed
from tests.tutorials.test_001_harness import bench_of


@pytest.mark.parametrize(
    ("name", "options", "norms"),
    [
        ("resnet18", {}, 0),
        ("vgg11_bn", {}, 0),
        ("inception_v3", {"auxiliary": True}, 0),
        ("inception_v2", {"conventions": "tensorflow"}, 0),
        ("inception_resnet_v2", {"width": 0.2}, 0),
        ("timm/mobilenetv2_100", {}, 0),
        ("timm/regnety_002", {}, 0),
        ("timm/densenet121", {}, 62),  # of 121: each block's and transition's first norm comes before its convolution
        ("timm/vit_tiny_patch16_224", {}, 0),
    ],
)
def test_a_quick_network_computes_the_same_with_the_norms_after_convolutions_folded(
    name: str, options: dict[str, Any], norms: int
) -> None:
    torch.manual_seed(1)
    net = pl.network(name, 5, size=139 if "inception" in name else 64, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    images = torch.randn(2, 3, net.size or 64, net.size or 64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.inference_mode():
        expected = net.eval()(images)
        copy = quick(net)
        found = copy(images)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in copy.modules()) == norms
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())  # a copy


def test_a_convolution_that_two_norms_follow_is_folded_into_neither() -> None:
    torch.manual_seed(1)
    conv, norms = nn.Conv2d(3, 3, 1), [nn.BatchNorm2d(3), nn.BatchNorm2d(3)]
    net = nn.Sequential(*(nn.Sequential(conv, norm) for norm in norms)).eval()
    for norm in norms:
        assert norm.running_var is not None
        norm.running_var.uniform_(0.5, 2)
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(quick(net)(images), net(images))


def test_batches_take_turns_and_are_told() -> None:
    told: list[tuple[str, int]] = []
    timed = pl.bench(
        "resnet18",
        batch=2,
        size=32,
        burn_in=1,
        steps=3,
        against=("torchvision",),
        threads=1,
        progress=lambda library, step, _: told.append((library, step)),
    )
    assert told == [(library, step) for step in range(-1, 3) for library in ("pellucid", "torchvision")]
    assert [len(timing.seconds) for timing in timed.timings] == [3, 3]
    # Two images of 32 pixels: each layer's map is a seventh of that at 224, but for the first, by rounding.
    assert timed.operations == 2 * 2 * pl.structure("resnet18", size=32).totals.multiply_adds
    assert 0 < timed.share_of_peak(timed.ours) < 1.2
    assert timed.threads == 1


def test_ratios_pair_batches_and_shares_are_of_the_peak() -> None:
    ours, theirs = (0.5, 1.0, 2.0), (1.0, 2.0, 4.0)
    timed = Bench(
        name="x", batch=4, size=8, direction="backward", threads=1, operations=10, peak=60.0,
        timings=(Timing(library="pellucid", seconds=ours), Timing(library="timm", seconds=theirs)),
    )  # fmt: skip
    assert timed.ratio(timed.timings[1]) == (2.0, 2.0, 2.0)
    assert timed.share_of_peak(timed.ours) == pytest.approx(10 * 3 / 1.0 / 60)
    assert (timed.ours.mean, timed.ours.median) == (pytest.approx(3.5 / 3), 1.0)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"against": ("torchvison",)}, "did you mean torchvision"),
        ({"batch": 0}, "batch is at least 1"),
        ({"steps": 0}, "steps is at least 1"),
        ({"burn_in": -1}, "burn-in is at least 0"),
        ({"threads": -1}, "threads is at least 1"),
        ({"threads": 0}, "threads is at least 1"),
        ({"size": -5}, "size is at least 1 pixel"),
        ({"net": "tests"}, "is a file or folder"),
        ({"net": "inception_v3", "size": 75, "direction": "backward"}, "one value is left for the norm"),
        ({"net": "resnet19"}, "there is no network"),
        ({"net": "inception_v2", "against": ("timm",), "size": 64}, "timm has no network"),
        ({"auxiliary": True}, "resnet18 has no auxiliary head"),
        ({"against": ("timm",), "width": 0.5}, "timm has no resnet18 of another width"),
        ({"against": ("timm",), "conventions": "tensorflow"}, "timm's resnet18 is by torch's conventions"),
        (
            {"net": "inception_v3", "against": ("torchvision",), "auxiliary": True, "size": 107},
            "without auxiliary heads",
        ),
    ],
)
def test_what_cannot_be_timed_is_told(wish: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        pl.bench(wish.pop("net", "resnet18"), **({"batch": 1, "size": 32, "steps": 1, "burn_in": 0} | wish))
    assert said in str(caught.value)


def test_memory_is_told_of_where_it_lacked_and_the_reason_where_it_did_not() -> None:
    settings = {"net": "small", "batch": 7, "size": 32, "direction": "forward"}
    lacking = _failed(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "timm", settings
    )
    assert "too little memory" in str(lacking) and "smaller --batch" in lacking.hint
    for cause, reason in ((ValueError("Expected more than 1 value"), "Expected more"), (KeyError(), "KeyError")):
        other = _failed(cause, "timm", settings)
        assert reason in str(other) and "memory" not in str(other)
    assert _failed(lacking, "timm", settings) is lacking


def test_options_are_of_the_network_that_is_timed() -> None:
    options = {"auxiliary": True, "conventions": "tensorflow", "width": 0.1}
    asked = {"net": "inception_v3", "batch": 2, "size": 107, "classes": 5, "direction": "forward", "threads": None}
    made: Any = _batch("pellucid", asked | {"options": options})()
    assert [tuple(logits.shape) for logits in made] == [(2, 5), (2, 5)]  # the auxiliary head's too


def test_auxiliary_heads_are_computed_and_trained_where_they_are_asked_for() -> None:
    net = pl.network("inception_v3", 5, size=107, width=0.1, auxiliary=True).train()
    images = torch.randn(2, 3, 107, 107)
    head = net.AuxLogits.Conv2d_1b_1x1.conv.weight
    for heads in (False, True):
        stepping(net, images, backward=True, heads=heads)()
        assert (head.grad is not None) == heads
    assert len(stepping(net.eval(), images, backward=False, heads=True)()) == 2  # type: ignore[arg-type]


def test_several_libraries_have_a_closing_line_each() -> None:
    ours, theirs = Timing(library="pellucid", seconds=(1.0, 1.0)), Timing(library="timm", seconds=(2.0, 2.0))
    both = bench_of((1.0,)).model_copy(update={"timings": (ours, theirs), "direction": "backward"})
    lines = [closing_line(both, timing).plain.partition(": ")[2] for timing in both.timings]
    assert lines[0] == "Forward-backward across 2 steps, 1.000 +/- 0.000 sec / batch (pellucid)"
    assert lines[1].endswith("2.000 +/- 0.000 sec / batch (timm)")
    assert (
        "a batch of each of pellucid and timm took 3.00 s: 10 batches"
        in ahead_line({"pellucid": 1.0, "timm": 2.0}, 10).plain
    )
