"""model.html: a classifier as one file that opens offline: its model, what computes it, and its card in plain words.

A browser decodes an image and hands its pixels on; all else is in the graph. What is embedded is named with its hash in
the page's own script, and that by its hash in the page's security policy: a browser runs them as they were written.
"""

import gzip
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from importlib.metadata import version
from io import BytesIO
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from pellucid.engines.choose import open_engine
from pellucid.errors import UserError
from pellucid.exports.web_runtime import PACKAGE, VERSION, WebRuntime, web_runtime
from pellucid.images.decode import open_image
from pellucid.measures.intervals import Measured
from pellucid.names import path_of
from pellucid.records import Record, write
from pellucid.reports import palette
from pellucid.reports.html import environment
from pellucid.reports.words import disk_space, moment
from pellucid.runs.card import Card, Precision, Result
from pellucid.runs.containers import container_of
from pellucid.runs.locating import locate
from pellucid.runs.proof import INSIDE_TOLERANCE, TOLERANCES, proof_pixels, synthetic_image
from pellucid.uses.export import MAX_DROP, Exported, export

ENDS = (".html", ".htm")
NAMED = 4  # classes up to which the page is called by them
SEEN_FROM = (170, 160, 202, 192)  # of the proof's image: a part that is half transparent, to try a browser's eyes with
ORIENTATION = 0x112  # of EXIF
FROM_RUN = "make the page of the run, or the .safetensors, that it was made of"
EXPORTED = re.compile(r"\bexport\{([^}]*)\};?")  # of a module's last statement: what it gives to others


class Page(Record):
    """A page that was written. `engine` repeated the proof; `exported` is how the model in it was made for the page."""

    path: str
    bytes: int
    engine: str
    exported: Exported | None


def write_page(
    model: str | PathLike[str],
    out: str | PathLike[str],
    *,
    runtime: str | PathLike[str] | None = None,
    precision: Precision = "float32",
    max_drop: float = MAX_DROP,
    check: str | PathLike[str] | Sequence[str] | None = None,
    model_code: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Page:
    """Write the model (a run's, a .safetensors, or an .onnx that takes whole images) as a page that works offline.

    `runtime`: a folder with onnxruntime-web as npm installs it; default: see web_runtime. All else as for export.
    Raises UserError, and leaves nothing at `out`, where the runtime is not there or not the one that is known, and
    where the exported model does not say what the model said.
    """
    path = path_of(out)
    if path.suffix.lower() not in ENDS:
        raise UserError(f"{path} is no name of a page", hint="a name that ends in .html")
    computing = web_runtime(runtime)
    source = locate(model)
    made = None
    with TemporaryDirectory() as folder:
        file = source
        if container_of(source) == "safetensors":
            file = Path(folder, "model.onnx")
            how: dict[str, Any] = {"precision": precision, "max_drop": max_drop, "check": check, "progress": progress}
            made = export(model, file, inside=True, model_code=model_code, **how)
        elif check is not None or precision != "float32":
            raise UserError(f"{source} was exported already: it can only be embedded as it is", hint=FROM_RUN)
        opened = open_engine(file, engine="onnxruntime")  # which replays the proof
        if not opened.card.inside:
            raise UserError(f"{source} takes prepared pixels, and a page has whole images", hint=FROM_RUN)
        content = file.read_bytes()
    write(path, page(opened.card, content, computing))
    return Page(path=str(path), bytes=path.stat().st_size, engine=opened.words, exported=made)


def page(card: Card, model: bytes, runtime: WebRuntime) -> str:
    """The page of `model`, an .onnx that takes whole images and has this card."""
    pixels = proof_pixels(card.preprocessing, whole=True)[0]
    parts = {"runtime": runtime.program, "model": model, "proof": pixels.tobytes()}
    packed = {name: gzip.compress(content, 9, mtime=0) for name, content in parts.items()}
    files = environment()
    scripts = [
        _module(runtime.script),
        f"globalThis.page = {_plain(_told(card, packed) | {'extent': pixels.shape[:2]})};",
        _source("page_files.js") + _source("page.js"),
    ]
    style = files.get_template("page.css").render()
    values = {
        "card": card,
        "title": _title(card.classes),
        "looks": {name: palette.look(index) for index, name in enumerate(card.classes)},
        "few": len(card.classes) <= NAMED,
        "policy": _policy(scripts, style),
        "scripts": [Markup(script) for script in scripts],
        "style": Markup(style),
        "packed": {name: Markup(b64encode(content).decode()) for name, content in packed.items()},
        "size": sum(len(content) for content in packed.values()) * 4 / 3,
        "results": [(f"{each.part}: {each.measure}", _measured(each)) for each in card.results],
        "facts": _facts(card, model, runtime),
        "runtime": f"{PACKAGE} {VERSION}",
        "version": version("pellucid"),
    }
    made: str = files.get_template("page.html").render(values)
    return made


def _told(card: Card, packed: dict[str, bytes]) -> dict[str, Any]:
    """What the page's script has to know."""
    return {
        "classes": card.classes,
        "looks": [[look.colour, look.mark] for look in map(palette.look, range(len(card.classes)))]
        if len(card.classes) <= len(palette.CLASS_COLOURS)
        else [],
        "threshold": card.threshold,
        "sure_from": card.sure_from,
        "background": card.preprocessing.background,
        "proof": [card.proof.probabilities[name] for name in card.classes],
        "tolerance": max(INSIDE_TOLERANCE, TOLERANCES[card.precision]),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()},
        "eyes": _eyes(card),
    }


