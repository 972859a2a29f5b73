"""The verb that makes models of weights that others trained: apart, since its flags are records."""

from pathlib import Path
from typing import Any, Literal

from pellucid.cli.flags import gathered, shown_as
from pellucid.cli.shared import Made
from pellucid.training.config import Input


def _adopt(
    net: str,
    /,
    *,
    out: Made,
    weights: str = "imagenet",
    layout: Literal["auto", "pellucid", "torchvision", "timm", "tf-slim", "keras", "paddle"] = "auto",
    classes: Path | None = None,
    size: int | None = None,
    conventions: Literal["torch", "tensorflow"] | None = None,
    input: Input | None = None,
) -> None:
    """Make a model of weights that others trained: published ones, or a file.

    It carries their classes and preprocessing, and a proof that every load replays, like one that was trained here.

    Parameters
    ----------
    net
        A network of `pellucid models`, or timm/NAME.
    weights
        imagenet, for what torchvision or timm publish, or a file, or a run's folder.
    layout
        Whose names the tensors in the file have.
    classes
        A file with the name of each logit, a line each; default: as the published weights' record says.
    size
        Pixels per side; default: as the record says.
    conventions
        torch or tensorflow, as the weights were trained; default: tensorflow where the layout is tf-slim or keras.
    input
        How images reach the network, where the record of the weights' source says otherwise, or there is none.
    """
    from pellucid.cli.show import aside, say
    from pellucid.runs.card import read_card
    from pellucid.uses.adopt import adopt as make

    chosen = conventions or ("tensorflow" if layout in ("tf-slim", "keras") else "torch")
    options = {} if net.startswith("timm/") or chosen == "torch" else {"conventions": chosen}
    said = input.model_dump() if input else None
    path = make(net, out, weights=weights, layout=layout, classes=classes, size=size, input=said, **options)
    for note in read_card(path).provenance["adopted"]["notes"]:
        aside().print(f"! {note}")
    say(f"model   {path}")
    say(f"`pellucid verify {path}` shows its card")


def adopt(*arguments: Any, **settings: Any) -> None:
    _adopt(*arguments, **gathered(settings, records=RECORDS))


RECORDS = {"input": Input}
shown_as(adopt, _adopt, records=RECORDS)
