"""`adopt`: published weights, or a file of them, as a model that carries and proves its preprocessing and classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pellucid.errors import UserError, listed
from pellucid.images.preprocessing import Preprocessing
from pellucid.images.split import content_hash
from pellucid.networks.build import network
from pellucid.networks.published import default_preprocessing, is_published, published_record, published_weights
from pellucid.networks.weights import check_conventions, load_weights
from pellucid.records import read_text
from pellucid.runs import probe
from pellucid.runs.bundle import logits_of, save_bundle
from pellucid.runs.card import FORMAT, Card
from pellucid.runs.provenance import gather


def adopt(
    name: str,
    out: Path | str,
    *,
    weights: Path | str = "imagenet",
    layout: str = "auto",
    classes: Sequence[str] | Path | None = None,
    size: int | None = None,
    **options: Any,
) -> Path:
    """Write the network `name`, trained by others, as a bundle to `out`, which every other verb takes.

    `weights` is a file, or "imagenet" for what torchvision or timm publish. `classes` names the logits, in order, or a
    file that does, a line each; without it the published weights' record names them. The record says the preprocessing
    too, but for another `size`. Raises UserError where weights are missing or nobody names the logits.
    """
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is no name for a model", hint="call it something.safetensors")
    known = None if classes is None else _names(classes)
    record = published_record(name) if weights == "imagenet" or is_published(name) else None
    names = known or (record.classes if record else ())
    if not names:
        raise UserError(f"nobody says what the logits of {name} mean", hint="--classes FILE names them, a line each")
    net = network(name, len(names), size=size, **options)
    origin: dict[str, Any] = {"weights": str(weights)}
    if weights == "imagenet":
        tensors, _ = published_weights(net)
        report = load_weights(net, tensors, layout=layout)
    else:
        report = load_weights(net, Path(weights), layout=layout)
        origin |= {"weights": Path(weights).name, "sha256": content_hash(Path(weights))}
    check_conventions(net, report)
    if report.left_random:
        raise UserError(f"{weights} leaves parts of {name} random", listed(report.left_random), hint="train it instead")
    wanted = record.preprocessing if record and size is None else default_preprocessing(name, size=net.size)
    save_bundle(path, net.eval(), _card(net, names, wanted, origin | {"layout": report.layout}))
    return path


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
        probe=probe.take(
            logits_of(net, preprocessing),
            classes=classes,
            one_logit=False,
            preprocessing=preprocessing,
            temperature=1.0,
        ),
    )


def _names(classes: Sequence[str] | Path) -> tuple[str, ...]:
    names = read_text(classes).splitlines() if isinstance(classes, Path) else classes
    found = tuple(name.strip() for name in names if name.strip())
    twice = sorted({name for name in found if found.count(name) > 1}) if len(set(found)) < len(found) else []
    if twice:
        raise UserError("two logits have the same class name", listed(twice), hint="each needs a name of its own")
    if len(found) < 2:
        raise UserError("a classifier has at least two classes", hint="--classes FILE names them, a line each")
    return found
