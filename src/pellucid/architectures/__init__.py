"""Networks as tables of plain data, and the readers that count and name them. No torch in this room."""

import sys
from types import ModuleType


class _Room(ModuleType):
    """`pellucid.architectures` is both this room and the public function that lists the networks in it."""

    def __call__(self) -> tuple[str, ...]:
        from pellucid.architectures.catalog import architectures

        return architectures()


sys.modules[__name__].__class__ = _Room
