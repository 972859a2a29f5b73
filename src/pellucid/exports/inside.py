"""A graph with its preprocessing inside: images of any height and width in, probabilities out.

Whoever has the file needs a decoder and nothing else. What it makes of an image is what our own preprocessing makes,
within one level of 255 per pixel: see resizing.py.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from pellucid.exports.expressions import Value, Writing, joined
from pellucid.exports.resizing import cropped
from pellucid.images.preprocessing import Preprocessing, crop_starts
from pellucid.runs.card import Card

IMAGE, PROBABILITIES = "image", "probabilities"
PIXELS, LOGITS = "pixels", "logits"  # of the core
PREFIX = "inside/"  # of the names of everything that is added
IR_VERSION = 10  # the newest that ONNX Runtime 1.20 reads
GUARD = 64  # pixels per side of the images of one colour
INPUT = "uint8 RGB, red first, 0 to 255, rows from the top, upright (turned as EXIF says), of any height and width."
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def of_image(core: onnx.ModelProto, card: Card) -> onnx.ModelProto:
    """`core` between what an image becomes and what its logits mean: a checked graph that carries its own description.

    `core` takes `pixels` uint8 (N, size, size, 3), red first, and gives `logits` float32 (N, outputs). What is made
    takes `image` uint8 (N, height, width, 3) and gives `probabilities` float32 (N, classes), in the card's order.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(core)
    whole.ir_version = min(whole.ir_version, IR_VERSION)
    graph = whole.graph
    front, back = Writing(f"{PREFIX}front/"), Writing(f"{PREFIX}back/")
    _crops(cropped(Value(front, IMAGE, np.dtype(np.uint8)), card.preprocessing), card.preprocessing)
    _answers(Value(back, LOGITS, np.dtype(np.float32)), card)
    kept = list(graph.node)
    # What the core says of the shapes within it calls its batch, now that of the crops, as ours is called.
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend([*front.nodes, *kept, *back.nodes])
    graph.initializer.extend([*front.constants.values(), *back.constants.values()])
    graph.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["batch", "height", "width", 3]))
    graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", len(card.classes)]))
    whole.doc_string = told(card, guard(whole))
    graph.input[0].doc_string = f"{INPUT} {whole.doc_string}"
    graph.output[0].doc_string = f"probabilities of {', '.join(card.classes)}, in this order; each row adds up to 1"
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _crops(region: Value, preprocessing: Preprocessing) -> None:
    """The crops that the core looks at, as its `pixels`: all of the first image, all of the second and so on."""
    side, starts = preprocessing.size, np.array(crop_starts(preprocessing))
    # Gathered, for OpenVINO 2026.4 joins overlapping slices of uint8 to other pixels.
    chosen = starts[:, None] + np.arange(side)
    squares = region.pick(chosen, 1).pick(chosen, 3).turned(0, 1, 3, 2, 4, 5) if len(starts) > 1 else region
    squares.shaped(-1, side, side, 3, name=PIXELS)


def _answers(logits: Value, card: Card) -> None:
    """Logits of crops to probabilities of images, as calibration.probabilities has it."""
    crops = len(crop_starts(card.preprocessing)) ** 2
    outputs = 1 if card.one_logit else len(card.classes)
    scaled = logits.shaped(-1, crops, outputs).sum(1).shaped(-1, outputs) / (crops * card.temperature)
    made = joined([(-scaled).sigmoid(), scaled.sigmoid()], 1) if card.one_logit else scaled.softmax()
    made.to(np.float32, name=PROBABILITIES)


def guard(whole: onnx.ModelProto) -> dict[str, list[float]]:
    """What the graph answers of images of one colour, by the colour."""
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    images = {colour: np.full((1, GUARD, GUARD, 3), levels, np.uint8) for colour, levels in COLOURS.items()}
    return {colour: session.run(None, {IMAGE: image})[0][0].tolist() for colour, image in images.items()}


def told(card: Card, answers: dict[str, list[float]]) -> str:
    """How to notice that images are given otherwise than they are wanted."""
    colours = "\n".join(f"all {colour}: {_likeliest(card.classes, shares)}" for colour, shares in answers.items())
    return (
        "Levels of 0 to 1, or floats of any kind, are refused by the type, which is uint8; transparent pixels are laid "
        f"over {card.preprocessing.background} before. To notice red and blue exchanged, ask for images of "
        f"{GUARD} x {GUARD} pixels of one colour:\n{colours}"
    )


def _likeliest(classes: tuple[str, ...], shares: list[float]) -> str:
    """The five largest probabilities by class."""
    best = np.argsort(-np.asarray(shares), kind="stable")[:5]
    return "; ".join(f"{classes[number]} {shares[number]:.4f}" for number in best)
