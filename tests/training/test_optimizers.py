"""Our optimizers against torch's, number for number."""

import pytest
import torch
from torch import nn

from pellucid.training.optimizers import SGD, AdamW

MADE = {
    "sgd": (lambda groups: SGD(groups, rate=0.1), lambda groups: torch.optim.SGD(groups, lr=0.1)),
    "momentum": (
        lambda groups: SGD(groups, rate=0.1, momentum=0.9),
        lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    ),
    "nesterov": (
        lambda groups: SGD(groups, rate=0.1, momentum=0.8, nesterov=True),
        lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.8, nesterov=True),
    ),
    "adamw": (lambda groups: AdamW(groups, rate=0.01), lambda groups: torch.optim.AdamW(groups, lr=0.01)),
}


def net_and_groups() -> tuple[nn.Module, list[dict]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))
    return net, [
        {"params": [net[0].weight, net[3].weight], "weight_decay": 0.05},
        {"params": [net[0].bias, net[1].weight, net[1].bias, net[3].bias], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("name", MADE)
def test_weights_move_as_with_torchs_own(name: str) -> None:
    weights = []
    for make in MADE[name]:
        net, groups = net_and_groups()
        optimizer = make(groups)
        for step in range(6):
            net[0].weight.requires_grad_(step != 1)  # a parameter without a gradient rests, and is behind from then on
            optimizer.param_groups[0]["lr"] = 0.05 / (step + 1)
            loss = nn.functional.cross_entropy(net(torch.randn(8, 3, 8, 8)), torch.randint(5, (8,)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        weights.append([parameter.detach().clone() for parameter in net.parameters()])
    for ours, theirs in zip(*weights, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", MADE)
def test_what_is_remembered_can_be_put_back(name: str) -> None:
    def moved(interrupted: bool) -> torch.Tensor:
        torch.manual_seed(1)
        parameter = nn.Parameter(torch.randn(3))
        optimizer = MADE[name][0]([{"params": [parameter]}])
        for step in range(4):
            if interrupted and step == 2:
                kept = {
                    place: {key: each.clone() for key, each in slots.items()}
                    for place, slots in optimizer.slots().items()
                }
                optimizer = MADE[name][0]([{"params": [parameter]}])
                optimizer.restore(kept)
            parameter.grad = torch.randn(3)
            optimizer.step()
        return parameter.detach()

    assert torch.equal(moved(False), moved(True))


def test_what_another_optimizer_remembers_is_refused() -> None:
    parameters = [{"params": [nn.Parameter(torch.zeros(3))]}]
    with pytest.raises(ValueError, match="exp_avg of parameter 0"):
        AdamW(parameters, rate=1).restore(
            {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(3)}}
        )
    with pytest.raises(ValueError, match="which this optimizer has not"):
        SGD(parameters, rate=1, momentum=0.9).restore({0: {"exp_avg": torch.zeros(3)}})
