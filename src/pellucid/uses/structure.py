"""`structure` of anything: tables are counted without torch, everything else is run once and watched."""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.architectures import geometry
from pellucid.architectures.catalog import ARCHITECTURES, architecture
from pellucid.architectures.layers import Architecture
from pellucid.architectures.numbers import check_numbers
from pellucid.architectures.options import COUNTED
from pellucid.architectures.rows import Structure
from pellucid.architectures.written import TABLE, check_table, from_text
from pellucid.errors import UserError
from pellucid.names import is_own
from pellucid.networks.own import named, remember
from pellucid.weights.called import end_point_called

CLASSES = 1000  # ImageNet's, where nothing else is said

if TYPE_CHECKING:
    from pellucid.images.preprocessing import Preprocessing
    from pellucid.inspection.flow import Flow
    from pellucid.inspection.timing import Times
    from pellucid.networks.network import Network
    from pellucid.runs.card import Card


def structure(
    net: Any,
    *,
    size: int | None = None,
    batch: int = 1,
    classes: int | None = None,
    width: float | None = None,
    auxiliary: bool | None = None,
    conventions: str | None = None,
    last: str | None = None,
    spatial_squeeze: bool | None = None,
    until: str | None = None,
    names: str | None = None,
) -> Structure:
    """Count a network for `batch` images of `size` pixels per side, by layer; `until` is the last end point shown,
    by its name, the beginning of it, or another library's name for it.

    `net` is a name of `architectures()`, which needs no torch, or timm/NAME, a run folder, a model file, or one's
    own: any module that takes images (N, 3, size, size), which is left as it is, FILE.py:NAME or
    package.module:NAME, a class or function that makes one for a number of classes, or a table. The defaults: the
    design size (224 for a module that does not say), 1000 classes or the model file's. `width` to `spatial_squeeze`
    are settings of the networks that are defined here, or parameters of somebody's own. `names` calls each layer as
    slim, paddle, torchvision, timm or keras does, with its order of axes; TensorFlow's conventions are the default
    then with slim and keras, otherwise torch's. Raises UserError for unknown names, settings that the network has
    not, nonsense numbers, and a size that does not fit.
    """
    given = {"width": width, "auxiliary": auxiliary, "conventions": conventions, "last": last}
    given |= {"spatial_squeeze": spatial_squeeze}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if names is None:
        return _counted(net, size=size, batch=batch, classes=classes, until=until, options=options)
    from pellucid.weights.sources.layers import CHANNELS_LAST, called, called_by_torch, source_called

    if source_called(names) in CHANNELS_LAST and isinstance(net, str) and net in ARCHITECTURES:
        options.setdefault("conventions", "tensorflow")
    counted = _counted(net, size=size, batch=batch, classes=classes, until=until, options=options)
    if counted.conventions is None:
        return called_by_torch(counted, names)
    return called(counted, "" if _is_own_table(net) else ARCHITECTURES[counted.name].family, names)


def _counted(
    net: Any, *, size: int | None, batch: int, classes: int | None, until: str | None, options: dict[str, Any]
) -> Structure:
    """The structure by our names, or a module's own."""
    check_numbers(size=size, batch=batch, classes=classes)
    if isinstance(net, str) and net in ARCHITECTURES:
        classes = CLASSES if classes is None else classes
        until = until and end_point_called(net, until)
        return geometry.structure(net, size=size, batch=batch, classes=classes, until=until, **options)
    if isinstance(net, str | PathLike) and is_there(net) and not str(net).endswith(".py"):
        _refuse(options | ({} if classes is None else {"classes": classes}), f"{net} is as it was trained")
        return _of_bundle(Path(net), size=size, batch=batch, until=until)
    name = own_name(net)
    if name:
        return _of_own(name, size=size, batch=batch, classes=classes, until=until, options=options)
    if isinstance(net, Path) or (isinstance(net, str) and not net.startswith("timm/")):
        architecture(str(net))  # refuses, with the nearest name
    from torch import nn

    from pellucid.inspection.trace import traced  # brings torch

    if isinstance(net, nn.Module):
        options |= {} if classes is None else {"classes": classes}
        _refuse(options, f"{type(net).__name__} is a module that is there already")
    elif isinstance(net, str):
        _refuse(options, f"{net} is built by timm")
    else:
        raise UserError(f"there is no structure of {net!r}", hint="name a network, or give a torch.nn.Module")
    return traced(net, size=size, batch=batch, classes=classes, until=until)


def own_name(net: Any) -> str:
    """The name of what is somebody's own network, which they name as code to be run by giving it; "" for anything else.

    A module that is there already is not copied, nor made, and needs no name.
    """
    if isinstance(net, str):
        return remember(net) if is_own(net) or net.endswith(".py") else ""
    there = hasattr(net, "named_modules") and not isinstance(net, type)
    return remember(net) if isinstance(net, Architecture) or (callable(net) and not there) else ""


def _of_own(
    name: str, *, size: int | None, batch: int, classes: int | None, until: str | None, options: dict[str, Any]
) -> Structure:
    """Of what was named: a table is counted, a module made where it must be, and watched."""
    own = named(name)
    given = own.content()
    if not isinstance(given, Architecture):
        from torch import nn

        from pellucid.inspection.trace import traced
        from pellucid.networks.own_network import bare
        from pellucid.networks.undisturbed import kept_randomness

        if isinstance(given, nn.Module):
            _refuse(options | ({} if classes is None else {"classes": classes}), f"{own.where} is a module already")
        with kept_randomness():
            given = bare(own, CLASSES if classes is None else classes, size=size, options=options)
        if isinstance(given, nn.Module):
            return replace(traced(given, size=size, batch=batch, until=until), name=own.where)
        options = {}
    check_table(given)
    classes = CLASSES if classes is None else classes
    return geometry.structure(given, size=size, batch=batch, classes=classes, until=until, **options)


