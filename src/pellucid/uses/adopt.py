"""`adopt`: published weights, or a file of them, as a model that carries and proves its preprocessing and classes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

from pellucid.errors import UserError, listed
from pellucid.images.preprocessing import Preprocessing, at_size, changed
from pellucid.networks.build import network
from pellucid.networks.loading import check_conventions, load_weights
from pellucid.networks.own import remember
from pellucid.networks.published import is_published, published_record, published_weights
from pellucid.records import read_text
from pellucid.runs import proof
from pellucid.runs.card import FORMAT, Card, card_in
from pellucid.runs.model_file import logits_of, save_model_file
from pellucid.runs.provenance import gather
from pellucid.runs.start import hash_of, start_from
from pellucid.weights.files import weights_file

UNSEEN = "\ufeff\u200b\u2060"  # a byte-order mark, and spaces of no width


def adopt(
    name: str,
    out: Path | str,
    *,
    weights: Path | str = "imagenet",
    layout: str = "auto",
    classes: Sequence[str] | Path | None = None,
    size: int | None = None,
    input: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write the network `name`, trained by others, as a model file to `out`, which every other verb takes.

    `weights` is a file, a run's folder, or "imagenet" for what torchvision or timm publish. `classes` names the logits,
    in order, or a file that does, a line each; without it the model's own card or the published weights' record names
    them. How images reach the network the record of the weights' source says, but for another `size` and what `input`
    says, by the names of a Preprocessing. Raises UserError where weights are missing, or nobody names the logits.
    """
    name = remember(name)  # whoever adopts a network of their own has named its code
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is no name for a model", hint="call it something.safetensors")
    said = {field: value for field, value in (input or {}).items() if value is not None}
    size = said.pop("size", None) if size is None else size
    known = None if classes is None else _names(classes)
    if weights == "imagenet":
        record = published_record(name)
        net = network(name, len(_known(known or record.classes, name)), size=size, **options)
        tensors, _ = published_weights(net)
        report = load_weights(net, tensors, layout=layout)
        notes = report.notes
        check_conventions(net, report)
        names, wanted = known or record.classes, at_size(record.preprocessing, net.size)
        origin: dict[str, Any] = {"weights": "imagenet"}
    else:
        file = Path(weights)
        names = known or _known(_classes_of(name, file), name)
        net = network(name, len(names), size=size, **options)
        start = start_from(net, file, layout=layout, said=said)
        report, wanted, notes = start.report, start.preprocessing, start.notes
        origin = {"weights": weights_file(file).name, "sha256": hash_of(file)}
    if report.left_random:
        raise UserError(f"{weights} leaves parts of {name} random", listed(report.left_random), hint="train it instead")
    origin |= {"layout": report.layout, "notes": list(notes)}
    save_model_file(path, net.eval(), _card(net, names, changed(wanted, said), origin))
    return path


def _classes_of(name: str, file: Path) -> tuple[str, ...]:
    """The names of the logits, where the file is a model of ours or somebody publishes weights; () otherwise."""
    card = card_in(weights_file(file))
    if card and card.one_logit:
        raise UserError(
            f"{file} is a model of ours with one logit, and adopt makes one for each class",
            hint=f"use it as it is: `pellucid verify {file}`",
        )
    if card:
        return card.classes
    return published_record(name).classes if is_published(name) else ()


def _known(names: tuple[str, ...], of: str) -> tuple[str, ...]:
    if not names:
        raise UserError(
            f"the names of the classes of {of} are not known", hint="--classes FILE gives them, one per line"
        )
    return names


def _card(net: Any, classes: tuple[str, ...], preprocessing: Preprocessing, origin: dict[str, Any]) -> Card:
    return Card(
        format=FORMAT,
        architecture=net.name,
        options=net.options,
        classes=classes,
        one_logit=False,
        preprocessing=preprocessing,
        temperature=1.0,
        threshold=0.5 if len(classes) == 2 else None,
        sure_from=None,
        provenance=gather(device="cpu", precision="float32") | {"adopted": origin},
        results=(),
        proof=proof.take(
            logits_of(net, preprocessing),
            classes=classes,
            one_logit=False,
            preprocessing=preprocessing,
            temperature=1.0,
        ),
    )


def _names(classes: Sequence[str] | Path) -> tuple[str, ...]:
    """The names of the logits, without the marks that editors leave around them.

    A blank line between two names may be a class whose name was lost: all after it would be another's.
    """
    lines = re.split("\r\n|\r|\n", read_text(classes)) if isinstance(classes, Path) else list(classes)
    found = [normalize("NFC", "".join(letter for letter in line if letter not in UNSEEN)).strip() for line in lines]
    while found and not found[-1]:
        found.pop()
    where = f"{classes}" if isinstance(classes, Path) else "the list of classes"
    if isinstance(classes, Path) and found and found[0].startswith(("{", "[")):
        raise UserError(
            f"{where} is JSON, and not one name per line", hint="write each class's name on a line of its own"
        )
    if "" in found:
        raise UserError(
            f"{where} has no name in line {found.index('') + 1}",
            ["all names after it would be those of other logits"],
            hint="write a name there, or remove the line",
        )
    if odd := [name for name in found if any(category(letter) == "Cc" for letter in name)]:
        raise UserError(f"{where} has a name with control characters: {odd[0]!r}", hint="remove them")
    twice = sorted({name for name in found if found.count(name) > 1}) if len(set(found)) < len(found) else []
    if twice:
        raise UserError("two logits have the same class name", listed(twice), hint="each needs a name of its own")
    if len(found) < 2:
        raise UserError("a classifier has at least two classes", hint="--classes FILE gives them, one per line")
    return tuple(found)
