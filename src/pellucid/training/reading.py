"""The images of a training, all read to their end before anything else happens, or refused by name."""

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from pellucid.errors import UserError, counted, listed, named
from pellucid.images.amounts import PARTS
from pellucid.images.decode import Unreadable
from pellucid.images.folders import left_out_words
from pellucid.images.manifest import Split
from pellucid.images.pixels import Form, PixelCache, Request
from pellucid.images.preprocessing import Preprocessing
from pellucid.images.remarks import emptied
from pellucid.images.samples import Sample, Samples
from pellucid.images.sources import read_samples
from pellucid.images.split import CAME_DIVIDED, check_amounts, sizes
from pellucid.names import path_of
from pellucid.runs.events import Event, PixelsReady, Preparing, now
from pellucid.training.budget import check_decoding
from pellucid.training.config import Config, Data, Elsewhere

# Flags of the data itself, where what they say of images elsewhere is said by others.
ELSEWHERE = re.compile(
    rf"--({'|'.join(name.replace('_', '-') for name in Elsewhere.model_fields if name != 'data')})\b"
)


def read_data(data: Data) -> Samples:
    """The images of `data`, and those of elsewhere that are to validate; which then are its validation part.

    Raises UserError where the data has a validation part already, or those of elsewhere have parts, or other classes.
    """
    samples = read_samples(path_of(data.folder), data.source)
    if data.validation_from.data is None:
        return samples
    where = data.validation_from.data
    try:
        others = read_samples(path_of(where), data.validation_from.source, known=samples.classes)
    except UserError as cause:
        problem, details, hint = (ELSEWHERE.sub(r"--validation-from.\1", text) for text in _texts(cause))
        raise UserError(problem, details.splitlines(), hint=hint) from cause
    if any(sample.part == "validation" for sample in samples):
        raise UserError(
            f"{data.folder} has a validation part, and {where} is to be one",
            [f"it has {sizes(samples)}"],
            hint="leave --validation-from.data out, or leave out that part: --leave-out FOLDER",
        )
    if any(sample.part for sample in others):
        raise UserError(
            f"{where} comes divided into parts, and all of it is to validate",
            [f"it has {sizes(others)}"],
            hint="name one of its parts: --validation-from.data FOLDER",
        )
    if strange := sorted(set(others.classes) - set(samples.classes)):
        raise UserError(
            f"{where} has classes that {data.folder} has not: {named(strange)}",
            [f"{data.folder} has {named(samples.classes)}"],
            hint=f"--validation-from.map {strange[0]}={samples.classes[0]},... says what its labels mean",
        )
    ours = tuple(replace(sample, part=sample.part or "train") for sample in samples)
    theirs = tuple(replace(sample, part="validation") for sample in others)
    told = f"{counted(len(others), 'validation image')} {'is' if len(others) == 1 else 'are'} those of {where}"
    return replace(
        samples,
        samples=(*ours, *theirs),
        left_out=(*samples.left_out, *others.left_out),
        notes=(*samples.notes, told, *(f"{where}: {note}" for note in others.notes)),
    )


def _texts(error: UserError) -> tuple[str, str, str]:
    return error.problem, "\n".join(error.details), error.hint


@dataclass(frozen=True)
class Readable:
    samples: Samples
    hashes: tuple[str, ...]  # of their contents
    left_out: tuple[tuple[str, str], ...]  # path, reason
    told: PixelsReady


def checked(
    samples: Samples, config: Config, preprocessing: Preprocessing, pixels: PixelCache
) -> Generator[Event, None, Readable]:
    """Decode every image once. Unreadable ones stop the training, or are left out by name."""
    data, ready = config.data, {sample.part for sample in samples}
    undecided = {*ready} if data.ignore_parts else set()
    if "validation" not in ready or data.validation or data.test:
        undecided.add("train")  # something is carved from it

    def forms(part: str | None) -> tuple[Form, ...]:
        return _forms(config, preprocessing, None if part in undecided else part)

    wanted = [Request(sample.path, forms(sample.part), preprocessing.resize) for sample in samples]
    found, told = yield from _decoded(wanted, pixels, config)
    bad = [one for one in found if isinstance(one, Unreadable)]
    if bad and not config.data.skip_unreadable:
        raise UserError(
            f"{len(bad)} of {len(wanted)} images cannot be read",
            listed([f"{error.name}: {error.reason}" for error in bad]),
            hint="repair or remove them, or --skip-unreadable goes on without them and records each",
        )
    read = tuple(sample for sample, one in zip(samples, found, strict=True) if isinstance(one, str))
    hashes = tuple(one for one in found if isinstance(one, str))
    others = tuple((str(path), reason) for path, reason in samples.left_out)
    left_out = (*others, *((str(error.name), error.reason) for error in bad))
    readable = _with(samples, read)
    if words := left_out_words((Path(error.name), error.reason) for error in bad):
        there = {sample.part for sample in read}
        lost = [emptied(part) for part in PARTS if part in ready - there]
        readable = replace(readable, notes=(*readable.notes, words, *lost))
    return Readable(readable, hashes, left_out, told)


