"""The timing harness, and the quick network that it times: the same numbers, in turn with other libraries."""

from typing import Any

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks.quick import quick
from pellucid.uses.bench import Bench, Timing, _failed


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
