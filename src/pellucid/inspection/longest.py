"""How many layers with weights lie on the longest way from the images to each value in a running network."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from pellucid.architectures.main_path import MainPath, longest

CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable", "mkldnn_convolution", "cudnn_convolution")
PRODUCTS = ("linear", "addmm", "mm", "bmm", "baddbmm", "matmul")


class Longest:
    """Told of every operation; `of` asks for the way to a value. `is_learned` says which tensors are weights."""

    def __init__(self, images: Tensor, is_learned: Callable[[Tensor], bool]) -> None:
        self._ways = WeakTensorKeyDictionary()
        self._ways[images] = MainPath()
        self._is_learned = is_learned

    def of(self, tensor: Tensor) -> MainPath | None:
        """None for what nothing of the images has come to."""
        return self._ways.get(tensor)

    def note(self, func: Any, given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """An operation was carried out."""
        ways = [self._ways[tensor] for tensor in given if tensor in self._ways]
        if not ways:
            return
        name = getattr(getattr(func, "_overloadpacket", func), "__name__", "")
        way = longest(*ways)
        if name in (*CONVOLUTIONS, *PRODUCTS) and any(self._is_learned(tensor) for tensor in given):
            kind = MainPath(convolutions=1) if name in CONVOLUTIONS else MainPath(linear=1)
            way = way.then(kind)
        for tensor in made:
            self._ways[tensor] = way
