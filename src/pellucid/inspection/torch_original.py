"""torchvision's and timm's networks."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import UserError
from pellucid.networks.network import Network
from pellucid.weights.sources.layers import BETWEEN
from pellucid.weights.sources.table import ELSEWHERE

RESNET = {**{f"conv{i}_x": f"layer{i - 1}" for i in range(2, 6)}, "Logits": "fc"}
# torchvision counts blocks from a where the paper, and TF-Slim, keep that letter for the pooling before.
V1_BLOCKS = {
    f"Mixed_{place}": f"inception{place[0]}{chr(ord(place[1]) - 1)}"
    for place in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
}
# Our end points, and the module whose output each is, besides those in sources.layers.BETWEEN.
ENDS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("torchvision", "resnet"): RESNET | {"conv1": "relu"},
    ("timm", "resnet"): RESNET | {"conv1": "act1"},
    ("torchvision", "inception_v1"): {
        **{"Conv2d_1a_7x7": "conv1", "Conv2d_2b_1x1": "conv2", "Conv2d_2c_3x3": "conv3", "Logits": "fc"},
        **V1_BLOCKS,
    },
    ("torchvision", "inception_v3"): {"Logits": "fc"},
    ("timm", "inception_v3"): {"Logits": "fc"},
    ("torchvision", "vgg"): {"Logits": "classifier.6"},
    ("timm", "vgg"): {"Logits": "head.fc"},
    ("timm", "inception_v4"): {"Logits": "last_linear"},
    ("timm", "inception_resnet_v2"): {
        **{"Conv2d_1a_3x3": "conv2d_1a", "Conv2d_2a_3x3": "conv2d_2a", "Conv2d_2b_3x3": "conv2d_2b"},
        **{"Conv2d_3b_1x1": "conv2d_3b", "Conv2d_4a_3x3": "conv2d_4a"},
        **{"Mixed_5b": "mixed_5b", "Mixed_6a": "mixed_6a", "PreAuxLogits": "repeat_1"},
        **{"Mixed_7a": "mixed_7a", "Conv2d_7b_1x1": "conv2d_7b", "Logits": "classif"},
    },
}


class TorchOriginal:
    """A network of torchvision or timm."""

    def __init__(self, library: str, name: str, *, classes: int) -> None:
        self.library, self.name = library, ELSEWHERE.get((library, name), name).removeprefix("timm/")
        try:
            self.net = self._built(classes)
        except (ValueError, RuntimeError) as cause:
            hint = "it may have another name there"
            raise UserError(f"{library} has no network {self.name!r}", hint=hint) from cause

    def _built(self, classes: int) -> nn.Module:
        if self.library == "timm":
            import timm

            net: nn.Module = timm.create_model(self.name, num_classes=classes)
            return net
        import torchvision

        bare: dict[str, Any] = {"num_classes": classes}
        if self.name in ("googlenet", "inception_v3"):
            bare |= {"init_weights": False, "aux_logits": True, "transform_input": False}
        made: nn.Module = torchvision.models.get_model(self.name, **bare)
        return made

    def tensors(self) -> dict[str, Tensor]:
        return self.net.state_dict()

    def load(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        try:
            self.net.load_state_dict(tensors, strict=False)
        except RuntimeError as cause:
            told = [str(cause).splitlines()[-1].strip()]
            raise UserError(f"{path} does not fit {self.library}'s {self.name}", told) from cause

    def randomise(self, seed: int) -> None:
        torch.manual_seed(seed)
        with_statistics(self.net)

    def end_points(self, ours: Network, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        handles = []
        modules = dict(self.net.named_modules())
        for name, place in _places(self.library, self.net, ours):
            if place in modules:
                handles.append(modules[place].register_forward_hook(_keep(found, name)))
        try:
            with torch.no_grad():
                self.net.eval()(images)
        finally:
            for handle in handles:
                handle.remove()
        return found

    def stepping(self, images: Tensor, *, backward: bool) -> Callable[[], object]:
        return stepping(self.net.train(backward), images, backward=backward)


def stepping(net: nn.Module, images: Tensor, *, backward: bool, heads: bool = False) -> Callable[[], object]:
    """A function that computes the images once, without gradients or with; `heads`: auxiliary ones as the logits."""
    compute = net.with_heads if heads and isinstance(net, Network) else net

    def forward() -> object:
        with torch.inference_mode():
            return compute(images)

    def both() -> object:
        net.zero_grad(set_to_none=True)
        made = compute(images)
        logits = made if isinstance(made, tuple) else (made,)
        torch.stack([one.square().mean() for one in (logits if heads else logits[:1])]).sum().backward()
        return None

    return both if backward else forward


def with_statistics(net: nn.Module) -> nn.Module:
    """`net` with random scales, shifts and statistics in its batch norms, so that a wrong one would show."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return net


def _keep(found: dict[str, Tensor], name: str) -> Any:
    def keep(_module: nn.Module, _given: object, made: Tensor) -> None:
        found.setdefault(name, made.clone())  # what is called again later, such as a shared ReLU, came first here

    return keep


def _places(library: str, theirs: nn.Module, ours: Network) -> Iterator[tuple[str, str]]:
    """Our end points, and the paths of their modules. Blocks of Inception V3 are called alike; others are numbered."""
    between = BETWEEN.get((library, ours.family), {})
    known = {end: place for end, place in between.items() if "/" not in end} | dict(
        ENDS.get((library, ours.family), {})
    )
    if ours.family == "vgg":
        features = list(getattr(theirs, "features").children())  # noqa: B009 - a module says nothing of its parts
        pools = [index for index, part in enumerate(features) if isinstance(part, nn.MaxPool2d)]
        for stage, index in enumerate(pools, start=1):
            yield f"conv{stage}", f"features.{index - 1}"
            yield f"pool{stage}", f"features.{index}"
        yield "Logits", known["Logits"]
        return
    for index, name in enumerate(ours.end_point_names):
        numbered = f"features.{index}" if ours.family == "inception_v4" else name
        yield name, known.get(name, numbered)
