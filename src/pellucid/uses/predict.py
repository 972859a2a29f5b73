"""Predicting: images in, named classes with probabilities out.

The door takes images, never tensors: whatever a model's preprocessing is, it is applied here and nowhere else.
Which images a command line means is inputs.py's business.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pellucid.engines.choose import AUTO, Precision, open_engine
from pellucid.engines.engine import Engine
from pellucid.errors import UserError, named
from pellucid.images.decode import ImageLike, Unreadable, open_image
from pellucid.images.preprocessing import Pixels, crop
from pellucid.measures.calibration import probabilities
from pellucid.names import path_of
from pellucid.records import Record
from pellucid.runs.card import Card
from pellucid.uses.ahead import PAUSE, Pause, ahead, windows
from pellucid.uses.batches import batch_for
from pellucid.uses.throughput import Throughput

Shares = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

DOOR = "give paths, encoded bytes, PIL images or uint8 arrays (height, width, 3); the model prepares them itself"
COLUMNS = ("name", "best", "probability", "sure", "error")  # of a row for a CSV file


class Prediction(Record):
    """What an image was called. `name`: its path as given, None for an image without one.

    `probability` is that of `best`; `sure` where it reaches the card's `sure_from`. `ranking` has all classes, the
    most probable first; with a decision threshold `best` need not be the first.
    """

    name: str | None
    best: str
    probability: float
    sure: bool
    ranking: tuple[tuple[str, float], ...]

    def line(self) -> str:
        """One JSON object on one line."""
        return self.model_dump_json()

    def row(self) -> dict[str, Any]:
        """The values of COLUMNS; what is absent is left out."""
        return self.model_dump(include={"name", "best", "probability", "sure"})


class Failure(Record):
    """In place of a prediction: which input it was, and in one line why it could not be used."""

    name: str | None
    error: str

    def line(self) -> str:
        """One JSON object on one line."""
        return self.model_dump_json()

    def row(self) -> dict[str, Any]:
        """The values of COLUMNS; what is absent is left out."""
        return self.model_dump()


@dataclass(frozen=True, slots=True)
class Ready:
    """An image as the engine wants it, uint8 (seen, seen, 3), or the whole of it; `name` as in Prediction."""

    name: str | None
    pixels: Pixels


class Elsewhere(ABC):
    """An image that lies in no file of its own: in an archive, at an address. `name` as in Prediction."""

    name: str

    @abstractmethod
    def read(self) -> bytes:
        """Its content, read when its turn has come, in a thread. Raises Unreadable."""


class Classifier:
    """A model that is open for use: its engine, and the card that says what goes in and what comes out."""

    def __init__(self, engine: Engine, *, model: Path) -> None:
        self.engine = engine
        self.model = model  # as the user named it: a run folder or a file

    @property
    def card(self) -> Card:
        return self.engine.card

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the network's outputs."""
        return self.card.classes

    def predict(self, images: Sequence[ImageLike], *, batch: int | None = None) -> list[Prediction]:
        """Classify images of any size: paths, encoded bytes, PIL images, or uint8 arrays (height, width, 3).

        `batch` images are computed at once, by default 32, or fewer where little memory is left: it changes speed and
        memory, not results. Raises UserError (Unreadable)
        for the first image that cannot be read, and for what is no image: above all for numbers that someone has
        normalised already.
        """
        if isinstance(images, str | Path | bytes | Image.Image):
            raise UserError("predict takes a list of images, not one alone", hint="predict([image])")
        named = ((image, f"images[{index}]") for index, image in enumerate(images))

        def ready(each: tuple[ImageLike, str]) -> Ready:
            return _opened(*each, self.card)

        size = batch_for(self.card, batch)
        opened = ahead(ready, named, depth=size)
        return [prediction for window in windows(opened, size) for prediction in _judged(self.engine, window)]

    def __repr__(self) -> str:
        return f"<Classifier {self.model}: {self.card.architecture}, {named(self.classes)}>"


def load(
    path: str | PathLike[str],
    *,
    engine: str = AUTO,
    device: str = "auto",
    precision: Precision | None = None,
    threads: int | None = None,
    model: Any = None,
) -> Classifier:
    """Open a run folder or a model's file as a classifier; see engines.choose.open_engine for what can be said of it.

    `model` is one's own network, as for `train`: what a file says of code is never run, only what is named here.
    """
    if model is not None:
        from pellucid.networks.own import remember

        remember(model)
    opened = open_engine(path, engine=engine, device=device, precision=precision, threads=threads)
    return Classifier(opened, model=Path(path))


