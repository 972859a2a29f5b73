"""The verbs about trained models: evaluate, predict, adopt, ensemble, verify."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pellucid.cli.flags import READ_BY, gathered, reading, shown_as, with_data
from pellucid.cli.shared import Code, Made, Model
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
    batch: int = 32,
    model_code: Code = None,
    **settings: Any,
) -> int:
    """Measure MODEL on DATA: accuracy and more, each with n and a 95 % interval.

    Parameters
    ----------
    data
        Labelled images, as for train. Default: the run's own test part.
    part
        The part of a ready split to measure on: train, validation or test.
    require
        What must be reached, or the exit code is 3: accuracy=0.9,recall.bees=0.8.
    only_known
        Leave classes out that the model never saw, and say so.
    skip_unreadable
        Leave unreadable images out and record them, instead of stopping.
    format
        text or json.
    batch
        Images at once.
    """
    from rich.text import Text

    from pellucid.cli.show import aside, counting, kept_in_run, out
    from pellucid.reports.text import evaluation_text
    from pellucid.uses.evaluate import evaluate as measure
    from pellucid.uses.predict import load
    from pellucid.uses.requirements import check_requirements, unmet

    required = _required(require)
    classifier = load(model, model=model_code)
    check_requirements(required, classifier.classes)
    with counting("evaluating") as progress:
        evaluation = measure(
            classifier,
            data,
            part=part,
            only_known=only_known,
            skip_unreadable=skip_unreadable,
            batch=batch,
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


def predict(
    model: Model,
    images: Annotated[list[str], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    format: Literal["text", "json", "csv"] = "text",
    batch: int = 32,
    path_column: str = "path",
    grid: Path | None = None,
    truth: str | None = None,
    label_column: str | None = None,
    most: int | None = None,
    model_code: Code = None,
) -> int:
    """Classify IMAGES: files, folders, globs, a table of paths, or - for standard input.

    Parameters
    ----------
    images
        What to classify. The order is kept; an unreadable image gets an error in its place, and the exit code is 2.
        Standard input holds one path per line, answered as they come. Bytes of a name that are no text are shown as
        \\udcXX, and such a name is understood.
    format
        text, json (one object per line) or csv.
    batch
        Images at once.
    path_column
        The column of paths, of a table of images and of that of --truth.
    grid
        A picture to write as well (.png, .pdf, .svg, .jpg): the images, titled with what was said of them.
    truth
        For --grid, what they are, so that right is green with a tick and wrong red with a cross: folders (an image is
        what the folder it lies in is called), a table of paths and labels, or a class that all of them are.
    label_column
        For --truth TABLE: its column of labels. Default: label.
    most
        For --grid: how many images it shows at most, mistakes first. Default: 48.
    """
    from rich.text import Text

    from pellucid.cli.show import aside
    from pellucid.reports.grid import Columns, Grid
    from pellucid.reports.text import prediction_header, prediction_line
    from pellucid.uses.inputs import expand_inputs
    from pellucid.uses.predict import Failure, load, predict_stream
    from pellucid.uses.standard_input import paths as paths_of

    if not images:
        raise UserError("there is nothing to predict", hint="name files, folders or globs, or - for standard input")
    if unknown := [name for name in images if name.startswith("--") and not Path(name).exists()]:
        raise UserError(f"unknown option: {unknown[0]}", hint="`pellucid predict --help` lists what there is")
    _check_grid(grid, {"--truth": truth, "--label-column": label_column, "--most": most})
    classifier = load(model, model=model_code)
    columns = Columns(path_column, label_column)
    drawn = None if grid is None else Grid(grid, truth, classifier.classes, most=most, columns=columns)
    if header := prediction_header(format):
        print(header)
    failed = False
    paths = expand_inputs(
        images,
        standard_input=paths_of(sys.stdin),
        path_column=path_column,
        note=lambda words: aside().print(Text(f"! {words}")),
    )
    heard = True
    for predicted in predict_stream(classifier, paths, batch=batch):
        try:
            if heard:
                print(prediction_line(predicted, format), flush=True)
        except BrokenPipeError:  # the reader has enough (`| head`), and the picture is still wanted
            if not drawn:
                raise
            heard = False
        failed |= isinstance(predicted, Failure)
        if drawn:
            drawn.take(predicted)
    if drawn:
        for words in drawn.write():
            aside().print(Text(words))
    return USER_FAULT if failed else DONE


def _check_grid(grid: Path | None, others: dict[str, Any]) -> None:
    """Before anything is computed."""
    if grid is None:
        if said := [flag for flag, value in others.items() if value is not None]:
            raise UserError(f"{said[0]} is for a picture of the predictions", hint="add --grid predictions.png")
        return
    from pellucid.reports.formats import check_format, check_most

    check_format(grid)
    if others["--label-column"] is not None and others["--truth"] is None:
        raise UserError("--label-column is for --truth TABLE", hint="name the table")
    most = others["--most"]
    if most is not None:
        check_most(most)


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
    """Make a model of weights that others trained: published ones, or a file.

    It carries their classes and preprocessing, and a proof that every load replays, like one that was trained here.

    Parameters
    ----------
    net
        A network of `pellucid models`, or timm/NAME.
    weights
        imagenet, for what torchvision or timm publish, or a file, or a run's folder.
    layout
        Whose names the tensors in the file have.
    classes
        A file with the name of each logit, a line each; default: as the published weights' record says.
    size
        Pixels per side; default: as the record says.
    conventions
        torch or tensorflow, as the weights were trained; default: tensorflow where the layout is tf-slim or keras.
    input
        How images reach the network, where the record of the weights' source says otherwise, or there is none.
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
    """Make one model of several, and measure what each of them adds.

    It says the mean of their calibrated probabilities, is a file like any other model's, and takes as long as all of
    them together. What they are worth is measured on images that none of them learned from.

    Parameters
    ----------
    models
        Run folders or .safetensors models that tell the same classes apart.
    """
    from pellucid.cli.show import counting, say
    from pellucid.reports.text import ensemble_text
    from pellucid.uses.ensemble import ensemble as make

    with counting("measuring") as progress:
        told = make(models, out, model=model_code, progress=progress)
    say(ensemble_text(told))


def verify(model: Model, /, *, model_code: Code = None) -> None:
    """Replay MODEL's proof and show its card."""
    from pellucid.cli.show import say
    from pellucid.engines.choose import open_engine
    from pellucid.networks.own import remember
    from pellucid.reports.text import card_text
    from pellucid.runs.proof import not_proved

    remember(model_code)
    card = open_engine(model).card
    say(card_text(card))
    say("\nproved: the image of the proof gave the logits that the card says")
    if loose := not_proved(card):
        say(f"not proved: {', '.join(loose)}; the file was saved by a version that did not seal them")


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
