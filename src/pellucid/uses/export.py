"""Exporting: a model file becomes one that others compute, and only if that says the same.

Written beside its name and opened as whoever gets it would open it: only then is it given its name. Where anything
differs nothing is left.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from pellucid.engines.choose import runtime
from pellucid.engines.engine import Engine
from pellucid.errors import UserError, counted, listed, of_system
from pellucid.images.manifest import content_hash
from pellucid.images.preprocessing import single
from pellucid.names import path_of
from pellucid.networks.own import remember
from pellucid.records import Record, scratch_name
from pellucid.runs.card import Card, read_card
from pellucid.runs.containers import Container, container_of, files_of
from pellucid.runs.events import now
from pellucid.runs.locating import locate
from pellucid.uses.agreement import Agreement, agreement
from pellucid.uses.inputs import expand_inputs

WRITES: dict[str, Container] = {".onnx": "onnx", ".xml": "openvino"}  # by the name's end
PROVES = {"onnx": "onnxruntime", "openvino": "openvino"}  # the engine that has to repeat the proof


class Exported(Record):
    """A file that was written; OpenVINO's are two. `agreement`: with the model that it was made of, on given images."""

    path: str
    bytes: int
    engine: str
    inside: bool
    agreement: Agreement | None


def export(
    model: str | PathLike[str],
    out: str | PathLike[str],
    *,
    inside: bool = False,
    check: str | PathLike[str] | Sequence[str] | None = None,
    model_code: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the model file `model` (or a run's) to `out`, an .onnx or OpenVINO's .xml, for engines without torch.

    The file holds the card and the proof. It takes prepared pixels and gives logits; with `inside` it takes whole
    images, uint8 (N, height, width, 3), and gives probabilities: resizing, cropping and normalising are in its graph.
    Raises UserError, and leaves nothing at `out`, unless its engine repeats the proof, and says the same of the images
    that `check` names, if any: no other answer, but for ties, and no probability that differs by more than 0.001.
    """
    remember(model_code)
    path = path_of(out)
    container = _container(path)
    images = None if check is None else _images(check)
    source = locate(model)
    if container_of(source) != "safetensors":
        raise UserError(
            f"{source} was exported already", hint="export the run, or the .safetensors, that it was made of"
        )

    from pellucid.engines.torch_engine import TorchRuntime
    from pellucid.exports.network_graph import network_graph  # with torch
    from pellucid.runs.model_file import load_model_file

    loaded = load_model_file(source)
    card = _card(loaded.card, source, inside=inside)
    graph = network_graph(loaded.network, single(card.preprocessing))
    with _beside(path) as candidate:
        _write(graph, card, candidate, container)
        exported = Engine(read_card(candidate), runtime(PROVES[container], candidate), candidate)
        agreed = None
        if images is not None:
            reference = Engine(loaded.card, TorchRuntime(loaded, device="cpu", precision="float32"), source)
            agreed = agreement(reference, exported, images, progress=progress)
            _refuse_other(agreed, path)
    size = sum(file.stat().st_size for file in files_of(path))
    return Exported(path=str(path), bytes=size, engine=exported.words, inside=inside, agreement=agreed)


def _container(path: Path) -> Container:
    """The kind of file that a name asks for."""
    if path.suffix not in WRITES:
        raise UserError(f"{path} does not say what to write", hint="a name that ends in .onnx, or in .xml for OpenVINO")
    return WRITES[path.suffix]


def _images(check: str | PathLike[str] | Sequence[str]) -> list[Path | Any]:
    """The images that are to be looked at, as for predict."""
    said = [os.fspath(check)] if isinstance(check, str | PathLike) else list(check)
    images = list(expand_inputs([str(each) for each in said], standard_input=()))
    if not any(isinstance(each, Path) for each in images):
        raise UserError(f"{', '.join(map(str, said))} names no image to check with", hint="name a folder of images")
    return images


def _card(card: Card, source: Path, *, inside: bool) -> Card:
    """The exported file's card: as the model's, with where it comes from."""
    origin = {"exported": {"of": source.name, "sha256": content_hash(source), "when": now(), "inside": inside}}
    return card.model_copy(update={"inside": inside, "provenance": card.provenance | origin})


def _write(graph: Any, card: Card, path: Path, container: Container) -> None:
    """The graph with its card as a file of that kind."""
    from pellucid.exports.onnx_file import described

    if card.inside:
        from pellucid.exports.inside import of_image

        graph = of_image(graph, card)
    content = described(graph, card)
    if container == "onnx":
        path.write_bytes(content)
        return
    from pellucid.exports.openvino_file import write

    write(content, path)


def _refuse_other(agreed: Agreement, path: Path) -> None:
    """Raises UserError where the exported model says something else of the images, or there was none."""
    if not agreed.images:
        raise UserError(f"{path} is not written: no image to check with can be read", listed(agreed.unreadable))
    if not agreed.holds:
        raise UserError(
            f"{path} is not written: of {counted(agreed.images, 'image')} the exported model says something else",
            listed(agreed.problems()),
            hint="a network that is exported otherwise than it is computed is a fault: please report it",
        )


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A place for `path`, in a folder beside it, which becomes `path` where the block ends well; else nothing does."""
    folder = path.with_name(scratch_name(path.name))
    try:
        folder.mkdir(parents=True)
        yield folder / path.name
        # What is named last is the file that leads to the others.
        for made in sorted(folder.iterdir(), key=lambda made: made.name == path.name):
            with made.open("rb+") as file:
                os.fsync(file.fileno())
            made.replace(path.with_name(made.name))
    except OSError as cause:
        raise of_system(cause, str(path), doing="written") from cause
    finally:
        shutil.rmtree(folder, ignore_errors=True)
