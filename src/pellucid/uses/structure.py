"""`structure` of anything: tables are counted without torch, everything else is run once and watched."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.architectures import geometry
from pellucid.architectures.catalog import ARCHITECTURES, architecture
from pellucid.architectures.geometry import Structure

CLASSES = 1000  # ImageNet's, where nothing else is said

if TYPE_CHECKING:
    from torch import nn

    from pellucid.images.preprocessing import Preprocessing
    from pellucid.networks.build import Network
    from pellucid.networks.flow import Flow
    from pellucid.networks.timing import Times


def structure(
    net: "str | Path | nn.Module",
    *,
    size: int | None = None,
    batch: int = 1,
    classes: int | None = None,
    width: float = 1.0,
    auxiliary: bool = False,
    conventions: str = "torch",
    last: str | None = None,
    until: str | None = None,
) -> Structure:
    """Count a network for `batch` images of `size` pixels a side, layer by layer; `until` is the last end point shown.

    `net` is a name of `architectures()`, which needs no torch, or timm/NAME, a run folder, a bundle, or any module that
    takes images (N, 3, size, size). The defaults: the design size (224 for a module), 1000 classes or the bundle's.
    Raises UserError for unknown names, nonsense numbers, and a size that is too small (and says which works).
    """
    if isinstance(net, str) and net in ARCHITECTURES:
        return geometry.structure(
            net,
            size=size,
            batch=batch,
            classes=CLASSES if classes is None else classes,
            width=width,
            auxiliary=auxiliary,
            conventions=conventions,
            last=last,
            until=until,
        )
    if isinstance(net, str | Path) and Path(net).exists():
        return _of_bundle(Path(net), size=size, batch=batch, until=until)
    if isinstance(net, Path) or (isinstance(net, str) and not net.startswith("timm/")):
        architecture(str(net))  # refuses, with the nearest name
    from pellucid.networks.trace import traced  # brings torch

    assert not isinstance(net, Path)
    return traced(net, size=size, batch=batch, classes=classes, until=until)


def timed(
    net: str, *, size: int | None = None, batch: int = 1, backward: bool = False, repeats: int = 20, **options: Any
) -> "tuple[Structure, Times]":
    """The structure of a named network and how long each of its layers takes here; see networks.timing.layer_times."""
    from pellucid.networks.timing import layer_times

    counted = structure(net, size=size, batch=batch, **options)
    made, _ = _built(net, size=counted.size, **options)
    inside = "model." if made.name.startswith("timm/") else ""
    layers = [(row.name, inside + row.name.replace("/", ".")) for row in counted.rows]
    return counted, layer_times(made, layers, size=counted.size, batch=batch, repeats=repeats, backward=backward)


def flowing(
    net: str, image: Path, *, weights: str | None = None, layout: str = "auto", size: int | None = None, **options: Any
) -> "tuple[Flow, ...]":
    """What flows through a named network, with the weights in a file or "imagenet", or a bundle, for one photograph.

    Preprocessed as the weights' record or the card says. Without `weights` a named network's are random.
    """
    import torch

    from pellucid.images.decode import open_image
    from pellucid.images.preprocessing import at_size, prepare
    from pellucid.networks.flow import flows
    from pellucid.networks.published import published_weights
    from pellucid.networks.weights import load_weights
    from pellucid.runs.start import start_from

    made, wanted = _built(net, size=size, **options)
    if weights == "imagenet":
        tensors, record = published_weights(made)
        load_weights(made, tensors, layout=layout)
        wanted = at_size(record.preprocessing, made.size)
    elif weights is not None:
        wanted = start_from(made, Path(weights), layout=layout).preprocessing
    return flows(made, torch.from_numpy(prepare(open_image(image), wanted, name=str(image)))[None])


def _built(net: str, *, size: int | None, **options: Any) -> "tuple[Network, Preprocessing]":
    """The network of a bundle, with its weights, or the named one, with random ones; and the preprocessing it wants."""
    import torch

    from pellucid.networks.build import network
    from pellucid.networks.published import default_preprocessing

    if net not in ARCHITECTURES and Path(net).exists():
        from pellucid.runs.bundle import load_bundle
        from pellucid.runs.run_folder import locate

        bundle = load_bundle(locate(net))
        return bundle.network, bundle.card.preprocessing
    classes = options.get("classes") or CLASSES
    settings = {name: value for name, value in options.items() if name in ("width", "auxiliary", "conventions", "last")}
    torch.manual_seed(0)
    made = network(net, classes, size=size, **({} if net.startswith("timm/") else settings))
    return made, default_preprocessing(net, size=made.size)


def _of_bundle(path: Path, *, size: int | None, batch: int, until: str | None) -> Structure:
    from pellucid.runs.card import read_card
    from pellucid.runs.run_folder import open_run

    card = open_run(path).card() if path.is_dir() else read_card(path)
    classes = 1 if card.one_logit else len(card.classes)
    options = {
        name: card.options[name] for name in ("width", "auxiliary", "conventions", "last") if name in card.options
    }
    size = size or card.options.get("size") or card.preprocessing.size
    return structure(card.architecture, size=size, batch=batch, classes=classes, until=until, **options)
