"""The proof: what a model says of a fixed synthetic image, which every load runs again, so that it proves itself.

Torch-free: what computes the logits comes in by argument.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pellucid.errors import UserError, listed
from pellucid.images.decode import open_image
from pellucid.images.preprocessing import Input, Pixels, Preprocessing, crop, normalise
from pellucid.measures.calibration import probabilities
from pellucid.names import is_own
from pellucid.runs.card import Card, Proof, refusal

IMAGE = "chirp-389x331-rgba-1"
PIXEL_TOLERANCE = 1e-4  # in units of the normalised input: a change of one grey level is about 0.017
# By the precision that is computed in, relative to the largest logit. float32 on another processor stays within 1e-5.
TOLERANCES = {"float32": 2e-4, "tensorfloat32": 5e-3, "float16": 5e-3, "bfloat16": 8e-2, "int8": 0.1}
INSIDE_TOLERANCE = 1e-3  # of a probability, where the file prepares the image itself
SAMPLES_A_SIDE = 8

Logits = Callable[[Pixels], npt.NDArray[np.floating[Any]]]  # uint8 (1, seen, seen, 3) -> (1, classes or 1)


def synthetic_image() -> Image.Image:
    """The image of the proof, in integer arithmetic only: the same bytes on every machine, for ever.

    Circles that grow finer outwards make every resize and interpolation show; differing channels make a swap of
    colours show; a transparent disc makes the background show; unequal sides make a squeezed resize show.
    """
    y, x = np.mgrid[0:331, 0:389].astype(np.int64)
    away = (x - 170) ** 2 + (y - 150) ** 2
    red = away // 23 % 256
    green = (x * 3 + y * 5 + (x // 7) * (y // 11)) % 256
    blue = 255 * ((x // 5 + y // 3) % 2) * (away % 97) // 97
    alpha = np.where((x - 230) ** 2 + (y - 200) ** 2 < 45**2, 64, 255)
    return Image.fromarray(np.stack([red, green, blue, alpha], axis=2).astype(np.uint8))


def proof_pixels(preprocessing: Preprocessing, *, whole: bool = False) -> Pixels:
    """The image of the proof as uint8 (1, seen, seen, 3), cut for the network, or the `whole` of it."""
    image = open_image(synthetic_image(), background=preprocessing.background, name="the image of the proof")
    return (np.array(image) if whole else crop(image, preprocessing))[None]


def take(
    logits: Logits,
    *,
    classes: Sequence[str],
    one_logit: bool,
    preprocessing: Preprocessing,
    temperature: float,
    whole: bool = False,
) -> Proof:
    """Run the image and record what came out. `whole`: what computes the logits prepares images by itself."""
    cut = proof_pixels(preprocessing)
    given = np.asarray(logits(proof_pixels(preprocessing, whole=True) if whole else cut), dtype=np.float64)
    shares = probabilities(given, temperature=temperature, one_logit=one_logit)[0]
    return Proof(
        image=IMAGE,
        pixels=_samples(normalise(cut[0], preprocessing)),
        logits=dict(zip(classes[1:] if one_logit else classes, given[0].tolist(), strict=True)),
        probabilities=dict(zip(classes, shares.tolist(), strict=True)),
    )


def replay(card: Card, logits: Logits, where: str, *, precision: str = "float32") -> None:
    """Run the image again and compare; a UserError names what no longer agrees. `where` names the model in it.

    `precision` is what the logits are computed in, by which the bound is chosen; the file's own counts where wider.
    """
    if card.proof.image != IMAGE:
        raise UserError(
            f"{where} was proved with the image {card.proof.image!r}, which this version does not have",
            hint="it was written by another version of pellucid: install that one, or a newer one",
        )
    if problems := differences(card, logits, precision=precision):
        if not is_own(card.architecture):
            raise refusal(where, problems)
        hint = "the file was changed, or what its code relies on computes something else by now: another library, say"
        raise UserError(f"{where} does not reproduce its own proof", listed(problems), hint=hint)


def not_proved(card: Card) -> list[str]:
    """What nothing proves: the fields of a file from before there were seals that its image cannot show."""
    return [] if card.proof.sealed else ["threshold", "sure_from"]


def differences(card: Card, logits: Logits, *, precision: str = "float32") -> list[str]:
    """What of the proof no longer agrees, in words; [] where all does."""
    now = take(
        logits,
        classes=card.classes,
        one_logit=card.one_logit,
        preprocessing=card.preprocessing,
        temperature=card.temperature,
        whole=card.inside,
    )
    tolerance = max(TOLERANCES[precision], TOLERANCES[card.precision])
    problems = []
    if not _gap(now.pixels, card.proof.pixels) <= PIXEL_TOLERANCE:
        problems.append("preprocessing: the image reaches the network with other pixels than when it was saved")
    if set(now.logits) != set(card.proof.logits) or set(now.probabilities) != set(card.proof.probabilities):
        return [*problems, "classes: the names are not those of the proof"]
    scale = max(1.0, *(abs(value) for value in card.proof.logits.values()))
    for name, value in card.proof.logits.items():
        # A file that gives probabilities has lost what softmax does not show, which is the same for all logits.
        if not card.inside and not abs(now.logits[name] - value) <= tolerance * scale:
            problems.append(f"logit of {name}: {now.logits[name]:.6g}, was {value:.6g}")
    bound = tolerance * scale / min(1.0, card.temperature)
    if card.inside:
        bound = max(INSIDE_TOLERANCE, tolerance)
    for name, value in card.proof.probabilities.items():
        if not abs(now.probabilities[name] - value) <= bound:
            problems.append(f"probability of {name}: {now.probabilities[name]:.6g}, was {value:.6g}")
    return problems


def _samples(pixels: Input) -> tuple[float, ...]:
    """Points of a regular grid in each channel, then each channel's mean: enough to notice any other preprocessing."""
    size = pixels.shape[-1]
    at = (2 * np.arange(SAMPLES_A_SIDE) + 1) * size // (2 * SAMPLES_A_SIDE)
    grid = pixels[:, at][:, :, at].astype(np.float64)
    return (*grid.ravel().tolist(), *pixels.astype(np.float64).mean(axis=(1, 2)).tolist(), float(size))


def _gap(ours: Sequence[float], theirs: Sequence[float]) -> float:
    if len(ours) != len(theirs):
        return float("inf")
    return float(np.max(np.abs(np.subtract(ours, theirs))))