def _decoded(
    wanted: Sequence[Request], pixels: PixelCache, config: Config
) -> Generator[Event, None, tuple[tuple[str | Unreadable, ...], PixelsReady]]:
    """The content hash of every file, or why it cannot be read; and what became of the pixels."""
    began = perf_counter()
    found: tuple[str | Unreadable, ...] = ()
    for state in pixels.fill(wanted):
        yield Preparing(phase="decoding the images", done=state.done, total=state.total)
        found = state.found
        if config.budget:
            check_decoding(config, done=state.done, total=state.total, spent=perf_counter() - began)
    told = PixelsReady(
        time=now(),
        images=len(wanted),
        decoded=pixels.decoded,
        reduced=pixels.reduced,
        needed=pixels.needed,
        room=pixels.room,
        kept=pixels.fits,
        refused=pixels.refused,
        seconds=perf_counter() - began,
    )
    return found, told


def _forms(config: Config, preprocessing: Preprocessing, part: str | None) -> tuple[Form, ...]:
    """In which forms an image of that part will be looked at; of an image with no part yet, in all that may be."""
    plain, varied = Form.of(preprocessing, None), Form.of(preprocessing, config.augmentation)
    if config.features.pixels == "off" or part == "test":
        return ()
    if part == "validation":
        return (plain,)
    cached, views = config.features.cache == "auto", config.features.views
    solved = cached and (config.probe_at or (config.mode == "finetune" and config.learning.head == "solved"))
    if config.learning.optimizer == "solve" and (views or 1) == 1:
        return (plain,)
    learned = (plain, varied) if solved or part is None or (cached and views == 1) else (varied,)
    return tuple(dict.fromkeys(learned))


def _with(samples: Samples, read: tuple[Sample, ...]) -> Samples:
    if lost := sorted(set(samples.classes) - {sample.label for sample in read}):
        raise UserError(f"no image of {named(lost)} can be read", hint="repair them, or move the class out of the data")
    return replace(samples, samples=read)


def check_division(samples: Samples, config: Config) -> None:
    """Raises UserError for data that came without training images, for amounts that cannot be had, and for a split to
    be kept that is not there.
    """
    data = config.data
    ready = {sample.part for sample in samples if sample.part}
    if ready and "train" not in ready and not data.ignore_parts:
        raise UserError(
            f"{data.folder} comes divided, and holds no training images",
            [f"it has {sizes(samples)}", *samples.notes],
            hint="put images into its training part, or --ignore-parts divides all of it anew",
        )
    check_amounts(samples, **data.division)


def check_one_logit(config: Config, classes: Sequence[str]) -> None:
    if config.learning.one_logit and len(classes) != 2:
        raise UserError(
            f"--one-logit is for two classes; {config.data.folder} has {len(classes)}",
            listed(classes),
            hint="leave --one-logit out, or join classes with --map",
        )


def check_counts(parts: Split) -> None:
    counts = parts.counts()["train"]
    if empty := [name for name in parts.classes if not counts.get(name)]:
        raise UserError(
            f"the training part has no image of {named(empty)}",
            [f"it has {named([name for name in parts.classes if counts.get(name)])}"],
            hint=_how_to_train_on(parts, empty),
        )
    if sum(counts.values()) < 2:
        raise UserError("training needs at least two images", hint="a larger --train")


def _how_to_train_on(parts: Split, classes: Sequence[str]) -> str:
    if parts.rule.startswith(CAME_DIVIDED):
        hint = "the data came divided like this: put images of each class into its training part"
        return f"{hint}, or --ignore-parts divides all of it anew"
    if any(file.group is not None for file in parts.files if file.label in classes):
        return (
            "groups stay whole, and these are in other parts: ask for less --test and --validation, or another --seed"
        )
    return "a larger --train"


def unchanged(
    parts: Split, config: Config, preprocessing: Preprocessing, pixels: PixelCache
) -> Generator[Event, None, PixelsReady]:
    """The run's images are still there, with the same content."""
    wanted = [
        Request(file.path, _forms(config, preprocessing, file.part), preprocessing.resize) for file in parts.files
    ]
    found, told = yield from _decoded(wanted, pixels, config)
    gone = [f"{parts.below(file)} is gone" for file in parts.files if not file.path.is_file()]
    changed = [
        f"{parts.below(file)} has changed"
        for file, one in zip(parts.files, found, strict=True)
        if one != file.sha256 and file.path.is_file()
    ]
    if gone or changed:
        raise UserError(
            f"{parts.root} is not as it was when this run began",
            listed([*gone, *changed]),
            hint="put the images back, or train anew",
        )
    return told
