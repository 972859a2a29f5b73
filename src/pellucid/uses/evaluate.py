"""Evaluating: a model and labelled images in, measures with their intervals and every single prediction out."""

import inspect
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import UserError, listed, nearest
from pellucid.images.decode import Unreadable, content_of, open_image
from pellucid.images.folders import left_out_words
from pellucid.images.labels import MOST_MAPPED, look
from pellucid.images.manifest import Split, fingerprint, sha256_of
from pellucid.images.part_words import PARTS
from pellucid.images.preprocessing import Pixels
from pellucid.images.remarks import emptied
from pellucid.images.samples import Sample, Source
from pellucid.images.sources import read_samples
from pellucid.measures import confusion, likelihood, ranking
from pellucid.names import below, path_of, shown
from pellucid.runs.card import Card
from pellucid.runs.evaluation import ClassResult, Evaluation, Judged, LeftOut, own_part
from pellucid.runs.locating import locate
from pellucid.runs.run_folder import RunFolder
from pellucid.uses.ahead import ahead, windows
from pellucid.uses.batches import batch_for
from pellucid.uses.predict import Classifier, decide, load, pixels_for, shares


def evaluate(
    model: Classifier | str | PathLike[str],
    data: Path | str | None = None,
    *,
    part: str | None = None,
    only_known: bool = False,
    skip_unreadable: bool = False,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **source: Any,
) -> Evaluation:
    """Measure `model` on labelled images; classes are matched by name.

    `data` is anything that images.sources reads, `source` the fields of its Source. Of divided data `part` is
    measured, "test" where none is named. Without `data`, a run folder's own test part is, or its validation part if
    it kept no test. `only_known` leaves out classes that the model does not have, `skip_unreadable` images that
    cannot be decoded; both are recorded. `batch` is as for Classifier.predict. `progress` hears (done, total).

    Raises UserError for classes that the model never saw, images that cannot be read (all of them are listed), a part
    that is not there, and files of the run's own split that have changed since.
    """
    classifier = model if isinstance(model, Classifier) else load(model)
    trained_on = _split_of(classifier)
    for option in source.keys() - Source.model_fields:
        right = nearest(option, [*inspect.signature(evaluate).parameters, *Source.model_fields])
        raise UserError(f"evaluate has no option {option!r}", hint=f"did you mean {right}?" if right else "")
    reading = Source.from_fields(source, "the way to read the data")
    if data is not None:
        chosen = _given(data, reading, part, classifier.classes)
    elif reading == Source():
        chosen = _own(classifier, trained_on, part)
    else:
        raise UserError(f"{', '.join(source)} says how to read data, but no data is named")
    chosen = _known(chosen, classifier.classes, only_known=only_known)
    began = time.perf_counter()
    size = batch_for(classifier.card, batch)
    tally = _measure(classifier, chosen, batch=size, skip_unreadable=skip_unreadable, progress=progress)
    seconds = time.perf_counter() - began
    if data is None and trained_on is not None:
        _refuse_changed(tally, trained_on, classifier)
    return _evaluation(classifier, chosen, tally, trained_on=trained_on, seconds=seconds)


@dataclass(frozen=True)
class _Chosen:
    """The images to measure, and those that were left out before any was opened."""

    data: str
    root: Path
    part: str | None
    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Tally:
    """What came of each image, in order; `scores` are probabilities of the last class."""

    judged: list[Judged] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def _split_of(classifier: Classifier) -> Split | None:
    """The split that the model was trained with, where its run folder is there to tell."""
    run = RunFolder(locate(classifier.model).parent)
    return run.split() if run.is_there() else None


def _own(classifier: Classifier, trained_on: Split | None, part: str | None) -> _Chosen:
    if trained_on is None:
        RunFolder(locate(classifier.model).parent).check_whole()
        raise UserError(
            f"{classifier.model} is not in a run folder, so it has no test images of its own",
            hint=f"name the data: pellucid evaluate {classifier.model} DATA",
        )
    kept = [name for name, counts in trained_on.counts().items() if sum(counts.values())]
    empty = emptied("test") in trained_on.notes and not part
    part = PARTS.get(part, part) if part else own_part(trained_on)
    if part not in kept:
        raise _no_part(str(classifier.model), part, kept)
    notes = (f"{emptied('test')}, and the {part} part was measured",) if empty else ()
    return _Chosen(trained_on.root, path_of(trained_on.root), part, trained_on.part(part), (), notes)


