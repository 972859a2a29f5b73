"""Records as a training and an evaluation make them, made up: what every test of reports is about."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console, RenderableType

from pellucid.images.manifest import Split
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pellucid.images.samples import Sample
from pellucid.measures.intervals import Measured, wilson
from pellucid.reports.html import render
from pellucid.runs.card import FORMAT, Card, Proof, Result
from pellucid.runs.evaluation import ClassResult, Evaluation, Judged
from pellucid.runs.events import Epoch, Event, Saved, Started, Stopped, Validated
from pellucid.uses.predict import Failure, Prediction

TIME = "2026-11-20T23:04:11+00:00"
NASTY = '<script>alert("1")</script> & [red]é$_$'
CONFIG = {"model": "small", "mode": "scratch", "weights": "none", "seed": 0, "learning": {"epochs": 3, "clip": 2.0}}
PROVENANCE = {"versions": {"pellucid": "0.1.0"}, "commit": None, "machine": {"cores": 2}, "asked": ["learning.clip"]}


def measured(value: float, n: int) -> Measured:
    return Measured(value=value, low=max(0, value - 0.05), high=min(1, value + 0.03), n=n)


def evaluation(
    confusion: list[list[int]], classes: tuple[str, ...] = ("ants", "bees"), data: str = "photos", **changes: Any
) -> Evaluation:
    """An evaluation with this confusion matrix, whose images are CLASS/NUMBER.png beneath `data`."""
    n, columns = sum(map(sum, confusion)), [sum(column) for column in zip(*confusion, strict=True)]
    numbers = {name: iter(range(1_000_000)) for name in classes}
    judged = [
        Judged(
            path=f"{truth}/{(number := next(numbers[truth]))}.png",
            truth=truth,
            best=best,
            probability=0.6 + 0.001 * number,
            of_truth=0.3,
            sha256=f"{truth}{number}",
        )
        for truth, row in zip(classes, confusion, strict=True)
        for best, images in zip(classes, row, strict=True)
        for _ in range(images)
    ]
    results = tuple(
        ClassResult(
            name=name,
            precision=wilson(confusion[i][i], columns[i]),
            recall=wilson(confusion[i][i], sum(confusion[i])),
            f1=measured(2 * confusion[i][i] / max(1, columns[i] + sum(confusion[i])), n),
            support=sum(confusion[i]),
        )
        for i, name in enumerate(classes)
    )
    values: dict[str, Any] = {
        "model": "runs/photos-small",
        "data": data,
        "part": "test",
        "fingerprint": "0" * 64,
        "n": n,
        "classes": classes,
        "threshold": 0.5 if len(classes) == 2 else None,
        "accuracy": wilson(sum(confusion[i][i] for i in range(len(classes))), n),
        "balanced_accuracy": measured(0.91, n),
        "log_loss": Measured(value=0.274, low=0.201, high=0.352, n=n),
        "roc_auc": measured(0.95, n) if len(classes) == 2 else None,
        "average_precision": measured(0.94, n) if len(classes) == 2 else None,
        "per_class": results,
        "confusion": tuple(map(tuple, confusion)),
        "predictions": tuple(judged),
        "left_out": (),
        "seconds": 3.2,
        "images_per_second": n / 3.2,
    }
    return Evaluation(**values | changes)


def split(
    train: int = 30,
    validation: int = 10,
    test: int = 10,
    classes: tuple[str, ...] = ("ants", "bees"),
    root: str = "photos",
) -> Split:
    """So many images of each class in each part."""
    files = [
        Sample(Path(root, name, f"{number}.png"), name, part, sha256=f"{name}{part}{number}")
        for name in classes
        for part, images in (("train", train), ("validation", validation), ("test", test))
        for number in range(images)
    ]
    rule = "train 0.6, validation 0.2, test rest; every class alike, files of the same content in one part"
    return Split(root=root, rule=rule, method="by-rank", seed=7, classes=classes, files=tuple(files))


def training(epochs: int = 3, run: str = "runs/photos-small", why: str | None = "finished") -> list[Event]:
    """Events of a run that gets better until its second last epoch; `why` None: it was killed."""
    events: list[Event] = [
        Started(
            time=TIME, run=run, epoch=0, epochs=epochs, train_images=60, validation_images=20, parameters=1_234_567,
            trained_parameters=1026, device="cpu", precision="float32", workers=1,
        )
    ]  # fmt: skip
    best = max(1, epochs - 1)
    for epoch in range(1, epochs + 1):
        right = 10 + 2 * min(epoch, best) - (epoch > best)
        events += [
            Epoch(
                time=TIME, epoch=epoch, loss=1 / epoch, accuracy=wilson(30 + 5 * min(epoch, 5), 60), rate=0.002 / epoch,
                images_per_second=412.4, seconds_waiting=1, seconds_computing=3,
            ),
            Validated(
                time=TIME, epoch=epoch, loss=1.1 / epoch, accuracy=wilson(min(right, 20), 20), measure="accuracy",
                value=right / 20, best=epoch <= best, seconds=0.5, seconds_left=4.0 * (epochs - epoch),
            ),
        ]  # fmt: skip
        if epoch <= best:
            events.append(Saved(time=TIME, epoch=epoch, file="model.safetensors", why="best"))
    if why:
        events.append(Stopped(time=TIME, epoch=epochs, why=why, best_epoch=best, seconds=149.2))  # type: ignore[arg-type]
    return events


def card(**changes: Any) -> Card:
    values: dict[str, Any] = {
        "format": FORMAT,
        "architecture": "small",
        "options": {"width": 0.5},
        "classes": ("ants", "bees"),
        "one_logit": False,
        "preprocessing": Preprocessing(
            resize=256,
            interpolation="bilinear",
            size=224,
            background=(255, 255, 255),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        ),
        "temperature": 1.43,
        "threshold": 0.5,
        "sure_from": 0.872,
        "provenance": {"epoch": 2},
        "results": (Result(part="validation", measure="accuracy", **wilson(18, 20).model_dump()),),
        "proof": Proof(image="waves-1", pixels=(0.5,), logits={"ants": 1.0}, probabilities={"ants": 1.0}),
    }
    return Card(**values | changes)


def write_images(root: Path, names: list[str], *, side: int = 8) -> Path:
    """A folder of images of noise, which compresses worse than any photograph."""
    random = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return root


def page(photos: Path, **changes: Any) -> str:
    values: dict[str, Any] = {
        "config": CONFIG,
        "provenance": PROVENANCE,
        "split": split(root=str(photos)),
        "events": training(),
        "card": card(),
        "evaluation": evaluation([[9, 1], [2, 8]], data=str(photos)),
    }
    return render("photos-small", **values | changes)


def printed(thing: RenderableType, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), no_color=True)
    console.print(thing)
    return _unpadded(console)


def _unpadded(console: Console) -> str:
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


PREDICTIONS: list[Prediction | Failure] = [
    Prediction(name="a.jpg", best="bees", probability=0.9832, sure=True, ranking=(("bees", 0.9832), ("ants", 0.0168))),
    Prediction(name='b, "c".jpg', best="ants", probability=0.55, sure=False, ranking=(("ants", 0.55), ("bees", 0.45))),
    Failure(name="cut.jpg", error="it is cut short"),
]
