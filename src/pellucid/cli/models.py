"""The verbs that measure and make models: evaluate, adopt, ensemble, export; predict.py has those that use one."""

from pathlib import Path
from typing import Any, Literal

from pellucid.cli.flags import READ_BY, gathered, reading, shown_as, with_data
from pellucid.cli.shared import Code, Computed, Engine, Made, Model, Switch
from pellucid.errors import DONE, REQUIREMENT_NOT_MET, USER_FAULT, UserError
from pellucid.training.config import Input


def evaluate(
    model: Model,
    data: str | None = None,
    /,
    *,
    part: str | None = None,
    require: str | None = None,
    only_known: bool = False,
    skip_unreadable: bool = False,
    format: Literal["text", "json"] = "text",
    batch: int | None = None,
    engine: Engine = "auto",
    precision: Computed = None,
    model_code: Code = None,
    **settings: Any,
) -> int:
    """Measure how often a model is right about labelled images, with 95 % intervals.

    Parameters
    ----------
    data
        The labelled images, as for `pellucid train`. Default: the test part of the model's own run; without one, the
        validation part.
    part
        Where DATA comes divided: the part to measure on, which is train, validation or test. Default: test.
    require
        What the model must reach, or else the exit code is 3: accuracy=0.9,recall.bees=0.8. Default: nothing.
    only_known
        Leave out images of classes that the model was not trained on, and say how many. Otherwise they are an error.
    skip_unreadable
        Leave out files that cannot be read, and say which. Otherwise they are an error.
    format
        text: tables. json: one object, with the answer for each image.
    batch
        How many images are computed at once: fewer need less memory. Default: 32, or fewer where little is left.
    """
    from rich.text import Text

    from pellucid.cli.show import aside, counting, kept_in_run, out
    from pellucid.reports.text import evaluation_text
    from pellucid.uses.batches import batch_for, little_memory
    from pellucid.uses.evaluate import evaluate as measure
    from pellucid.uses.predict import load
    from pellucid.uses.requirements import check_requirements, unmet

    required = _required(require)
    classifier = load(model, engine=engine, precision=precision, model=model_code)
    check_requirements(required, classifier.classes)
    size = batch_for(classifier.card, batch)
    if batch is None and (words := little_memory(size)):
        aside().print(Text(words))
    with counting("evaluating") as progress:
        evaluation = measure(
            classifier,
            data,
            part=part,
            only_known=only_known,
            skip_unreadable=skip_unreadable,
            batch=size,
            progress=progress,
            **reading(settings),
        )
    if format == "json":
        print(evaluation.model_dump_json(), flush=True)
    else:
        out().print(evaluation_text(evaluation))
    kept = data is not None or kept_in_run(evaluation)
    missed = unmet(evaluation, required)
    for line in missed:
        aside().print(Text(f"not met: {line}"))
    return REQUIREMENT_NOT_MET if missed else DONE if kept else USER_FAULT


# Groups say what may not be parted, and evaluating parts nothing.
with_data(evaluate, {name: field for name, field in READ_BY.items() if not name.startswith("group_")})


def _adopt(
    net: str,
    /,
    *,
    out: Made,
    weights: str = "imagenet",
    layout: Literal["auto", "pellucid", "torchvision", "timm", "tf-slim", "keras", "paddle"] = "auto",
    classes: Path | None = None,
    size: int | None = None,
    conventions: Literal["torch", "tensorflow"] | None = None,
    input: Input | None = None,
) -> None:
    """Make a model file from weights that others trained: published ones, or those in a file.

    It works like a model that was trained here. It has the classes and preprocessing of the weights, and a proof: what
    the model said of a fixed image, which is compared each time that the file is loaded.

    Parameters
    ----------
    net
        The network of the weights: a name that `pellucid models` lists, or timm/NAME.
    weights
        The weights: imagenet (those that torchvision or timm publish), a file, or a run folder.
    layout
        Which library's names the tensors in the weights file have. auto: recognised by the names.
    classes
        A text file with the name of each class, one per line, in the order of the network's outputs. Default: as
        published with the weights.
    size
        Pixels per side of the square that the network sees. Default: as published with the weights.
    conventions
        Pad, average and normalise feature maps as torch or as tensorflow does. Give the one that the weights were
        trained with. Default: tensorflow where the layout is tf-slim or keras, otherwise torch.
    input
        How an image becomes what the network sees. Default: as published with the weights.
    """
    from pellucid.cli.show import aside, say
    from pellucid.runs.card import read_card
    from pellucid.uses.adopt import adopt as make

    chosen = conventions or ("tensorflow" if layout in ("tf-slim", "keras") else "torch")
    options = {} if net.startswith("timm/") or chosen == "torch" else {"conventions": chosen}
    said = input.model_dump() if input else None
    path = make(net, out, weights=weights, layout=layout, classes=classes, size=size, input=said, **options)
    for note in read_card(path).provenance["adopted"]["notes"]:
        aside().print(f"! {note}")
    say(f"model   {path}")
    say(f"`pellucid verify {path}` shows its card")