def _given(data: Path | str, source: Source, part: str | None, classes: Sequence[str]) -> _Chosen:
    read = read_samples(data, source, known=classes)
    left_out = tuple(LeftOut(path=below(path, read.root), reason=reason) for path, reason in read.left_out)
    notes = tuple(note for note in read.notes if note != left_out_words(read.left_out))  # a caution counts those
    parts = sorted({sample.part for sample in read if sample.part})
    if not parts and part is None:
        return _Chosen(str(data), read.root, None, read.samples, left_out, notes)
    if not parts:
        raise UserError(f"{data} is not divided into parts", hint="leave --part out to measure all of it")
    if part is None and "test" not in parts:
        raise UserError(
            f"{data} has no test part", [f"it has {', '.join(parts)}"], hint=f"say which: --part {parts[-1]}"
        )
    part = PARTS.get(part, part) if part else "test"
    if part not in parts:
        raise _no_part(str(data), part, parts)
    return _Chosen(str(data), read.root, part, tuple(sample for sample in read if sample.part == part), left_out, notes)


def _no_part(data: str, part: str, parts: Sequence[str]) -> UserError:
    return UserError(f"{data} has no part {part!r}", [f"it has {', '.join(parts)}"], hint=f"--part {parts[-1]}")


def _known(chosen: _Chosen, classes: Sequence[str], *, only_known: bool) -> _Chosen:
    """Without the images of classes that the model does not have, which must be asked for."""
    unknown = Counter(sample.label for sample in chosen.samples if sample.label not in classes)
    if not unknown:
        return chosen
    knows = f"it knows {', '.join(listed(classes))}"
    here = sorted({sample.label for sample in chosen.samples})
    if spelled := _spelled(here, classes):
        pairs = [f"{ours}={theirs}" for ours, theirs in spelled.items()]
        raise UserError(
            f"{chosen.data} spells {'a class' if len(spelled) == 1 else 'classes'} in another way than this model",
            listed([f"{ours} is {theirs} there" for ours, theirs in spelled.items()]),
            hint=f"--map {shlex.quote(','.join(pairs[:MOST_MAPPED]))}",
        )
    if len(unknown) == len(here):
        raise UserError(f"{chosen.data} has no class that this model knows", listed(_counted(unknown)), hint=knows)
    if not only_known:
        raise UserError(
            f"{chosen.data} has {len(unknown)} {'class' if len(unknown) == 1 else 'classes'} that this model never saw",
            listed(_counted(unknown)),
            hint=f"{knows}; --only-known leaves the others out and says so",
        )
    return replace(
        chosen,
        samples=tuple(sample for sample in chosen.samples if sample.label in classes),
        left_out=(
            *chosen.left_out,
            *(
                LeftOut(
                    path=below(sample.path, chosen.root),
                    reason=f"of class {sample.label}, which the model does not know",
                )
                for sample in chosen.samples
                if sample.label in unknown
            ),
        ),
    )


