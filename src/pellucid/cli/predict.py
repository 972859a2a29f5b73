"""The verbs that use a model that is there: predict and verify. Without what reads settings, to answer at once."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from pellucid.cli.progress import Progress
from pellucid.cli.shared import Code, Computed, Engine, Model, Switch
from pellucid.errors import DONE, USER_FAULT, UserError

if TYPE_CHECKING:
    from pellucid.reports.predictions import Format
    from pellucid.runs.card import Card
    from pellucid.uses.predict import Failure, Prediction


def predict(
    model: Model,
    images: Annotated[list[str], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    format: Literal["text", "json", "csv", "parquet"] | None = None,
    out: Path | None = None,
    resume: Switch = False,
    sort_into: Path | None = None,
    batch: int | None = None,
    path_column: str = "path",
    allow_urls: Switch = False,
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
        The images: files, folders, patterns ('photos/*.jpg'), archives (.zip, .tar, .tar.gz), a table of paths (.csv,
        .xlsx, .parquet), or - to read paths from standard input, one per line. Bytes in a name that are no text are
        written as \\udcXX.
    format
        text: a line to read. json: one object per line, with the probability of every class. csv: a table. parquet: a
        table, for --out alone. Default: text; with --out, what its name says.
    out
        A file to write the answers to, one row per image. The ending of its name says in which format: .csv, .jsonl or
        .parquet, as in answers.csv. A file that is there already is not replaced. Default: none, they are printed.
    resume
        With --out: go on with a file whose writing was interrupted, after its last whole line. The other words of the
        command have to be those that began it. Default: a new file is written.
    sort_into
        A folder to copy the images to, into a folder for each class. Nothing that is there is replaced: of images of
        one name, the later get a number. Default: none, no image is copied.
    batch
        How many images are computed at once: fewer need less memory. Default: 32, or fewer where little is left.
    path_column
        The column that holds the paths, in a table of images and in the table of --truth.
    allow_urls
        Fetch images whose name is a web address (http://, https://). Default: such names are errors.
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
    from pellucid.uses.batches import batch_for, little_memory
    from pellucid.uses.inputs import check_apart, expand_inputs
    from pellucid.uses.predict import load, name_of, predict_stream
    from pellucid.uses.standard_input import paths as paths_of
    from pellucid.uses.throughput import Throughput

    if not images:
        raise UserError("there is nothing to predict", hint="name files, folders or globs, or - for standard input")
    if unknown := [name for name in images if name.startswith("--") and not Path(name).exists()]:
        raise UserError(f"unknown option: {unknown[0]}", hint="`pellucid predict --help` lists what there is")
    _check_out(out, format, resume=resume, others={"--grid": grid, "--sort-into": sort_into})
    if grid is not None:
        check_apart(grid, images, "the picture")
    _check_grid(grid, {"--truth": truth, "--label-column": label_column, "--most": most})
    classifier = load(model, engine=engine, precision=precision, model=model_code)
    if engine == "auto" and classifier.engine.chosen_from:
        _remark(f"computed by {classifier.engine.words}, {classifier.engine.chosen_from}")
    size = batch_for(classifier.card, batch)
    if batch is None and (words := little_memory(size)):
        _remark(words)
    drawn = answers = sorter = None
    if grid is not None:
        from pellucid.reports.grid import Columns, Grid

        columns = Columns(path_column, label_column)
        drawn = Grid(grid, truth, classifier.classes, most=most, columns=columns)
    if sort_into is not None:
        from pellucid.uses.sorting import Sorter

        sorter = Sorter(sort_into, classifier.classes, images)
    if out is not None:
        from pellucid.reports.answers import Answers, kind_for

        facts = {"model": _fingerprint(classifier.card), "engine": classifier.engine.words, "batch": size}
        answers = Answers(out, kind_for(out, format), facts, resume=resume)
    told = answers or _Printed(format, alone=drawn is None)
    progress, throughput = Progress(silent=answers is None and sys.stdout.isatty()), Throughput()
    inputs = expand_inputs(
        images,
        standard_input=paths_of(sys.stdin),
        path_column=path_column,
        allow_urls=allow_urls,
        note=lambda words: progress.around(partial(_remark, f"! {words}")),
    )
    # Some answers come again, so that the batches are those of the first time: float32 knows which they were.
    again = answers.done % size if answers else 0
    sources: deque[Any] = deque()  # of images that are not answered yet, where somebody will ask for them
    if sorter:
        inputs = _remembered(inputs, sources)
    left = answers.left(inputs, answers.done - again, name_of) if answers else inputs
    try:
        for predicted in islice(predict_stream(classifier, left, batch=size, throughput=throughput), again, None):
            if sorter:
                sorter.take(predicted, sources.popleft())
            if drawn:
                drawn.take(predicted)
            told.take(predicted)
            progress.advance()
        progress.clear()
        finished = [
            told.finish(),
            drawn.write() if drawn else [],
            sorter.finish() if sorter else [],
            [throughput.words()],
        ]
        for words in chain(*finished):
            if words:
                _remark(words)
    except BaseException:
        progress.clear()
        if answers and progress.images:
            _remark(f"{out} is not finished: the same command with --resume goes on with it")
        raise
    finally:
        if answers:
            answers.close()
    return USER_FAULT if told.failures else DONE


def _remembered(inputs: Iterable[Any], sources: deque[Any]) -> Iterator[Any]:
    from pellucid.uses.ahead import PAUSE

    for each in inputs:
        if each is not PAUSE:
            sources.append(each)
        yield each


class _Printed:
    """Answers on standard output. Where its reader has enough (`| head`) that is the end, unless they are not `alone`:
    a picture of them is wanted too.
    """

    def __init__(self, format: str | None, *, alone: bool) -> None:
        from pellucid.reports.predictions import prediction_header, prediction_line

        self.failures = 0
        self._form: Format = "json" if format == "json" else "csv" if format == "csv" else "text"
        self._line, self._alone, self._heard = prediction_line, alone, True
        if header := prediction_header(self._form):
            print(header)

    def take(self, predicted: "Prediction | Failure") -> None:
        self.failures += not hasattr(predicted, "best")
        try:
            if self._heard:
                print(self._line(predicted, self._form), flush=True)
        except BrokenPipeError:
            if self._alone:
                raise
            self._heard = False

    def finish(self) -> list[str]:
        return []


def _check_out(out: Path | None, format: str | None, *, resume: bool, others: dict[str, Path | None]) -> None:
    """Before anything is computed."""
    if out is None and (resume or format == "parquet"):
        raise UserError(f"{'--resume' if resume else '--format parquet'} is for a file", hint="add --out answers.csv")
    if out is not None:
        from pellucid.reports.answers import kind_for

        kind_for(out, format)
    if resume and (said := [flag for flag, value in others.items() if value is not None]):
        raise UserError(
            f"{said[0]} is for all images, and --resume for those that are left", hint=f"leave {said[0]} out"
        )


def _fingerprint(card: "Card") -> str:
    """A model by its card, whose proof no other model has."""
    return sha256(card.model_dump_json().encode("utf-8", "backslashreplace")).hexdigest()[:16]


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