def _refuse(options: dict[str, Any], why: str) -> None:
    """Settings that cannot be applied, by name."""
    if options:
        names = ", ".join(options)
        raise UserError(
            f"{names}: {why}, and has no such setting", hint="they are for the networks of `pellucid models`"
        )


def is_there(net: "str | PathLike[str]") -> bool:
    """Whether a file or folder of that name exists; False as well for what can be no name of one."""
    try:
        return Path(net).exists()
    except (OSError, ValueError):
        return False


def timed(
    net: str, *, size: int | None = None, batch: int = 1, backward: bool = False, repeats: int = 20, **options: Any
) -> "tuple[Structure, Times]":
    """The structure of a named network and how long each layer takes here; see inspection.timing.layer_times."""
    check_numbers(repeats=repeats)
    from pellucid.inspection.timing import layer_times
    from pellucid.networks.undisturbed import kept_randomness

    counted = structure(net, size=size, batch=batch, **options)
    with kept_randomness():
        made, _ = _built(net, size=counted.size, **options)
        layers = [(row.name, made.inside + row.name.replace("/", ".")) for row in counted.rows]
        times = layer_times(made, layers, size=counted.size, batch=batch, repeats=repeats, backward=backward)
    return counted, times


def flowing(
    net: str,
    image: Path,
    *,
    weights: str | None = None,
    layout: str = "auto",
    size: int | None = None,
    until: str | None = None,
    **options: Any,
) -> "tuple[Flow, ...]":
    """What flows through a named network, with weights of a file or "imagenet", or a model file, for one photograph.

    Preprocessed as the weights' record or the card says. Without `weights` a named network's are random. `until` is the
    last end point. Raises UserError for settings that the network has not.
    """
    import torch

    from pellucid.images.decode import open_image
    from pellucid.images.preprocessing import at_size, prepare
    from pellucid.inspection.flow import flows
    from pellucid.networks.loading import load_weights
    from pellucid.networks.published import published_weights
    from pellucid.networks.undisturbed import kept_randomness
    from pellucid.runs.start import start_from

    if net not in ARCHITECTURES and is_there(net):
        own = {"size": size, "weights": weights, "layout": None if layout == "auto" else layout}
        _refuse({name: value for name, value in own.items() if value is not None}, f"{net} is as it was trained")
    with kept_randomness():
        made, wanted = _built(net, size=size, **options)
        if weights == "imagenet":
            tensors, record = published_weights(made)
            load_weights(made, tensors, layout=layout)
            wanted = at_size(record.preprocessing, made.size)
        elif weights is not None:
            wanted = start_from(made, Path(weights), layout=layout).preprocessing
        if until is not None:
            until = geometry.check_end_point(net, made.end_point_names, end_point_called(net, until))
        return flows(made, torch.from_numpy(prepare(open_image(image), wanted, name=str(image)))[None], last=until)


def _built(net: str, *, size: int | None, **options: Any) -> "tuple[Network, Preprocessing]":
    """The network of a model file with its weights, or the named one with random ones; and what it wants to see."""
    import torch

    from pellucid.networks.build import network
    from pellucid.networks.published import default_preprocessing

    check_numbers(size=size, classes=options.get("classes"))
    given = {name: value for name, value in options.items() if value is not None and name not in ("until", "batch")}
    if net not in ARCHITECTURES and is_there(net):
        from pellucid.runs.locating import locate
        from pellucid.runs.model_file import load_model_file

        _refuse(given, f"{net} is as it was trained")
        model_file = load_model_file(locate(Path(net)))
        return model_file.network, model_file.card.preprocessing
    if own_name(net):  # which may have its outputs already
        given.setdefault("classes", structure(net, size=size, **given).classes or CLASSES)
    classes = given.pop("classes", CLASSES)
    if net.startswith("timm/"):
        _refuse(given, f"{net} is built by timm")
    torch.manual_seed(0)
    made = network(net, classes, size=size, **given)
    return made, default_preprocessing(net, size=made.size)


def _card(path: Path) -> "Card":
    """Of a run folder, or a model file."""
    from pellucid.runs.card import read_card
    from pellucid.runs.run_folder import open_run

    return open_run(path).card() if path.is_dir() else read_card(path)


def _is_own_table(net: Any) -> bool:
    """Whether what was counted is somebody's own table, by whatever name, or a model of one."""
    if isinstance(net, str) and net in ARCHITECTURES:
        return False
    if isinstance(net, str | PathLike) and is_there(net) and not str(net).endswith(".py"):
        return _card(Path(net)).architecture.startswith(TABLE)
    return True


def _of_bundle(path: Path, *, size: int | None, batch: int, until: str | None) -> Structure:
    card = _card(path)
    if card.members:
        from pellucid.runs.model_file import load_model_file

        _refuse({"until": until} if until else {}, f"{path} is an ensemble")
        return structure(load_model_file(path).network, size=size or card.preprocessing.size, batch=batch)
    classes = 1 if card.one_logit else len(card.classes)
    options = {name: card.options[name] for name in COUNTED if name in card.options}
    size = size or card.options.get("size") or card.preprocessing.size
    if is_own(card.architecture):
        from pellucid.inspection.trace import traced
        from pellucid.networks.build import network

        net = network(card.architecture, classes, **card.options)  # refuses what nobody named
        return traced(net, size=size, batch=batch, until=until)
    if card.architecture.startswith(TABLE):
        table = from_text(str(card.options.get("table", "")))
        return geometry.structure(table, size=size, batch=batch, classes=classes, until=until, **options)
    return structure(card.architecture, size=size, batch=batch, classes=classes, until=until, **options)
