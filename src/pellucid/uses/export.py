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
from pellucid.engines.engine import Engine, logits_by
from pellucid.errors import UserError, counted, listed, of_system
from pellucid.images.manifest import Split, content_hash
from pellucid.images.preprocessing import single
from pellucid.names import path_of
from pellucid.networks.own import remember
from pellucid.records import Record, scratch_name
from pellucid.runs.card import Card, Precision, Result, read_card, sealed
from pellucid.runs.containers import Container, container_of, files_of
from pellucid.runs.events import now
from pellucid.runs.locating import locate
from pellucid.runs.proof import take
from pellucid.uses.agreement import Agreement, agreement
from pellucid.uses.inputs import expand_inputs
from pellucid.uses.worth import Worth, calibration, split_of, worth

WRITES: dict[str, Container] = {".onnx": "onnx", ".xml": "openvino"}  # by the name's end
MAX_DROP = 0.005  # of accuracy
WITHOUT = "without --int8 and --fp16 the file is exact; what is lost may be more than it seems where images are few"
PROVES = {"onnx": "onnxruntime", "openvino": "openvino"}  # the engine that has to repeat the proof


class Exported(Record):
    """A file that was written; OpenVINO's are two. `agreement`: with the model that it was made of, on given images."""

    path: str
    bytes: int
    engine: str
    inside: bool
    agreement: Agreement | None
    measured: Worth | None = None


def export(
    model: str | PathLike[str],
    out: str | PathLike[str],
    *,
    inside: bool = False,
    precision: Precision = "float32",
    max_drop: float = MAX_DROP,
    check: str | PathLike[str] | Sequence[str] | None = None,
    model_code: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the model file `model` (or a run's) to `out`, an .onnx or OpenVINO's .xml, for engines without torch.

    The file holds the card and the proof. It takes prepared pixels and gives logits; with `inside` it takes whole
    images, uint8 (N, height, width, 3), and gives probabilities: resizing, cropping and normalising are in its graph.
    Raises UserError, and leaves nothing at `out`, unless its engine repeats the proof, and says the same of the images
    that `check` names, if any: no other answer, but for ties, and no probability that differs by more than 0.001.

    `precision` "int8" (weights and maps; `model` is then a run, on whose training images it is calibrated) and
    "float16" are made of the file that was proved so. They are written only where they are faster on this machine and
    lose no more than `max_drop` of the accuracy on the run's validation images, nor, by McNemar's test, more than
    chance loses; both figures are in the card.
    """
    remember(model_code)
    path = path_of(out)
    _check_name(path)
    if not 0 <= max_drop <= 1:
        raise UserError(f"--max-drop {max_drop:g} is no share of the accuracy", hint="0.005 is half a point of 100")
    images = None if check is None else _images(check)
    source = locate(model)
    split = None if precision == "float32" else split_of(path_of(model), precision)
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
    agreed = measured = None
    with _beside(path) as candidate:
        exported = _opened(graph, card, candidate if split is None else candidate.parent / "full" / path.name)
        if images is not None:
            reference = Engine(loaded.card, TorchRuntime(loaded, device="cpu", precision="float32"), source)
            agreed = agreement(reference, exported, images, progress=progress)
            _refuse_other(agreed, path)
        if split is not None:
            exported, measured = _in_fewer_bits(graph, exported, candidate, precision, split, progress)
            if problems := measured.problems(max_drop):
                raise UserError(f"{path} is not written: {precision} is not worth it here", problems, hint=WITHOUT)
    size = sum(file.stat().st_size for file in files_of(path))
    return Exported(
        path=str(path), bytes=size, engine=exported.words, inside=inside, agreement=agreed, measured=measured
    )


def _in_fewer_bits(
    graph: Any,
    full: Engine,
    path: Path,
    precision: Precision,
    split: Split,
    progress: Callable[[int, int], None] | None,
) -> tuple[Engine, Worth]:
    """The graph in fewer bits, written to `path` with what it is worth beside the `full` one, and opened."""
    from pellucid.exports import fewer_bits

    pixels = list(calibration(split, full.card)) if precision == "int8" else []
    smaller = fewer_bits.int8(graph, pixels) if precision == "int8" else fewer_bits.float16(graph)
    card = full.card.model_copy(update={"precision": precision})
    trial = path.parent / "trial" / path.name
    _write(smaller, card, trial)
    said = runtime(PROVES[WRITES[path.suffix]], trial)
    taken = take(
        lambda pixels: logits_by(card, said, pixels),
        classes=card.classes,
        one_logit=card.one_logit,
        preprocessing=card.preprocessing,
        temperature=card.temperature,
        whole=card.inside,
    )
    card = card.model_copy(update={"proof": taken})
    measured = worth(Engine(sealed(card), said, trial), full, split, calibrated_on=len(pixels), progress=progress)
    told = {"exported": card.provenance["exported"] | {"measured": measured.model_dump(mode="json")}}
    accuracy = Result(part="validation", measure="accuracy", **measured.accuracy.model_dump())
    card = card.model_copy(update={"provenance": card.provenance | told, "results": (accuracy,)})
    return _opened(smaller, card, path), measured


def _opened(graph: Any, card: Card, path: Path) -> Engine:
    """The graph with its card, written to `path` and opened as anybody would open it."""
    _write(graph, card, path)
    return Engine(read_card(path), runtime(PROVES[WRITES[path.suffix]], path), path)


def _check_name(path: Path) -> None:
    """UserError for a name that asks for no kind of file."""
    if path.suffix not in WRITES or path.name in WRITES:
        raise UserError(f"{path} does not say what to write", hint="a name that ends in .onnx, or in .xml for OpenVINO")
    beside = path.with_suffix(".bin")
    if path.suffix == ".xml" and beside.exists() and not path.exists():
        raise UserError(f"{beside} is there already, and would be written over", hint="name another file, or move it")


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


def _write(graph: Any, card: Card, path: Path) -> None:
    """The graph with its card as a file of the kind that its name says."""
    from pellucid.exports.onnx_file import described

    if card.inside:
        from pellucid.exports.inside import of_image

        graph = of_image(graph, card)
    path.parent.mkdir(exist_ok=True)
    content = described(graph, card)
    if WRITES[path.suffix] == "onnx":
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
        files = (made for made in folder.iterdir() if made.is_file())
        for made in sorted(files, key=lambda made: made.name == path.name):
            with made.open("rb+") as file:
                os.fsync(file.fileno())
            made.replace(path.with_name(made.name))
    except OSError as cause:
        raise of_system(cause, str(path), doing="written") from cause
    finally:
        shutil.rmtree(folder, ignore_errors=True)
