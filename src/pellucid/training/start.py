"""What a training begins with: the network with its first weights, what its images look like to it, and the job."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pellucid.errors import UserError
from pellucid.images.augmentation import Augmentation
from pellucid.images.loading import Images
from pellucid.images.manifest import Split
from pellucid.images.pixels import PixelCache
from pellucid.images.preprocessing import Preprocessing, at_size, changed
from pellucid.images.store import cache_folder, check_folder
from pellucid.names import is_own
from pellucid.networks.build import network
from pellucid.networks.loading import load_weights
from pellucid.networks.network import Network
from pellucid.networks.published import default_preprocessing, published_weights
from pellucid.runs.run_folder import DAMAGED, RunFolder
from pellucid.runs.start import start_from
from pellucid.training.config import Config, bytes_of
from pellucid.training.job import Data, Job
from pellucid.training.machine import Hardware, workers_for
from pellucid.training.transfer import freeze
from pellucid.weights.called import end_point_called


@dataclass(frozen=True)
class Prepared:
    network: Network
    preprocessing: Preprocessing
    weights: dict[str, Any]  # where they came from, for provenance
    notes: tuple[str, ...] = ()  # what was decided of them


def in_our_words(config: Config) -> tuple[Config, list[str]]:
    """Where weights end, and what is trained, by our names; and what was said by another library's."""
    said = {field: name for field in ("until", "train_from") if (name := getattr(config, field))}
    ours = {field: end_point_called(config.model, name) for field, name in said.items()}
    words = {f"{said[field]} is {name} here" for field, name in ours.items() if name != said[field]}
    return config.model_copy(update=ours), sorted(words)


def bare_network(config: Config, names: Sequence[str], made: dict[str, Any] | None = None) -> Network:
    """The network with random weights; `made` as it was made before, by name and options."""
    torch.manual_seed(config.seed)
    classes = 1 if config.learning.one_logit else len(names)
    if made:
        return network(made["name"], classes, **made["options"])
    options: dict[str, Any] = dict(config.options)
    if config.mode == "probe" and config.until and not (is_own(config.model) or config.model.startswith("timm/")):
        options.setdefault("last", config.until)  # what comes after the weights' end would be frozen at random
    return network(config.model, classes, size=config.input.size, **options)


def start_network(config: Config, names: Sequence[str], made: dict[str, Any] | None = None) -> Prepared:
    """The network with its first weights, and the preprocessing they want, changed where the config says so."""
    net = bare_network(config, names, made)
    wanted = default_preprocessing(config.model, size=net.size)
    origin: dict[str, Any] = {"from": config.weights}
    said = {name for name, value in config.input.model_dump().items() if value is not None}
    notes: tuple[str, ...] = ()
    if config.weights == "imagenet":
        tensors, published = published_weights(net)
        report = load_weights(net, tensors, layout=config.layout, head=False)
        wanted = at_size(published.preprocessing, net.size)
        origin |= {"loaded": len(report.loaded), "left_random": list(report.left_random)}
    elif config.weights == "own":
        if not net.as_it_comes:
            raise UserError(f"{net.name} has no weights of its own", hint="--weights FILE, imagenet or none")
    elif config.weights != "none":
        start = start_from(
            net,
            Path(config.weights),
            layout=config.layout,
            until=config.until,
            head=False,
            conventions="conventions" not in config.options,
            said=said,
        )
        report, wanted, notes = start.report, start.preprocessing, start.notes
        origin |= {"loaded": len(report.loaded), "left_random": list(report.left_random)}
        origin |= {"layout": report.layout, "notes": list(notes)}
    return Prepared(net, changed(wanted, config.input.model_dump()), origin, notes)


def job_for(
    config: Config,
    run: RunFolder,
    parts: Split,
    prepared: Prepared,
    hardware: Hardware,
    provenance: dict[str, Any],
    pixels: PixelCache,
) -> Job:
    def images(part: str, augmentation: Augmentation | None) -> Images:
        return Images(
            parts.part(part),
            parts.classes,
            prepared.preprocessing,
            augmentation,
            config.seed,
            cache=pixels,
        )

    number = {name: index for index, name in enumerate(parts.classes)}
    return Job(
        config=config,
        run=run,
        network=prepared.network,
        frozen=freeze(prepared.network, config),
        halves=None,
        data=Data(
            classes=parts.classes,
            preprocessing=prepared.preprocessing,
            train=images("train", config.augmentation),
            validation=images("validation", None),
            labels=np.array([number[file.label] for file in parts.part("train")]),
            workers=workers_for(config, decoded=pixels.has_all, device=hardware.device),
        ),
        hardware=hardware,
        fresh_norms=_known(provenance.get("chosen", {}).get("fresh_norms", ()), prepared.network, run),
        provenance={
            "run": run.path.name,
            "versions": provenance["versions"],
            "commit": provenance["commit"],
            "data": provenance["data"]["fingerprint"],
            "weights": prepared.weights,
            "mode": config.mode,
            "seed": config.seed,
        },
    )


def _known(names: Sequence[str], network: Network, run: RunFolder) -> tuple[str, ...]:
    """The norms that were fresh when the run began; of runs from before they were noted, none."""
    if strange := set(names) - {name for name, _ in network.named_modules()}:
        raise UserError(f"{run.path}/provenance.json names what the network has not: {min(strange)}", hint=DAMAGED)
    return tuple(names)


def pixel_cache(config: Config) -> PixelCache:
    """Raises UserError where the cache's folder holds other things, or lies in the data, and is to be used."""
    folder = cache_folder(config.features.folder)
    if "auto" in (config.features.pixels, config.features.cache):
        check_folder(folder, data=Path(config.data.folder))
    return PixelCache(folder, limit=bytes_of(config.features.size))
