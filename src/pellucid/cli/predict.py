"""The verbs that use a model that is there: predict and verify. Without what reads settings, to answer at once."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pellucid.cli.shared import Code, Computed, Engine, Model
from pellucid.errors import DONE, USER_FAULT, UserError


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
    engine: Engine = "auto",
    precision: Computed = None,
    model_code: Code = None,
) -> int:
    """Say which class each image is of, and with what probability.

    There is one line per image, in the order of IMAGES. "Not sure" stands where the probability is lower than that from
    which on 95 % of the answers on the validation images were right; the second best class follows. The line of an
    image that cannot be read says why, and the exit code is then 2.

    Parameters
    ----------
    images
        The images: files, folders, patterns ('photos/*.jpg'), a table of paths (.csv, .xlsx, .parquet), or - to read
        paths from standard input, one per line. Bytes in a name that are no text are written as \\udcXX.
    format
        text: a line to read. json: one object per line, with the probability of every class. csv: a table.
    batch
        How many images are computed at once: fewer need less memory.
    path_column
        The column that holds the paths, in a table of images and in the table of --truth.
    grid
        A picture to write as well (.png, .pdf, .svg or .jpg), which shows the images and their answers. Default: none.
    truth
        With --grid: the true classes, by which right answers are marked green with a tick, wrong ones red with a cross.
        folders: an image is of the class that its folder is called. Or a table of paths and labels, or a class that all
        images are of. Default: no marks.
    label_column
        With --truth TABLE: the column of the table that holds the labels. Default: label.
    most
        With --grid: how many images the picture shows at most; wrong answers come first. Default: 48.
    """
    from pellucid.cli.progress import Progress
    from pellucid.reports.predictions import prediction_header, prediction_line
    from pellucid.uses.inputs import expand_inputs
    from pellucid.uses.predict import Failure, load, predict_stream
    from pellucid.uses.standard_input import paths as paths_of
    from pellucid.uses.throughput import Throughput

    if not images:
        raise UserError("there is nothing to predict", hint="name files, folders or globs, or - for standard input")
    if unknown := [name for name in images if name.startswith("--") and not Path(name).exists()]:
        raise UserError(f"unknown option: {unknown[0]}", hint="`pellucid predict --help` lists what there is")
    _check_grid(grid, {"--truth": truth, "--label-column": label_column, "--most": most})
    classifier = load(model, engine=engine, precision=precision, model=model_code)
    if engine == "auto" and classifier.engine.chosen_from:
        _remark(f"computed by {classifier.engine.words}, {classifier.engine.chosen_from}")
    drawn = None
    if grid is not None:
        from pellucid.reports.grid import Columns, Grid

        columns = Columns(path_column, label_column)
        drawn = Grid(grid, truth, classifier.classes, most=most, columns=columns)
    if header := prediction_header(format):
        print(header)
    failed, heard = False, True
    progress, throughput = Progress(silent=sys.stdout.isatty()), Throughput()

    def remark(words: str) -> None:
        progress.clear()
        _remark(words)

    paths = expand_inputs(
        images,
        standard_input=paths_of(sys.stdin),
        path_column=path_column,
        note=lambda words: remark(f"! {words}"),
    )
    try:
        for predicted in predict_stream(classifier, paths, batch=batch, throughput=throughput):
            try:
                if heard:
                    print(prediction_line(predicted, format), flush=True)
            except BrokenPipeError:  # the reader has enough (`| head`), and the picture is still wanted
                if not drawn:
                    raise
                heard = False
            failed |= isinstance(predicted, Failure)
            progress.advance()
            if drawn:
                drawn.take(predicted)
    finally:
        progress.clear()
    if words := throughput.words():
        _remark(words)
    if drawn:
        for words in drawn.write():
            _remark(words)
    return USER_FAULT if failed else DONE


def _remark(words: str) -> None:
    """A line on stderr, which is not worth importing rich for."""
    print(words, file=sys.stderr, flush=True)


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


def verify(
    model: Model,
    /,
    *,
    engine: Engine = "auto",
    program: Literal["python", "javascript", "cpp", "csharp"] | None = None,
    model_code: Code = None,
) -> None:
    """Check that a model still answers as when it was saved, and show what it knows of itself.

    A model file has a proof: what the model said of a fixed image when it was saved, which must come out again. Its
    card has the classes, the preprocessing, how it decides, what was measured, and where it comes from.

    Parameters
    ----------
    program
        Print a program in this language instead, which classifies images with the file and has no need of Pellucid.
        MODEL is then a file that `pellucid export --inside` wrote. Default: show the card.
    """
    from pellucid.cli.show import say
    from pellucid.engines.choose import open_engine
    from pellucid.networks.own import remember
    from pellucid.reports.text import card_text
    from pellucid.runs.proof import not_proved

    remember(model_code)
    opened = open_engine(model, engine=engine)
    card = opened.card
    if program is not None:
        from pellucid.exports.snippets import snippet

        print(snippet(card, opened.path, program), end="")
        return
    say(card_text(card))
    say(f"\nproved: of the proof's image the model said what it said when it was saved ({opened.words})")
    if loose := not_proved(card):
        say(f"not proved: {', '.join(loose)}; the file was saved by an older version, which left that out of the proof")
