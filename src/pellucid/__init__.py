"""Pellucid: point it at a folder of images and get a classifier that you can see through.

Public names are bound when first used: `import pellucid` costs neither torch nor anything else that is heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.architectures.catalog import architectures
    from pellucid.errors import UserError
    from pellucid.images.sources import read_samples
    from pellucid.images.split import split
    from pellucid.networks.asked import network
    from pellucid.networks.loading import load_weights
    from pellucid.reports.drawn import structure
    from pellucid.reports.html import write_report
    from pellucid.reports.page import write_page
    from pellucid.reports.pictures import show
    from pellucid.training.configure import configure
    from pellucid.training.preview import first_batch
    from pellucid.training.samplings import train_samplings
    from pellucid.training.train import resume, train, train_events
    from pellucid.uses.bench import bench
    from pellucid.uses.engine_bench import bench_engines
    from pellucid.uses.ensemble import ensemble
    from pellucid.uses.evaluate import evaluate
    from pellucid.uses.export import export
    from pellucid.uses.predict import load

_HOMES = {
    "UserError": "errors",
    "architectures": "architectures.catalog",
    "bench": "uses.bench",
    "bench_engines": "uses.engine_bench",
    "configure": "training.configure",
    "ensemble": "uses.ensemble",
    "evaluate": "uses.evaluate",
    "export": "uses.export",
    "first_batch": "training.preview",
    "load": "uses.predict",
    "load_weights": "networks.loading",
    "network": "networks.asked",
    "read_samples": "images.sources",
    "resume": "training.train",
    "show": "reports.pictures",
    "split": "images.split",
    "structure": "reports.drawn",
    "train": "training.train",
    "train_samplings": "training.samplings",
    "train_events": "training.train",
    "write_page": "reports.page",
    "write_report": "reports.html",
}

__all__ = [
    "UserError",
    "architectures",
    "bench",
    "bench_engines",
    "configure",
    "ensemble",
    "evaluate",
    "export",
    "first_batch",
    "load",
    "load_weights",
    "network",
    "read_samples",
    "resume",
    "show",
    "split",
    "structure",
    "train",
    "train_events",
    "train_samplings",
    "write_page",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"pellucid has no {name!r}")
    value = getattr(import_module(f"pellucid.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
