"""A line that stands while torch loads, which takes seconds: whatever verb needs it, and wherever it is imported."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

SAID = "loading PyTorch"
GONE = "\r\x1b[K"  # back to the line's begin, and clear it


def announce() -> None:
    """Let the line appear on stderr when torch is first imported in this process; on a terminal it goes away again."""
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _Announcer())


class _Announcer(MetaPathFinder):
    """Finds nothing but torch, as Python itself does, and says so when it is loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Told(spec.loader, self)
        return spec


class _Told(Loader):
    def __init__(self, real: Loader, announcer: _Announcer) -> None:
        self.real, self.announcer = real, announcer

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        if self.announcer in sys.meta_path:  # who only asks whether torch is there has not loaded it
            sys.meta_path.remove(self.announcer)
        module.__spec__.loader = module.__loader__ = self.real  # others ask it for the source
        moves = sys.stderr.isatty() and sys.platform != "win32"
        print(SAID, end="" if moves else "\n", file=sys.stderr, flush=True)
        try:
            self.real.exec_module(module)
        finally:
            if moves:
                print(GONE, end="", file=sys.stderr, flush=True)
