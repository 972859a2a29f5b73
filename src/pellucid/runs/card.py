"""The card that a model carries: what its outputs mean, how images reach it, and the proof of both.

Torch-free: model_file.py puts a card into a file, with the weights.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import numpy as np
from pydantic import AliasChoices, ConfigDict, Field
from safetensors import SafetensorError

from pellucid.errors import UserError, listed
from pellucid.images.preprocessing import Preprocessing
from pellucid.records import Record
from pellucid.runs.containers import MODELS, SUFFIXES, card_text, container_of
from pellucid.weights.kinds import recognise

FORMAT = 1
Precision = Literal["float32", "float16", "int8"]


class Result(Record):
    """One measured result: accuracy on validation, say. Bounds are 95 % intervals, `n` counts images."""

    part: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int


class Proof(Record):
    """What the network gave for the fixed synthetic image when it was saved.

    `pixels` are samples of its preprocessed form; `logits` and `probabilities` are by class name, so that a
    changed order of the classes shows. One logit: only the positive class has a logit. `sealed` is a hash of each
    field of the card that changes an answer, by name: what the image cannot show (a threshold) is proved by it. It is
    empty in a file of before there were any.
    """

    # A network whose training went astray gives what is no number: `unreal` says so, and nothing is written.
    model_config = ConfigDict(allow_inf_nan=True)

    image: str  # which synthetic image: a name that fixes its pixels for ever
    pixels: tuple[float, ...]
    logits: dict[str, float]
    probabilities: dict[str, float]
    sealed: dict[str, str] = Field(default_factory=dict)


class Member(Record):
    """A model within an ensemble: the fields of its own card that decide what it says, and which file it was."""

    name: str  # of its run, or its file
    sha256: str  # of the file
    architecture: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    one_logit: bool
    temperature: float


class Card(Record):
    """Everything a prediction needs besides the weights. A card is complete or it is none.

    `classes` are in logit order; with `one_logit` they are (negative, positive). `temperature` divides logits before
    the softmax or sigmoid. `threshold`: with two classes, the probability of the second from which it is called;
    None where the largest wins. `sure_from`: the probability from which validation was right at least 95 % of the
    time; None if it never was. `members`: of an ensemble, whose logits are of the mean of their probabilities.
    Of exported files: `precision` is that of the weights, and `inside` says that the file holds its preprocessing and
    gives probabilities: it takes whole images.
    """

    format: int
    architecture: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    one_logit: bool
    preprocessing: Preprocessing
    temperature: float
    threshold: float | None
    sure_from: float | None
    provenance: dict[str, Any]
    results: tuple[Result, ...]
    proof: Proof = Field(validation_alias=AliasChoices("proof", "probe"))  # as it was called at first
    members: tuple[Member, ...] = ()  # only an ensemble has some
    precision: Precision = "float32"
    inside: bool = False


CHANGED = "the file was changed after it was saved: use an unchanged copy, or train again"
TOLD = ("format", "provenance", "results", "proof")  # fields of a card that change no answer


ALONE = "weights alone do not say of which network they are, or what they were taught"


def seals(card: Card) -> dict[str, str]:
    """A hash of each field that changes an answer, by the field's name.

    Values that are as they are by default do not count, so that a field which is added later breaks no seal.
    """
    values = card.model_dump(mode="json", exclude=set(TOLD), exclude_defaults=True)
    plain = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    return {name: hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest() for name, text in plain.items()}


def sealed(card: Card) -> Card:
    """`card` with its seals: to be made last, when it is saved."""
    return card.model_copy(update={"proof": card.proof.model_copy(update={"sealed": seals(card)})})


def broken_seals(card: Card) -> list[str]:
    """Fields of the card that are not as they were when it was saved, in words; [] where all are, or none is sealed."""
    now = seals(card)
    then = card.proof.sealed
    changed = [name for name in sorted({*now, *then}) if then and then.get(name) != now.get(name)]
    return [f"{name}: it was changed after the model was saved" for name in changed]


def refusal(where: str, problems: Sequence[str]) -> UserError:
    """The user's error for a model that is not what it was when it was saved."""
    return UserError(f"{where} does not reproduce its own proof", listed(problems), hint=CHANGED)


def read_card(path: Path) -> Card:
    """The card in the file, of whatever kind that is, its seals compared; without the network or its proof."""
    container = container_of(path)
    try:
        text = card_text(path, container)
    except (SafetensorError, OSError, ValueError) as cause:
        if container == "safetensors" and (words := _weights_of_others(path)):
            raise UserError(f"{path} is {words}, and no model: {ALONE}", hint=_made_of(path)) from cause
        kind = SUFFIXES[container]
        if container == "safetensors" and path.suffix != kind:
            raise UserError(f"{path} is not a model", hint=f"a model is {MODELS}") from cause
        article = "an" if container == "onnx" else "a"
        raise UserError(
            f"{path} is not {article} {kind} file, or it is damaged", [str(cause)], hint="use an unchanged copy"
        ) from cause
    if text is None and container == "safetensors":
        raise UserError(f"{path} has no card, and is no model: {ALONE}", hint=_made_of(path))
    if text is None:
        raise UserError(
            f"{path} has no card: nothing says what goes in, or what comes out",
            hint=f"`pellucid export RUN --out model{SUFFIXES[container]}` writes one that has",
        )
    return _card(text, path)


def _made_of(path: Path) -> str:
    file = quote(str(path))
    return (
        f"`pellucid structure NET` shows the network; `pellucid adopt NET --weights {file} --out model.safetensors`, "
        f"or `pellucid train DATA --model NET --weights {file}`, makes a model of them"
    )


def _weights_of_others(path: Path) -> str:
    """What a person calls the file, where it is one of weights, though not of ours; "" for any other."""
    try:
        found = recognise(path)
    except UserError:
        return ""
    return "" if found.kind == "safetensors" else found.words


def card_in(path: Path) -> Card | None:
    """The card in a file of weights; None where it has none, or is of another format."""
    try:
        text = card_text(path, "safetensors")
    except (SafetensorError, OSError):
        return None
    return None if text is None else _card(text, path)


def _card(text: str, path: Path) -> Card:
    if _says_nothing(text):
        raise UserError(
            f"{path} was saved by a network whose weights give no numbers (NaN): the training that made it had failed",
            hint="take an earlier model, or train again with a lower --rate",
        )
    card = Card.from_json(text, f"the card in {path}")
    if card.format != FORMAT:
        raise UserError(
            f"{path} is written in format {card.format}; this version of pellucid reads format {FORMAT}",
            hint="install the version of pellucid that wrote it: its card names it under provenance",
        )
    if problems := broken_seals(card):
        raise refusal(str(path), problems)
    return card


def unreal(proof: Proof) -> list[str]:
    """What of the proof is no finite number, in words."""
    said = {f"logit of {name}": value for name, value in proof.logits.items()}
    said |= {f"probability of {name}": value for name, value in proof.probabilities.items()}
    said |= {f"pixel sample {number}": value for number, value in enumerate(proof.pixels)}
    return [f"{name}: {value}" for name, value in said.items() if not np.isfinite(value)]


def _says_nothing(text: str) -> bool:
    """Whether the card's proof lacks numbers: JSON has none for NaN, and an earlier version wrote null."""
    try:
        card = json.loads(text)
        said = card.get("proof") or card["probe"]
        return None in [*said["logits"].values(), *said["probabilities"].values()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
