"""Real model files of small networks, whose weights are random: what exporting, engines and serving are tried on."""

from pathlib import Path
from typing import Any

from pellucid.images.preprocessing import Preprocessing

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def saved(path: Path, *, net: str = "small", classes: int = 3, seed: int = 0, **changes: Any) -> Path:
    """A model file of `net`, written to `path`; `changes` are fields of its preprocessing or of its card."""
    import torch

    from pellucid.networks.build import network
    from pellucid.runs.model_file import logits_of, save_model_file
    from pellucid.runs.proof import take
    from tests.brightness import card

    torch.manual_seed(seed)
    wanted = {name: changes.pop(name) for name in list(changes) if name in Preprocessing.model_fields}
    fields = {
        "resize": 40,
        "interpolation": "bilinear",
        "size": 32,
        "background": (9, 99, 199),
        "mean": MEAN,
        "std": STD,
    }
    preprocessing = Preprocessing(**fields | wanted)
    one_logit = changes.pop("one_logit", False)
    names = ("no", "yes") if one_logit else tuple(f"class {number}" for number in range(classes))
    made = network(net, 1 if one_logit else classes, size=preprocessing.size).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # or the logits of an untrained network are nearly the same
            parameter.mul_(1.5)
    card_of = card(
        architecture=made.name,
        options=made.options,
        preprocessing=preprocessing,
        classes=names,
        one_logit=one_logit,
        **changes,
    )
    taken = take(
        logits_of(made, preprocessing),
        classes=names,
        one_logit=one_logit,
        preprocessing=preprocessing,
        temperature=card_of.temperature,
    )
    save_model_file(path, made, card_of.model_copy(update={"proof": taken}))
    return path


def photographs(folder: Path, number: int = 6) -> Path:
    """Images of several extents and forms: smooth ones with noise, as PNG and JPEG."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        random = np.random.default_rng(index)
        coarse = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((60 + 17 * index, 90 - 7 * index), Image.Resampling.BICUBIC)
        image.save(folder / f"{index}.{'png' if index % 2 else 'jpg'}")
    return folder
