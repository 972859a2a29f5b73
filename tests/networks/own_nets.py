"""Networks of one's own, as people write them: in a file, or in Python."""

from typing import Any

import pytest
from torch import Tensor, nn

from pellucid.interruption import Interruption

QUICK: dict[str, Any] = {"size": 32, "epochs": 2, "batch": 8, "workers": 0}
TUTORIAL = '''
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """The fake-face tutorial's network, as its page writes one."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 15, 3)
        self.conv2 = nn.Conv2d(15, 75, 4)
        self.conv3 = nn.Conv2d(75, 150, 3)
        self.conv4 = nn.Conv2d(150, 300, 3)
        self.conv5 = nn.Conv2d(300, 300, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(7500, 400)
        self.fc2 = nn.Linear(400, 120)
        self.fc3 = nn.Linear(120, classes)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            x = self.pool(F.relu(conv(x)))
        x = x.view(-1, 7500)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)
'''


class Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class Small(nn.Module):
    """Blocks in nested containers, a pooling that is called twice, and `view`."""

    def __init__(self, num_classes: int = 2, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(Block(3, width), nn.Sequential(Block(width, width), Block(width, 2 * width)))
        self.pool = nn.MaxPool2d(2)
        self.classifier = nn.Sequential(
            nn.Linear(2 * width * 64, 16), nn.ReLU(inplace=True), nn.Linear(16, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.pool(self.stem(x)))
        return self.classifier(x.view(x.size(0), -1))


def nested(classes: int) -> nn.Sequential:
    first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(first, nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), nn.Linear(32, classes))


def interrupted(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """As Ctrl-C does it: the request is noticed after a step."""
    steps = iter(range(1000))
    asked = property(lambda _: next(steps) >= after, lambda *_: None)
    monkeypatch.setattr(Interruption, "asked", asked, raising=False)


FILE = """
from torch import nn

SLOPE = 0.1


def bend(x):
    return nn.functional.leaky_relu(x, SLOPE)


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(bend(self.conv(x)).mean((2, 3)))


print("imported")
"""


class Tuple(Small):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


HELPED = """
from torch import nn
{line}

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = layer(), nn.Linear({width}, classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))
"""
BLOCKS = "from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, 4, 3)\n"
