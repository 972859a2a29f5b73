"""An ONNX file that says what it is: the card in its metadata, and in words what goes in and what comes out."""

from importlib.metadata import version

import onnx

from pellucid.runs.card import Card, sealed
from pellucid.runs.containers import CARD

IR_VERSION = 10  # the newest that ONNX Runtime 1.20 reads
COLOURS = "red first (RGB, not BGR), 0 to 255"


def described(graph: onnx.ModelProto, card: Card) -> bytes:
    """The file's bytes: the graph with the card, sealed, and a description for whoever has no Pellucid."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name, model.producer_version = "pellucid", version("pellucid")
    model.doc_string = "\n".join([*_input(card), *_output(card), *([model.doc_string] if model.doc_string else [])])
    del model.metadata_props[:]
    for key, value in _metadata(card).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model.SerializeToString()


def _metadata(card: Card) -> dict[str, str]:
    """Classes once more by themselves, where readers of other tools look for them, a line each."""
    return {CARD: sealed(card).model_dump_json(), "classes": "\n".join(card.classes)}


def _input(card: Card) -> list[str]:
    """What goes in, in words."""
    wanted = card.preprocessing
    if card.inside:
        return [
            f"{card.architecture}, with its preprocessing: images in, probabilities out.",
            f"image: uint8 (N, height, width, 3), {COLOURS}, of any extent, rows from the top, turned upright. Give it "
            "what a decoder gives: nothing resized, cropped or normalised.",
        ]
    size = f"{wanted.size} x {wanted.size}"
    return [
        f"{card.architecture}: prepared pixels in, logits out. pellucid.load() prepares them as it was trained.",
        f"pixels: uint8 (N, {wanted.size}, {wanted.size}, 3), {COLOURS}: resized with antialias to "
        f"{wanted.resize or 'nothing (native)'} ({wanted.interpolation}), {size} cut from the centre. Not normalised: "
        "the graph does that.",
    ]


def _output(card: Card) -> list[str]:
    """What comes out, in words."""
    names = ", ".join(card.classes[:20]) + (", ..." if len(card.classes) > 20 else "")
    threshold = "" if card.threshold is None else f" {card.classes[1]} is called from {card.threshold:g} on."
    if card.inside:
        return [f"probabilities: float32 (N, {len(card.classes)}), of {names}.{threshold}"]
    if card.one_logit:
        logit = f"logits: float32 (N, 1); sigmoid(logit / {card.temperature:g}) is the probability of {card.classes[1]}"
        return [f"{logit}, else {card.classes[0]}.{threshold}"]
    logits = f"logits: float32 (N, {len(card.classes)}), of {names}; softmax(logits / {card.temperature:g})"
    return [f"{logits} are probabilities.{threshold}"]
