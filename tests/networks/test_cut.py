"""A network in two: both halves, one after the other, compute what it does."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pellucid as pl
from pellucid.networks.cut import halves


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small", {}),
        ("resnet18", {"width": 0.1}),
        ("vgg11_bn", {"width": 0.05}),
        ("inception_v3", {"width": 0.1, "auxiliary": True}),
        ("inception_resnet_v2", {"width": 0.05}),
    ],
)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_two_halves_compute_what_the_network_does(name: str, options: dict[str, Any], data: st.DataObject) -> None:
    torch.manual_seed(0)
    net = pl.network(name, 3, size=139 if "inception" in name else 64, **options).eval()
    end_point = data.draw(st.sampled_from(net.end_point_names[1:-1]))
    cut = halves(net, end_point)
    images = torch.randn(2, 3, net.size, net.size)
    if cut is None:  # a head that is trained starts before the cut
        assert net.head_names
        return
    with torch.no_grad():
        assert torch.equal(cut.rest(cut.frozen(images)), net(images))
        logits, *heads = cut.rest.with_heads(cut.frozen(images))
        assert torch.equal(logits, net(images)) and len(heads) <= len(net.head_names)


@pytest.mark.parametrize("name", ["mobilenetv2_050", "vit_tiny_patch16_224", "convnext_atto", "densenet121"])
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_timms_networks_are_cut_in_the_graph_of_their_operations(name: str, data: st.DataObject) -> None:
    torch.manual_seed(0)
    net = pl.network(f"timm/{name}", 3, size=64)
    end_point = data.draw(st.sampled_from([*net.end_point_names[:-3], "Logits"]))
    cut = halves(net, end_point)
    assert cut is not None
    images = torch.randn(2, 3, 64, 64)
    net.eval()
    with torch.no_grad():
        expected = net(images)
        assert torch.allclose(cut.rest(cut.frozen(images)), expected, atol=1e-5 * float(expected.abs().max()))
    trained = {
        id(one) for part in (*net.divided(end_point).within, *net.divided(end_point).after) for one in part.parameters()
    }
    assert not trained & {id(one) for one in cut.frozen.parameters()} or end_point == "Logits"
    assert {id(one) for one in cut.rest.parameters()} <= trained
