"""How deep networks are said to be, as their papers and MATLAB's table of pretrained networks count them."""

import pytest
import torch
import torchvision
from torch import nn

import pellucid as pl

# MathWorks, Pretrained Deep Neural Networks: "the largest number of sequential convolutional or fully connected layers
# on a path from the network input to the network output".
DEPTHS = {"vgg16": 16, "vgg19": 19, "inception_v1": 22, "inception_v3": 48, "vgg11": 11, "resnet34": 34}


@pytest.mark.parametrize("name", DEPTHS)
def test_a_table_is_as_deep_as_is_said_of_it(name: str) -> None:
    path = pl.structure(name, auxiliary="inception" in name or None).main_path  # heads lie beside it
    assert path is not None and path.layers == DEPTHS[name]


def test_a_module_is_as_deep_as_is_said_of_it() -> None:
    path = pl.structure(torchvision.models.mobilenet_v2(width_mult=0.1), size=32).main_path
    assert path is not None and path.layers == 53


class Odd(nn.Module):
    """Weights that are used by hand, twice, in place, and a way that nothing of the image goes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.weight = nn.Parameter(torch.ones(4, 3))
        self.bias = nn.Linear(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(self.conv(x)).relu_() + x
        return nn.functional.linear(y.mean(dim=(2, 3)), self.weight) + self.bias(torch.ones(2))


def test_every_use_of_a_weight_on_the_way_from_the_image_counts() -> None:
    path = pl.structure(Odd(), size=8).main_path
    assert path is not None and (path.convolutions, path.linear) == (2, 1)


def test_the_path_ends_where_it_is_shown_to() -> None:
    path = pl.structure("resnet50", until="conv2_x").main_path
    assert path is not None and (path.layers, path.linear) == (1 + 3 * 3, 0)