def _spelled(here: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Labels that no class has, but one that looks the same."""
    alike = {look(name): name for name in classes}
    return {name: alike[look(name)] for name in here if name not in classes and look(name) in alike}


def _counted(images: Counter[str]) -> list[str]:
    return [f"{name} ({n} {'image' if n == 1 else 'images'})" for name, n in sorted(images.items())]


def _measure(
    classifier: Classifier,
    chosen: _Chosen,
    *,
    batch: int,
    skip_unreadable: bool,
    progress: Callable[[int, int], None] | None,
) -> _Tally:
    """Open, compute and judge every image, in order; one that cannot be read stops it, unless it may be skipped."""
    card, tally = classifier.card, _Tally()
    done = 0
    opened = ahead(partial(_opened, card=card), chosen.samples, depth=batch)
    for window in windows(opened, batch):
        ready = [each for each in window if isinstance(each, _Opened)]
        refused = [each for each in window if isinstance(each, Unreadable)]
        if refused and not skip_unreadable:
            raise _unreadable(chosen, card)
        tally.left_out += [LeftOut(path=below(Path(each.name), chosen.root), reason=each.reason) for each in refused]
        given = shares(classifier.engine, [each.pixels for each in ready])
        tally.scores += given[:, -1].tolist()
        for each, row, best in zip(ready, given.tolist(), decide(given, card), strict=True):
            tally.judged.append(
                Judged(
                    path=below(each.sample.path, chosen.root),
                    truth=each.sample.label,
                    best=card.classes[best],
                    probability=row[best],
                    of_truth=row[card.classes.index(each.sample.label)],
                    sha256=each.sha256,
                )
            )
        done += len(window)
        if progress:
            progress(done, len(chosen.samples))
    if not tally.judged:
        raise UserError(f"no image of {chosen.data} can be read", listed([each.path for each in tally.left_out]))
    return tally


@dataclass(frozen=True, slots=True)
class _Opened:
    sample: Sample
    sha256: str
    pixels: Pixels


def _opened(sample: Sample, card: Card) -> _Opened | Unreadable:
    try:
        name = str(sample.path)
        content = content_of(sample.path, name)
        image = open_image(content, background=card.preprocessing.background, name=name)
        return _Opened(sample, sha256_of(content), pixels_for(card, image, name=name))
    except Unreadable as cause:
        return cause


def _unreadable(chosen: _Chosen, card: Card) -> UserError:
    """The error that lists every image that cannot be read, not the first alone."""
    every = ahead(partial(_opened, card=card), chosen.samples, depth=1)
    refused = [each for each in every if isinstance(each, Unreadable)]
    return UserError(
        f"{len(refused)} of the {len(chosen.samples)} images of {chosen.data} cannot be read",
        listed([str(each) for each in refused]),
        hint="--skip-unreadable leaves them out and says so",
    )


def _refuse_changed(tally: _Tally, trained_on: Split, classifier: Classifier) -> None:
    """The run's own images must be those that it divided."""
    recorded = {trained_on.below(file): file.sha256 for file in trained_on.files}
    if changed := [judged.path for judged in tally.judged if recorded[judged.path] != judged.sha256]:
        raise UserError(
            f"{len(changed)} of the {len(tally.judged)} images changed after {classifier.model} divided them",
            listed(changed),
            hint=f"to measure what is there now, name it: pellucid evaluate {classifier.model} {trained_on.root}",
        )


def _evaluation(
    classifier: Classifier, chosen: _Chosen, tally: _Tally, *, trained_on: Split | None, seconds: float
) -> Evaluation:
    classes, judged = classifier.classes, tally.judged
    index = {name: position for position, name in enumerate(classes)}
    truth = np.array([index[each.truth] for each in judged])
    best = np.array([index[each.best] for each in judged])
    scores, two = np.array(tally.scores), len(classes) == 2
    table = confusion.confusion(truth, best, classes=len(classes))
    return Evaluation(
        model=shown(str(classifier.model)),
        data=shown(chosen.data),
        root=shown(str(chosen.root.resolve())),
        part=chosen.part,
        fingerprint=fingerprint((each.sha256, each.truth) for each in judged),
        n=len(judged),
        seen_in_training=None if trained_on is None else _seen(judged, trained_on),
        classes=classes,
        threshold=classifier.card.threshold,
        accuracy=confusion.accuracy(table),
        balanced_accuracy=confusion.balanced_accuracy(table),
        log_loss=likelihood.log_loss(np.array([each.of_truth for each in judged])),
        roc_auc=ranking.roc_auc(truth, scores) if two else None,
        average_precision=ranking.average_precision(truth, scores) if two else None,
        per_class=tuple(
            ClassResult(
                name=name,
                precision=confusion.precision(table, position),
                recall=confusion.recall(table, position),
                f1=confusion.f1(table, position),
                support=int(table[position].sum()),
            )
            for name, position in index.items()
        ),
        confusion=tuple(map(tuple, table.tolist())),
        predictions=tuple(judged),
        left_out=(*chosen.left_out, *tally.left_out),
        notes=chosen.notes,
        seconds=seconds,
        images_per_second=len(judged) / seconds,
    )


def _seen(judged: Sequence[Judged], trained_on: Split) -> int:
    learned = {file.sha256 for file in trained_on.part("train")}
    return sum(each.sha256 in learned for each in judged)
