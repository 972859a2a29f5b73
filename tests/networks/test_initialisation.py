"""How weights begin: beside what TF-Slim's cut normal and a uniform distribution come to."""

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import UserError


def test_tf_slims_initialisation_is_a_normal_cut_at_two_deviations() -> None:
    torch.manual_seed(0)
    net = pl.network("inception_v3", 10, auxiliary=True, initialisation="tf-slim", norm_decay=0.9997)
    # Cut at two deviations, a normal keeps 0.88 of its deviation (Johnson, Kotz & Balakrishnan, chapter 13).
    for name, spread in (("Mixed_5d", 0.1), ("AuxLogits.Conv2d_2a_5x5", 0.01), ("AuxLogits.Conv2d_2b_1x1", 0.001)):
        weights = torch.cat(
            [p.detach().flatten() for n, p in net.named_parameters() if n.startswith(name) and p.ndim > 1]
        )
        assert float(weights.abs().max()) <= 2 * spread
        assert float(weights.std()) == pytest.approx(0.8796 * spread, rel=0.02)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.momentum == pytest.approx(0.0003) and norm.eps == 0.001 for norm in norms)


def test_the_last_layer_may_begin_uniform_and_nothing_else_changes() -> None:
    """Within 1 / sqrt(2048), which ResNet-50's last layer has for inputs; a uniform deviates by a third of its root."""
    torch.manual_seed(3)
    net = pl.network("resnet50", 40, head_initialisation="uniform")
    torch.manual_seed(3)
    usual = pl.network("resnet50", 40)
    weight = net.Logits.weight.detach()
    assert weight.shape[1] == 2048 and 0.999 / 2048**0.5 < float(weight.abs().max()) <= 1 / 2048**0.5
    assert float(weight.std()) == pytest.approx(1 / (3 * 2048) ** 0.5, rel=0.01)
    assert not net.Logits.bias.any()
    others = [name for name in net.state_dict() if not name.startswith("Logits")]
    assert all(torch.equal(net.state_dict()[name], usual.state_dict()[name]) for name in others)
    again = pl.network(net.name, 40, **net.options)
    assert again.options == net.options
    with pytest.raises(UserError, match="no head_initialisation 'unifrom'"):
        pl.network("small", 2, head_initialisation="unifrom")