def predict_stream(
    classifier: Classifier,
    inputs: Iterable[ImageLike | Elsewhere | Failure | Pause],
    *,
    batch: int | None = None,
    throughput: Throughput | None = None,
) -> Iterator[Prediction | Failure]:
    """Classify without end: one result for each input, in order, a Failure where an image cannot be read.

    `inputs` is read no further ahead than two batches, and a Failure in it keeps its place. At a PAUSE (uses.ahead)
    in it, all images before it are answered first, however few they are. `throughput` hears how fast it goes.
    """
    heard = throughput or Throughput()
    size = batch_for(classifier.card, batch)

    def opened(each: ImageLike | Elsewhere | Failure) -> Ready | Failure:
        if isinstance(each, Failure):
            return each
        try:
            if isinstance(each, Elsewhere):
                return replace(_opened(each.read(), each.name, classifier.card), name=each.name)
            return _opened(each, "the image", classifier.card)
        except Unreadable as cause:
            return Failure(name=name_of(each), error=cause.reason)

    def noticed() -> Iterator[Any]:
        for each in inputs:
            heard.paused |= each is PAUSE
            yield each

    def judged() -> Iterator[list[Prediction | Failure]]:
        cut: Iterator[list[Ready | Failure]] = windows(ahead(opened, noticed(), depth=size), size)
        for window in cut:
            ready = [each for each in window if isinstance(each, Ready)]
            predictions = _judged(classifier.engine, ready)
            answers = [next(predictions) if isinstance(each, Ready) else each for each in window]
            heard.note(len(ready), partial(shares, classifier.engine, [each.pixels for each in ready]))
            yield answers

    for answers in heard.timed(judged()):
        yield from answers


def shares(engine: Engine, pixels: Sequence[Pixels]) -> Shares:
    """Images cut as the model wants them to probabilities (N, classes); rows add up to 1. For the uses of a model."""
    card = engine.card
    if not pixels:
        return np.empty((0, len(card.classes)))
    logits = np.concatenate([engine.logits_of_pixels(batch) for batch in _alike(pixels)])
    given = probabilities(logits, temperature=card.temperature, one_logit=card.one_logit)
    if not np.isfinite(given).all():
        raise UserError("the model's outputs are not finite numbers", hint="its training went astray: train it again")
    return given


def _alike(pixels: Sequence[Pixels]) -> Iterator[Pixels]:
    """Images that follow each other and are of one extent, as one array: whole photographs are of many."""
    for _, same in groupby(pixels, key=lambda each: each.shape):
        yield np.stack(list(same))


def pixels_for(card: Card, image: Image.Image, *, name: str) -> Pixels:
    """An upright RGB image as the model's engine wants it: cut, or whole where its file cuts it by itself."""
    return np.asarray(image, dtype=np.uint8) if card.inside else crop(image, card.preprocessing, name=name)


def decide(given: Shares, card: Card) -> Indices:
    """The class index (N,) called for probabilities (N, classes): by the card's threshold, else the most probable."""
    best = given.argmax(axis=1) if card.threshold is None else given[:, 1] >= card.threshold
    return best.astype(np.intp)


def name_of(image: object) -> str | None:
    """What a prediction calls the image; None for one without a name, and for a Pause."""
    if isinstance(image, Failure | Elsewhere):
        return image.name
    return str(image) if isinstance(image, str | Path) else None


def _opened(image: ImageLike, place: str, card: Card) -> Ready:
    """Decode and cut one image; `place` says which one it is where it has no name."""
    if not isinstance(image, str | Path | bytes | Image.Image | np.ndarray):
        raise UserError(f"{place} is a {type(image).__name__}, not an image", hint=DOOR)
    if isinstance(image, np.ndarray) and image.dtype != np.uint8:
        raise UserError(f"{place} is an array of {image.dtype}, not an image", hint=DOOR)
    name = name_of(image)
    opened = open_image(
        path_of(image) if isinstance(image, str | Path) else image,
        background=card.preprocessing.background,
        name=name or place,
    )
    return Ready(name, pixels_for(card, opened, name=name or place))


def _judged(engine: Engine, ready: Sequence[Ready]) -> Iterator[Prediction]:
    card = engine.card
    given = shares(engine, [each.pixels for each in ready])
    order = np.argsort(-given, axis=1, kind="stable")
    for each, row, best, ranks in zip(ready, given.tolist(), decide(given, card), order.tolist(), strict=True):
        probability = row[best]
        yield Prediction.model_construct(  # to check the fields of 1,000 classes takes longer than to say them
            name=each.name,
            best=card.classes[best],
            probability=probability,
            sure=card.sure_from is not None and probability >= card.sure_from,
            ranking=tuple((card.classes[rank], row[rank]) for rank in ranks),
        )
