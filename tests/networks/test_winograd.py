"""Convolutions with fewer multiplications, against torch's own in double precision."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pellucid as pl
from pellucid.networks.quick import quick, quick_to_train
from pellucid.networks.winograd import AT_ONCE, Winograd, winograd


def of_shape(channels, out, padding, *, bias=False, dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Conv2d(channels, out, 3, padding=padding, bias=bias, dtype=dtype)


def at_points(net):
    """A copy."""
    copy = deepcopy(net)
    winograd(copy, fixed=False)
    return copy


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([40, 67, 96, 130]),
    st.sampled_from([40, 96, 101]),
    st.integers(5, 30),
    st.integers(5, 30),
    st.sampled_from([0, 1]),
    st.booleans(),
)
def test_it_is_torchs_convolution_and_so_are_its_gradients(channels, out, height, width, padding, bias):
    conv = of_shape(channels, out, padding, bias=bias)
    images = torch.randn(16, channels, height, width, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(16, out, height + 2 * padding - 2, width + 2 * padding - 2, dtype=torch.float64)
    found = []
    for convolution in (conv, at_points(conv)):
        made = convolution(images)
        found.append((made, *torch.autograd.grad(made, (images, *convolution.parameters()), gradient)))
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-9)


def test_more_images_than_are_computed_at_once():
    conv = of_shape(128, 96, 1)
    images = torch.randn(40, 128, 29, 30, dtype=torch.float64, requires_grad=True)
    assert 2 * AT_ONCE < 40 * 8 * 8 * 36 * 128
    ours = at_points(conv)
    expected, found = conv(images), ours(images)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    wanted = torch.autograd.grad(expected.square().sum(), (images, conv.weight))
    got = torch.autograd.grad(found.square().sum(), (images, ours.weight))
    torch.testing.assert_close(got, wanted, atol=1e-7, rtol=1e-9)


def products(work):
    """How many products of matrices it takes: a direct convolution none."""
    with torch.profiler.profile() as profile:
        work()
    return sum(event.count for event in profile.key_averages() if event.key in ("aten::bmm", "aten::baddbmm_"))


def test_no_gradient_is_computed_that_nobody_asked_for():
    conv = at_points(of_shape(40, 40, 1, dtype=torch.float32))
    images = torch.randn(4, 40, 32, 32, requires_grad=True)

    def taken(images, *, learning):
        made = conv.requires_grad_(learning)(images).sum()
        return products(made.backward)

    of_images, of_weights = taken(images, learning=False), taken(images.detach(), learning=True)
    assert of_images and of_weights
    assert taken(images, learning=True) == of_images + of_weights


def test_what_comes_next_may_change_it_in_place():
    net = nn.Sequential(of_shape(48, 48, 1, dtype=torch.float32), nn.ReLU(inplace=True))
    images = torch.randn(4, 48, 32, 32, requires_grad=True)
    expected = torch.autograd.grad(net(images).sum(), images)
    found = torch.autograd.grad(at_points(net)(images).sum(), images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_it_is_direct_where_that_is_quicker_or_more_exact():
    conv = at_points(of_shape(96, 96, 1, dtype=torch.float32))
    many, few = torch.randn(4, 96, 16, 16), torch.randn(1, 96, 16, 16)  # 64 and 16 tiles
    with torch.inference_mode():
        assert products(lambda: conv(many))
        assert not products(lambda: conv(few))
        assert not products(lambda: conv(few[0]))  # an image without a batch
        with torch.autocast("cpu", torch.bfloat16):
            assert not products(lambda: conv(many))
        conv.bfloat16()
        assert not products(lambda: conv(many.bfloat16()))
        assert not products(lambda: at_points(of_shape(96, 96, 0, dtype=torch.float32))(torch.randn(1, 96, 410, 410)))


def test_fewer_channels_are_enough_where_there_are_gradients():
    conv, images = at_points(of_shape(64, 64, 1, dtype=torch.float32)), torch.randn(4, 64, 16, 16)
    assert products(lambda: conv(images))
    with torch.no_grad():
        assert not products(lambda: conv(images))


def test_other_shapes_are_refused_as_torch_refuses_them():
    conv = at_points(of_shape(96, 96, 1, dtype=torch.float32))
    with pytest.raises(RuntimeError, match="to have 96 channels"):
        conv(torch.randn(4, 97, 16, 16))


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "inception_v3", "timm/resnet18"])
def test_a_network_stays_what_it_is(name):
    torch.manual_seed(0)
    net = pl.network(name, 10, size=96).eval()
    images = torch.randn(8, 3, 96, 96)
    names = list(net.state_dict())
    with torch.inference_mode():
        expected = net(images)
        close = 1e-4 * float(expected.std())
        evaluated = quick(net)
        for _ in range(2):  # the second time with weights that were kept
            torch.testing.assert_close(evaluated(images), expected, atol=close, rtol=0)
    assert not any(isinstance(module, Winograd) for module in net.modules())
    parameters = {id(parameter) for parameter in net.parameters()}
    quick_to_train(net)
    assert any(isinstance(module, Winograd) for module in net.modules())
    assert list(net.state_dict()) == names
    assert {id(parameter) for parameter in net.parameters()} == parameters
    with torch.inference_mode():
        torch.testing.assert_close(net(images), expected, atol=close, rtol=0)


def test_other_convolutions_are_left():
    kinds = {"stride": 2, "dilation": 2, "groups": 2, "padding_mode": "reflect", "padding": 2}
    net = nn.Sequential(*(nn.Conv2d(64, 64, 3, **{name: value}) for name, value in kinds.items()))
    net.append(nn.Conv2d(64, 64, (1, 3))).append(nn.Conv2d(64, 64, 3, padding="same"))
    quick_to_train(net)
    assert not any(isinstance(module, Winograd) for module in net)


def test_a_step_has_the_gradients_of_double_precision():
    """As far off as torch's own in float32; both round, and a rounded ReLU may open or close."""
    torch.manual_seed(0)
    images, labels = torch.randn(8, 3, 40, 40), torch.randint(10, (8,))
    layers = [nn.Conv2d(3, 48, 3), nn.ReLU(), nn.Conv2d(48, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
    net = nn.Sequential(
        *layers, nn.Conv2d(64, 96, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10)
    )

    def gradients(dtype):
        net.to(dtype).zero_grad()
        nn.functional.cross_entropy(net(images.to(dtype)), labels).backward()
        return torch.cat([parameter.grad.double().flatten() for parameter in net.parameters()])

    exact = gradients(torch.float64)
    direct = gradients(torch.float32)
    quick_to_train(net)
    ours = gradients(torch.float32)
    assert (ours - exact).norm() <= max(2 * (direct - exact).norm(), 1e-4 * exact.norm())
