"""The verbs about images: split, and show, which draws them, what a network sees of them, or a run."""

from collections.abc import Callable
from inspect import Parameter as Given
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, Literal

from pellucid.cli.flags import READ_BY, flag_of, reading, shown_as, with_data
from pellucid.cli.runs import ASKED, asked
from pellucid.errors import UserError
from pellucid.images.samples import READING
from pellucid.training.config import AMOUNTS, Data
from pellucid.training.configure import configure

Of = Literal["files", "first-batch", "curves", "results"]


def split(
    data: str,
    out: Path,
    /,
    *,
    how: Literal["manifest", "copy", "link"] = "manifest",
    seed: int = 0,
    **settings: Any,
) -> None:
    """Divide images into a train, a validation and a test part.

    The train part is for learning, the validation part for choosing the best weights, the test part for the final
    measurement. Twins (files with the same content) and groups (images that belong together, such as all of one
    patient) stay in one part.

    Parameters
    ----------
    data
        The labelled images: a folder with a folder for each class, or with such folders inside train/ and test/; a
        table with a row for each image (.csv, .xlsx, .parquet); or a flat folder, with --labels or --label-from.
    out
        What to write: a manifest, which is a .json file that `pellucid train` reads as DATA; with --how copy or link, a
        folder.
    how
        manifest: write a list of files. copy: copy the images into train/, validation/ and test/. link: link to the
        images from there.
    seed
        The number that the random division comes from: the same seed gives the same parts on every machine.
    """
    from rich.text import Text

    from pellucid.cli.show import say
    from pellucid.images.labels import check_classes
    from pellucid.images.manifest import write_manifest
    from pellucid.images.placing import check_place, place
    from pellucid.images.sources import read_samples
    from pellucid.images.split import split as divide
    from pellucid.reports.text import split_text

    amounts = {name: value for name, value in settings.items() if name in AMOUNTS and value is not None}
    asked = Data.from_fields({"folder": data, "source": reading(settings), **amounts}, "what is asked of the data")
    samples = read_samples(data, asked.source)
    check_classes(samples.classes, data)
    check_place(out, how, samples)
    parts = divide(samples, seed=seed, **asked.division)
    if how == "manifest":
        write_manifest(parts, out)
    else:
        place(parts, out, how)
    say(split_text(parts))
    say(Text(f"written to {out}"))


with_data(split, {name: Data.model_fields[name] for name in AMOUNTS} | READ_BY)


def show(
    data: str, /, *, out: Path, of: Of | None = None, most: int = 24, every: int | None = None, **settings: Any
) -> None:
    """Draw a picture: of labelled images, of what a network sees of them, or of a training.

    With --of first-batch all settings of `pellucid train` may be given too, since they decide what the network sees.

    Parameters
    ----------
    data
        The labelled images, as for `pellucid train`, or a run folder.
    out
        The picture to write: .png, .pdf, .svg or .jpg.
    of
        files: the images with their labels. first-batch: each image of the first batch beside what the network gets of
        it, which is cropped, flipped, coloured or mixed at random. Of a run folder, curves: loss and accuracy by epoch;
        results: answers, right and wrong. Default: curves of a run folder, otherwise files.
    most
        How many images the picture shows at most; of a first batch 16 are the most.
    every
        With --of curves: each point of the thin line, the loss, is the mean of so many batches. Default: as many as
        give at most 200 points.
    """
    from rich.text import Text

    from pellucid.cli.show import aside, say_lines
    from pellucid.reports.formats import check_format, check_most
    from pellucid.runs.run_folder import is_run

    check_format(out)
    check_most(most)
    said = {name: value for name, value in settings.items() if value is not None}
    run = is_run(data)
    of = of or ("curves" if run else "files")
    if of in ("curves", "results") and not run:
        raise UserError(f"{data} is no run, and only a run has {of}", hint="--of files, or --of first-batch")
    if of == "files" and run:
        raise UserError(f"{data} is a run, not images", hint="--of first-batch shows what it was trained on")
    if every is not None and of != "curves":
        raise UserError("--every is for the curves of a run", hint="leave it out")
    thing = _of_run(data, of, said) if run else _of_data(data, of, said)
    from pellucid.reports.pictures import save
    from pellucid.reports.pictures import show as draw

    save(draw(thing, most=most, every=every), out)
    if of == "first-batch" and (drawn := min(most, len(thing.shown.files))) < thing.shown.images:
        aside().print(Text(f"the first {drawn} of the {thing.shown.images:,} images"))
    say_lines(str(out))


def _of_run(data: str, of: Of, said: dict[str, Any]) -> Any:
    from pellucid.runs.run_folder import open_whole

    if said:
        raise UserError(f"{flag_of(next(iter(said)))}: {data} is a run, and has its settings", hint="leave it out")
    run = open_whole(data)
    if of == "results":
        from pellucid.runs.evaluation import read_evaluation

        return read_evaluation(run)
    if of == "first-batch":
        from pellucid.training.preview import kept_batch

        return kept_batch(run)
    return run


def _of_data(data: str, of: Of, said: dict[str, Any]) -> Any:
    if of == "files":
        from pellucid.images.samples import Source
        from pellucid.images.sources import read_samples

        if others := [name for name in said if name not in READING]:
            raise UserError(
                f"{flag_of(others[0])} changes nothing about the files",
                hint="--of first-batch shows what a network would see of them",
            )
        return read_samples(data, Source.from_fields(reading(said), "the way to read the data"))
    from pellucid.cli.show import counting
    from pellucid.runs.first_batch import FirstBatch
    from pellucid.training.preview import preview

    config = asked(data, **said)
    with counting("looking at the images") as progress:
        for event in preview(config):
            if isinstance(event, FirstBatch):
                return event
            if getattr(event, "total", 0):
                progress(event.done, event.total)  # type: ignore[union-attr]
    raise AssertionError("a preview ends with its batch")


def _join(verb: Callable[..., Any]) -> None:
    """Give `verb` the settings of `train` beside its own flags."""
    own, head = signature(verb), cleandoc(verb.__doc__ or "")
    shown_as(verb, configure, **ASKED)
    flags = [flag for name, flag in own.parameters.items() if flag.kind is Given.KEYWORD_ONLY]
    positional = [flag for flag in own.parameters.values() if flag.kind is Given.POSITIONAL_ONLY]
    train = [flag for name, flag in signature(verb).parameters.items() if name != "data"]
    verb.__signature__ = own.replace(parameters=[*positional, *flags, *train])  # type: ignore[attr-defined]
    verb.__annotations__ = {flag.name: flag.annotation for flag in (*positional, *flags, *train)} | {"return": None}
    rest = (verb.__doc__ or "").partition("----------\n")[2]
    verb.__doc__ = head + "\n" + rest[rest.index("model\n") :]


_join(show)
