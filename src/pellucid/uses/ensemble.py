"""Several models as one file: the mean of their calibrated probabilities, and what each of them adds to it.

What they are worth together is measured on images that none of them learned from: those that lie in the test part of
every run, or in another part that is not train where they share no test images.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pellucid.engines.engine import Engine
from pellucid.errors import UserError, counted, listed, named
from pellucid.images.decode import content_of, open_image
from pellucid.images.manifest import content_hash, sha256_of
from pellucid.images.preprocessing import Pixels, Preprocessing, crop
from pellucid.images.samples import Sample
from pellucid.measures.comparison import difference, mcnemar
from pellucid.measures.confusion import accuracy, confusion
from pellucid.measures.intervals import Measured
from pellucid.measures.likelihood import log_loss
from pellucid.networks.own import remember
from pellucid.records import Record
from pellucid.runs import proof
from pellucid.runs.card import FORMAT, Card, Member, Result
from pellucid.runs.locating import locate
from pellucid.runs.provenance import gather
from pellucid.runs.run_folder import RunFolder
from pellucid.uses.predict import Shares, decide, shares

if TYPE_CHECKING:
    from pellucid.runs.model_file import ModelFile

BATCH = 32


class Added(Record):
    """One member: alone, and what the ensemble is with it instead of without it, on the same images.

    `gained` images only the ensemble with it has right, `lost` only that without it; `chance`: how likely a difference
    of this size is where there is none (McNemar's exact test). `saved`: how much lower the log loss is with it.
    """

    name: str
    accuracy: Measured
    log_loss: Measured
    gained: int
    lost: int
    chance: float
    saved: Measured


class Ensembled(Record):
    """What an ensemble is worth. `part`: where its images lay, "" where nothing could be measured, and `why`."""

    out: str
    names: tuple[str, ...]
    parameters: int
    part: str = ""
    why: str = ""
    accuracy: Measured | None = None
    log_loss: Measured | None = None
    members: tuple[Added, ...] = ()


def ensemble(
    models: Sequence[str | PathLike[str]],
    out: Path | str,
    *,
    model: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ensembled:
    """Write `models` (run folders or model files) as one model to `out`, and measure what each of them adds.

    Every verb takes the file as it takes any other model. It computes all of its members: it is as slow, and as large,
    as they are together. `model` is one's own network, as for `train`, where members are of one. Raises UserError where
    they know other classes, or prepare images differently.
    """
    from pellucid.runs.model_file import joined, load_model_file, save_model_file

    remember(model)
    models = [models] if isinstance(models, str | PathLike) else models
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is no name for a model", hint="call it something.safetensors")
    files = [locate(model) for model in models]
    loaded = [load_model_file(file) for file in files]
    members = [_member(model, file) for model, file in zip(models, loaded, strict=True)]
    _check(models, loaded, members)
    card = loaded[0].card.model_copy(update={"threshold": 0.5 if len(loaded[0].card.classes) == 2 else None})
    net = joined(card.classes, members, [file.network for file in loaded]).eval()
    images, part, why = _unseen([RunFolder(file.parent) for file in files])
    names = tuple(member.name for member in members)
    told = Ensembled(out=str(path), names=names, parameters=sum(each.numel() for each in net.parameters()), why=why)
    if images:
        each = _said(loaded, card.classes, images, progress)
        told = _measured(told, each, np.array([card.classes.index(image.label) for image in images]), card, part)
    save_model_file(path, net, _card(net, card, members, told))
    return told


def _member(model: str | PathLike[str], model_file: "ModelFile") -> Member:
    card = model_file.card
    if card.members:
        raise UserError(f"{model} is an ensemble itself", hint="name its members, or models of other runs")
    run = card.provenance.get("run")
    return Member(
        name=str(run) if run else model_file.path.name,
        sha256=content_hash(model_file.path),
        architecture=card.architecture,
        options=card.options,
        classes=card.classes,
        one_logit=card.one_logit,
        temperature=card.temperature,
    )


def _check(models: Sequence[str | PathLike[str]], loaded: Sequence["ModelFile"], members: Sequence[Member]) -> None:
    if len(loaded) < 2:
        raise UserError("an ensemble has two members or more", hint="name the runs or models that belong to it")
    first = loaded[0].card
    for place, (model, model_file) in enumerate(zip(models, loaded, strict=True)):
        if members[place].sha256 in {member.sha256 for member in members[:place]}:
            raise UserError(f"{model} is there twice", hint="a model that is counted twice adds nothing")
        card = model_file.card
        if set(card.classes) != set(first.classes):
            raise UserError(
                f"{models[0]} and {model} have different classes",
                [f"{models[0]}: {named(first.classes)}", f"{model}: {named(card.classes)}"],
            )
        here, there = (each.preprocessing.model_dump() for each in (first, card))
        if other := [name for name in here if here[name] != there[name]]:
            raise UserError(
                f"{models[0]} and {model} prepare images differently",
                listed([f"{name}: {here[name]} and {there[name]}" for name in other]),
                hint="train them with the same --size, --input.resize and other settings of images",
            )


def _unseen(runs: Sequence[RunFolder]) -> tuple[list[Sample], str, str]:
    """The images that no run learned from, the part they lie in, and where there is none, why."""
    if not all(run.is_there() for run in runs):
        return [], "", "not measured: of a model that is no run's, nobody knows what it learned from"
    splits = [run.split() for run in runs]
    for wanted, part in (({"test"}, "test"), ({"validation", "test"}, "validation")):
        files = {file.sha256: file for file in splits[0].files if file.part in wanted}
        for split in splits[1:]:
            there = {file.sha256 for file in split.files if file.part in wanted}
            files = {content: file for content, file in files.items() if content in there}
        trained = {file.sha256 for split in splits for file in split.files if file.part == "train"}
        found = [file for content, file in files.items() if content not in trained]
        if found:
            return found, part, ""
    return [], "", "not measured: there is no image that none of the members learned from"


def _said(
    loaded: Sequence["ModelFile"],
    classes: Sequence[str],
    images: Sequence[Sample],
    progress: Callable[[int, int], None] | None,
) -> list[Shares]:
    """Each member's probabilities (N, classes), in the order of `classes`; each image is read once for all of them."""
    from pellucid.engines.torch_engine import TorchRuntime

    engines = [Engine(file.card, TorchRuntime(file), file.path) for file in loaded]
    wanted = loaded[0].card.preprocessing  # which is everybody's
    given: list[list[Shares]] = [[] for _ in engines]
    for start in range(0, len(images), BATCH):
        pixels = [_pixels(image, wanted) for image in images[start : start + BATCH]]
        for said, engine in zip(given, engines, strict=True):
            said.append(shares(engine, pixels))
        if progress:
            progress(start + len(pixels), len(images))
    orders = [[engine.card.classes.index(name) for name in classes] for engine in engines]
    return [np.concatenate(said)[:, order] for said, order in zip(given, orders, strict=True)]


def _pixels(image: Sample, wanted: Preprocessing) -> Pixels:
    name = str(image.path)
    content = content_of(image.path, name) if image.path.is_file() else b""
    if sha256_of(content) != image.sha256:
        raise UserError(
            f"{image.path} is gone, or not what it was when the runs were made", hint="put it back as it was"
        )
    return crop(open_image(content, background=wanted.background, name=name), wanted, name=name)


def _measured(
    told: Ensembled, each: Sequence[Shares], truth: npt.NDArray[np.int64], card: Card, part: str
) -> Ensembled:
    def right(given: Shares) -> npt.NDArray[np.bool_]:
        said: npt.NDArray[np.bool_] = decide(given, card) == truth
        return said

    def of_truth(given: Shares) -> Shares:
        return given[np.arange(len(truth)), truth]

    def measured(given: Shares) -> tuple[Measured, Measured]:
        table = confusion(truth, decide(given, card), classes=len(card.classes))
        return accuracy(table), log_loss(of_truth(given))

    everyone = np.mean(each, axis=0)
    added = []
    for place, (name, alone) in enumerate(zip(told.names, each, strict=True)):
        without = np.mean([given for number, given in enumerate(each) if number != place], axis=0)
        now, before = right(everyone), right(without)
        gained, lost = int((now & ~before).sum()), int((before & ~now).sum())
        its_accuracy, its_loss = measured(alone)
        added.append(
            Added(
                name=name,
                accuracy=its_accuracy,
                log_loss=its_loss,
                gained=gained,
                lost=lost,
                chance=mcnemar(gained, lost),
                saved=difference(of_truth(everyone), of_truth(without)),
            )
        )
    together, loss = measured(everyone)
    return told.model_copy(update={"part": part, "accuracy": together, "log_loss": loss, "members": tuple(added)})


def _card(net: Any, first: Card, members: Sequence[Member], told: Ensembled) -> Card:
    from pellucid.runs.model_file import logits_of

    figures = {"accuracy": told.accuracy, "log loss": told.log_loss}
    results = tuple(
        Result(part=told.part, measure=name, **figure.model_dump()) for name, figure in figures.items() if figure
    )
    return Card(
        format=FORMAT,
        architecture=f"ensemble of {counted(len(members), 'model')}",
        options={},
        classes=first.classes,
        one_logit=False,
        preprocessing=first.preprocessing,
        temperature=1.0,
        threshold=first.threshold,
        sure_from=None,
        provenance=gather(device="cpu", precision="float32")
        | {"adds": [added.model_dump() for added in told.members], "measured": told.why or told.part},
        results=results,
        members=tuple(members),
        proof=proof.take(
            logits_of(net, first.preprocessing),
            classes=first.classes,
            one_logit=False,
            preprocessing=first.preprocessing,
            temperature=1.0,
        ),
    )
