"""The fake-face tutorial's own network, as its page defines it."""

import torch
from torch import nn

import pellucid as pl


def theirs() -> nn.Sequential:
    """Five convolutions without padding, each with ReLU and pooling; three linear layers."""
    layers: list[nn.Module] = []
    for before, after, kernel in ((3, 15, 3), (15, 75, 4), (75, 150, 3), (150, 300, 3), (300, 300, 3)):
        layers += [nn.Conv2d(before, after, kernel), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(7500, 400), nn.ReLU(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 2)]
    return nn.Sequential(*layers)


def test_it_has_as_many_parameters_as_the_tutorials() -> None:
    assert pl.structure("small_tutorial", classes=2).totals.parameters == 4_384_257  # the sum of its layers, by hand


def test_with_the_same_weights_it_says_the_same() -> None:
    torch.manual_seed(0)
    ours, plain = pl.network("small_tutorial", 2).eval(), theirs()
    ours.load_state_dict(dict(zip(ours.state_dict(), plain.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(ours(images), plain(images), atol=1e-6)
