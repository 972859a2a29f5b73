"""Another library's network of the same name, whichever library it is."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from torch import Tensor

from pellucid.errors import UserError, nearest
from pellucid.networks.network import Network

# What each library is installed as, where it is not part of Pellucid.
LIBRARIES = {
    "torchvision": "torchvision",
    "timm": "timm",
    "keras": "tensorflow-cpu",
    "paddle": "paddlepaddle",
}
DEVELOPMENT = "pellucid_originals"  # the package beside the library that knows how to run those of keras and paddle
TORCH = ("torchvision", "timm")


class Original(Protocol):
    """A library's own network, with random weights until others are loaded."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Its weights, by the library's names and with the library's axes."""
        ...

    def load(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights in `path`, which were read as `tensors`. Raises UserError where they do not fit."""
        ...

    def randomise(self, seed: int) -> None:
        """Give its batch norms random scales, shifts and statistics, so that a wrong one would show."""
        ...

    def end_points(self, ours: Network, images: Tensor) -> dict[str, Tensor]:
        """What flows at the end points of `ours`, as far as both have them, for images (N, 3, H, W)."""
        ...

    def stepping(self, images: Tensor, *, backward: bool) -> Callable[[], object]:
        """A function that computes the images once, as the library does by default; `backward`: gradients too."""
        ...


def check_library(library: str) -> None:
    """UserError unless `library` is one of those known here, and installed."""
    if library not in LIBRARIES:
        right = nearest(library, LIBRARIES)
        hint = f"did you mean {right}?" if right else f"there are {', '.join(LIBRARIES)}"
        raise UserError(f"there is no library {library!r} to compare with", hint=hint)
    if not find_spec(library):
        raise UserError(f"{library} is not installed", hint=f"pip install {LIBRARIES[library]}")
    if library not in TORCH and not find_spec(DEVELOPMENT):
        raise UserError(
            f"networks of {library} are run by tools for development, which are not part of what is installed",
            hint="from a checkout of Pellucid: PYTHONPATH=development pellucid ...",
        )


def original(library: str, name: str, *, size: int, classes: int = 1000, threads: int | None = None) -> Original:
    """The library's network for images of `size` pixels; torch's threads are torch's own business.

    Raises UserError where the library has no such network, or is not installed.
    """
    check_library(library)
    if library in TORCH:
        from pellucid.inspection.torch_original import TorchOriginal

        return TorchOriginal(library, name, classes=classes)
    made: Original = import_module(f"{DEVELOPMENT}.{library}").original(
        name, size=size, classes=classes, threads=threads
    )
    return made