def _eyes(card: Card) -> dict[str, Any]:
    """A small image as a file, the levels that whoever decodes it should see, and one that is to be turned."""
    part = synthetic_image().crop(SEEN_FROM)
    levels = np.asarray(open_image(part, background=card.preprocessing.background))
    turned = Image.Exif()
    turned[ORIENTATION] = 6  # a quarter
    files = {"file": _png(part), "levels": levels.tobytes(), "turned": _png(Image.new("RGB", (3, 2)), exif=turned)}
    return {name: b64encode(content).decode() for name, content in files.items()}


def _png(image: Image.Image, **how: Any) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", **how)
    return file.getvalue()


def _measured(result: Result) -> str:
    figure = Measured(value=result.value, low=result.low, high=result.high, n=result.n)
    return figure.plain() if result.measure == "log loss" else figure.percent()


def _facts(card: Card, model: bytes, runtime: WebRuntime) -> list[tuple[str, str]]:
    """What a page is made of."""
    made = card.provenance.get("exported", {})
    facts = [
        ("network", card.architecture),
        ("model", f"{disk_space(len(model))}, {card.precision}, sha256 {hashlib.sha256(model).hexdigest()[:16]}"),
        ("computed by", f"{PACKAGE} {VERSION}, {disk_space(len(runtime.program))}, on this device's processor"),
    ]
    return [*facts, ("made of", f"{made['of']}, {moment(made['when'])}")] if {"of", "when"} <= set(made) else facts


def _title(classes: Sequence[str]) -> str:
    """What the page is called: the question that it answers."""
    if len(classes) > NAMED:
        return f"Which of {len(classes):,} classes?"
    return f"{', '.join(classes[:-1])} or {classes[-1]}?"


def _module(script: str) -> str:
    """The runtime as a script in the page: what it would export is put where the page's own script finds it.

    Where it asks for its own address it is given one of no file, since one that was opened from a disk has no origin.
    """
    body = script[: script.rindex("//# sourceMappingURL")]
    (exports,) = EXPORTED.findall(body)
    pairs = (each.split(" as ") for each in exports.split(","))
    names = {outside.strip(): inner.strip() for inner, outside in pairs}
    wanted = ", ".join(f"{name}: {names[name]}" for name in ("InferenceSession", "Tensor", "env"))
    body = EXPORTED.sub("", body).replace("import.meta.url", '"blob:page"')
    return f"{body.rstrip()}\nglobalThis.ort = {{ {wanted} }};\n"


def _plain(values: Any) -> str:
    """As JSON that is JavaScript too, and ends no element of a page."""
    return json.dumps(values, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def _source(name: str) -> str:
    return Path(__file__).with_name("templates").joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str], style: str) -> str:
    """The page's Content-Security-Policy: these scripts and this style, and no connection to anywhere."""
    allowed = " ".join(_hashed(script) for script in scripts)
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {allowed} 'wasm-unsafe-eval'",
            f"style-src {_hashed(style)}",
            "img-src data:",
            "connect-src 'none'",
            "form-action 'none'",
            "base-uri 'none'",
        ]
    )


def _hashed(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
