"""paddle.vision's networks."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import UserError
from pellucid.networks.table_network import TableNetwork
from pellucid.weights.sources.table import OF_LIBRARY

NAMES = OF_LIBRARY["paddle"]
# Our end points, and the layer whose output each is.
ENDS: Mapping[str, Mapping[str, str]] = {
    "vgg": {"Logits": "classifier.6"},
    "resnet": {
        **{"conv1": "relu", "pool1": "maxpool", "Logits": "fc"},
        **{f"conv{stage}_x": f"layer{stage - 1}" for stage in range(2, 6)},
    },
    "inception_v3": {
        **{
            f"Conv2d_{place}": f"inception_stem.conv_{place}"
            for place in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")
        },
        **{"MaxPool_3a_3x3": "inception_stem.max_pool", "MaxPool_5a_3x3": "inception_stem", "Logits": "fc"},
        **{
            f"Mixed_{place}": f"inception_block_list.{at}"
            for at, place in enumerate(["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"])
        },
    },
    "inception_v1_plain": {
        **{"Conv2d_1a_7x7": "_conv", "MaxPool_2a_3x3": "_pool", "Conv2d_2b_1x1": "_conv_1", "Conv2d_2c_3x3": "_conv_2"},
        **{"AuxLogits_1": "_out1", "AuxLogits_2": "_out2", "Logits": "_fc_out"},
    },
}


class PaddleOriginal:
    """A network of paddle.vision."""

    def __init__(self, name: str, *, classes: int, threads: int | None = None) -> None:
        import paddle

        if name not in NAMES:
            raise UserError(f"paddle has no network {name!r}", hint=f"it has {', '.join(NAMES)}")
        self._paddle = paddle
        if threads:
            paddle.base.core.set_num_threads(threads)
        normed = {"batch_norm": True} if name.endswith("_bn") else {}
        self.net: Any = getattr(paddle.vision.models, NAMES[name])(num_classes=classes, **normed)
        self.net.eval()

    def tensors(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(value.numpy()) for name, value in self.net.state_dict().items()}

    def load(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        state = self.net.state_dict()
        missing = [name for name in state if name not in tensors or tuple(state[name].shape) != tensors[name].shape]
        if missing:
            raise UserError(
                f"{path} does not fit Paddle's network", [f"{missing[0]} is not there, or has another shape"]
            )
        self.net.set_state_dict({name: tensors[name].float().numpy() for name in state})

    def randomise(self, seed: int) -> None:
        made = torch.Generator().manual_seed(seed)
        for name, value in self.net.state_dict().items():
            shape, kind = tuple(value.shape), name.rpartition(".")[2]
            if kind == "_variance" or (kind == "weight" and len(shape) == 1):
                value.set_value(0.5 + 1.5 * torch.rand(shape, generator=made).numpy())
            elif kind in ("_mean", "bias"):
                value.set_value(0.1 * torch.randn(shape, generator=made).numpy())

    def end_points(self, ours: TableNetwork, images: Tensor) -> dict[str, Tensor]:
        layers = dict(self.net.named_sublayers())
        found: dict[str, Tensor] = {}
        hooks = []
        for name, place in self._places(ours, layers):
            hooks.append(layers[place].register_forward_post_hook(_keep(found, name)))
        self.net.eval()
        with self._paddle.no_grad():
            self.net(self._paddle.to_tensor(images.numpy()))
        for hook in hooks:
            hook.remove()
        return found

    def _places(self, ours: TableNetwork, layers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if ours.family == "vgg":
            pools = [name for name, layer in layers.items() if type(layer).__name__ == "MaxPool2D"]
            for stage, place in enumerate(pools, start=1):
                yield f"conv{stage}", f"features.{int(place.rpartition('.')[2]) - 1}"
                yield f"pool{stage}", place
        if ours.family == "inception_v1_plain":
            for name in ours.end_point_names:
                if name.startswith("Mixed_"):
                    yield name, f"_ince{name[-2]}{chr(ord(name[-1]) - 1)}"
        heads = {name for name in ENDS[ours.family] if name.startswith("Aux") and name not in ours.head_names}
        yield from ((name, place) for name, place in ENDS[ours.family].items() if name not in heads)

    def stepping(self, images: Tensor, *, backward: bool) -> Callable[[], object]:
        given = self._paddle.to_tensor(images.numpy())
        self.net.train() if backward else self.net.eval()

        def forward() -> object:
            with self._paddle.no_grad():
                return _first(self.net(given)).numpy()

        def both() -> object:
            self.net.clear_gradients()
            _first(self.net(given)).square().mean().backward()
            return None

        return both if backward else forward


def _first(made: Any) -> Any:
    """The logits: GoogLeNet gives those of its heads as well."""
    return made[0] if isinstance(made, list | tuple) else made


def _keep(found: dict[str, Tensor], name: str) -> Callable[[Any, Any, Any], None]:
    def keep(_layer: Any, _given: Any, made: Any) -> None:
        found.setdefault(name, torch.from_numpy(made.numpy().copy()))  # what is called again came first here

    return keep


def original(name: str, *, size: int, classes: int, threads: int | None = None) -> PaddleOriginal:  # noqa: ARG001 - its networks take any size
    """The library's network `name` for images of `size` pixels."""
    return PaddleOriginal(name, classes=classes, threads=threads)
