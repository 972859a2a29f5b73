"""From a model's path to the engine that computes it: the one that was asked for, or the fastest that is here.

An engine's library is imported only where a model needs it: an .onnx is computed where torch is not installed.
"""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Literal

from pellucid.engines.engine import Engine, Runtime
from pellucid.engines.fastest import fastest, remembered
from pellucid.errors import UserError, named, nearest
from pellucid.runs.card import read_card
from pellucid.runs.containers import Container, container_of
from pellucid.runs.locating import locate

AUTO = "auto"
Precision = Literal["float32", "tensorfloat32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Kind:
    """An engine as a row of ENGINES: the file of this room that it is, what it needs, and which files it computes."""

    module: str
    package: str
    extra: str  # of pellucid, that brings the package; "" where it is always there
    containers: tuple[Container, ...]
    exact: bool = True  # whether it has float64, by which whole images are resized to the very level

    @property
    def is_here(self) -> bool:
        return find_spec(self.package) is not None

    @property
    def install(self) -> str:
        """The command that installs what it needs."""
        return f"pip install {shlex.quote(f'pellucid[{self.extra}]') if self.extra else self.package}"


# An engine more is a file in this room and a row here.
ENGINES = {
    "torch": Kind("torch_engine", "torch", "train", ("safetensors",)),
    "onnxruntime": Kind("onnxruntime_engine", "onnxruntime", "", ("onnx",)),
    "openvino": Kind("openvino_engine", "openvino", "openvino", ("onnx", "openvino"), exact=False),
}


def open_engine(
    model: str | PathLike[str],
    *,
    engine: str = AUTO,
    device: str = "auto",
    precision: Precision | None = None,
    threads: int | None = None,
) -> Engine:
    """Open a run folder's best model file, a .safetensors, an .onnx or an OpenVINO .xml; its proof is replayed.

    `engine`: a key of ENGINES, or "auto": the fastest here that reproduces the proof in float32, which is measured
    where there is a choice, and remembered (see fastest.py); of a file that takes whole images, among those that resize
    them exactly. `device`: "auto", "cpu", "cuda", "cuda:1". `precision` is what it computes in; by default float32, on
    a GPU with convolutions in TensorFloat-32. `threads`: by default as many as the machine or its container grants
    processors. Raises UserError for what is not there, is no model, was changed after it was saved, or cannot be
    computed here.
    """
    path = locate(model)
    container = container_of(path)
    names = _able(engine, path, container)
    card = read_card(path)  # what is no model is told so here, before a library is loaded
    if card.inside and any(ENGINES[name].exact for name in names):
        names = [name for name in names if ENGINES[name].exact or engine != AUTO]

    def opened(name: str) -> Engine:
        return Engine(card, runtime(name, path, device=device, precision=precision, threads=threads), path)

    if len(names) == 1:
        return opened(names[0])
    asked = f"{precision} {threads} {device}"
    if (known := remembered(card, path, names, asked)) is not None:
        with suppress(UserError):  # it cannot any more: its library was changed, say
            chosen = opened(known)
            chosen.chosen_from = "the fastest here, as measured before"
            return chosen
    return fastest(path, names, opened, asked)


def runtime(
    name: str, path: Path, *, device: str = "auto", precision: str | None = None, threads: int | None = None
) -> Runtime:
    """What computes the file at `path`, without its proof: see open_engine."""
    module = import_module(f"pellucid.engines.{ENGINES[name].module}")
    made: Runtime = module.open_file(path, device=device, precision=precision, threads=threads)
    return made


def precisions(name: str) -> Sequence[str]:
    """What an engine that is installed computes in on this processor, the first without being asked."""
    found: Sequence[str] = import_module(f"pellucid.engines.{ENGINES[name].module}").precisions()
    return found


def engines_for(container: Container) -> list[str]:
    """The engines that are installed and compute such files."""
    return [name for name, kind in ENGINES.items() if container in kind.containers and kind.is_here]


def check_engine(engine: str) -> None:
    """Raises UserError for an engine that nobody knows."""
    if engine != AUTO and engine not in ENGINES:
        right = nearest(engine, [*ENGINES, AUTO])
        hint = f"did you mean {right}?" if right else f"there are {named(list(ENGINES))}, and auto"
        raise UserError(f"there is no engine {engine!r}", hint=hint)


def _able(engine: str, path: Path, container: Container) -> list[str]:
    """The engines that may compute the file: the one that was asked for, or all that are here."""
    check_engine(engine)
    able = [name for name, kind in ENGINES.items() if container in kind.containers]
    if engine != AUTO:
        if engine not in able:
            told = "`pellucid export MODEL --out model.onnx` writes a file for it" if container == "safetensors" else ""
            told = told or f"--engine {' or '.join(able)}"
            raise UserError(f"{engine} does not compute {path.name}, which is for {' or '.join(able)}", hint=told)
        able = [engine]
    if here := [name for name in able if ENGINES[name].is_here]:
        return here
    wanted = ENGINES[able[0]]
    hint = wanted.install
    if container == "safetensors":
        hint += "; or, where torch is, `pellucid export MODEL --out model.onnx` writes a file that needs none"
    raise UserError(f"{path} is computed by {wanted.package}, which is not installed", hint=hint)