def adopt(*arguments: Any, **settings: Any) -> None:
    _adopt(*arguments, **gathered(settings, records=ADOPTED_BY))


ADOPTED_BY = {"input": Input}
shown_as(adopt, _adopt, records=ADOPTED_BY)


def ensemble(models: list[str], /, *, out: Made, model_code: Code = None) -> None:
    """Join several models into one, an ensemble, and measure what each of them adds.

    The ensemble gives the mean of the models' calibrated probabilities. It is one model file, and takes as long to
    answer as all its models together. It is measured on images that no model was trained on.

    Parameters
    ----------
    models
        The models to join: run folders or model files (.safetensors) with the same classes.
    """
    from pellucid.cli.show import counting, say
    from pellucid.reports.text import ensemble_text
    from pellucid.uses.ensemble import ensemble as make

    with counting("measuring") as progress:
        told = make(models, out, model=model_code, progress=progress)
    say(ensemble_text(told))


def export(
    model: Model,
    /,
    *,
    out: Path | None = None,
    page: Path | None = None,
    inside: Switch = False,
    int8: Switch = False,
    fp16: Switch = False,
    max_drop: float | None = None,
    check: list[str] | None = None,
    runtime: Path | None = None,
    model_code: Code = None,
) -> None:
    """Write a model as a file that needs no torch: .onnx, .xml for OpenVINO, or a page for a browser.

    The file holds the model's card and its proof: what the model said of a fixed image when it was saved. It is written
    only if it says the same; otherwise nothing is left. `pellucid predict`, `verify` and `evaluate` take it as they
    take a run folder.

    Parameters
    ----------
    out
        The file to write: model.onnx, or model.xml for OpenVINO, which writes model.bin beside it.
        Default: none.
    page
        The page to write: model.html, one file that opens in a browser without a network, takes images from the disk
        or the camera, and sends them nowhere. It repeats the proof when it opens, and answers only then.
        Default: none.
    inside
        Put the preprocessing into the file: it then takes whole images (uint8, RGB, of any size) and gives
        probabilities, for programs that have no Pellucid. Default: it takes pixels that Pellucid prepared.
    int8
        Write weights and maps as 8-bit integers, which some processors compute several times as fast. MODEL is then a
        run folder: the ranges of the numbers are measured on its training images, and the file is only written if it is
        faster on this machine and hardly worse on the validation images (see --max-drop). Default: float32.
    fp16
        As --int8, but in 16-bit floating-point numbers.
    max_drop
        With --int8 or --fp16: how much of the accuracy on the validation images may be lost; 0.005 is half a point.
        Default: 0.005.
    check
        Images to show to both the model and the exported file: files, folders or patterns. No answer may change,
        and no probability by more than 0.001. Default: the proof's image alone.
    runtime
        With --page: a folder with onnxruntime-web, as `npm install` makes it, of the version that Pellucid knows.
        Default: ./node_modules, or what was fetched before, or npm fetches it.
    """
    from pellucid.cli.show import counting, say
    from pellucid.reports.page import write_page
    from pellucid.reports.text import exported_text, page_text
    from pellucid.uses.export import export as write

    if out is None and page is None:
        raise UserError("nothing says what to write", hint="--out model.onnx, or --page model.html")
    if runtime is not None and page is None:
        raise UserError("--runtime is of a page", hint="--page model.html, or leave it out")

    if max_drop is not None and not (int8 or fp16):
        raise UserError("--max-drop is for --int8 and --fp16", hint="add one of them, or leave --max-drop out")
    if int8 and fp16:
        raise UserError("--int8 and --fp16 exclude each other", hint="leave one of them out")
    precision = "int8" if int8 else "float16" if fp16 else "float32"
    with counting("comparing") as progress:
        how: dict[str, Any] = {"precision": precision, "check": check, "progress": progress}
        how |= {} if max_drop is None else {"max_drop": max_drop}
        if out is not None:
            say(exported_text(write(model, out, inside=inside, model_code=model_code, **how)))
        if page is not None:
            say(page_text(write_page(model, page, runtime=runtime, model_code=model_code, **how)))


def _required(text: str | None) -> dict[str, float]:
    required: dict[str, Any] = {}
    for pair in (text or "").split(","):
        if pair.strip():
            name, _, value = pair.partition("=")
            try:
                required[name.strip()] = float(value)
            except ValueError as cause:
                raise UserError(f"--require {pair!r} names no number", hint="write --require accuracy=0.9") from cause
    return required
