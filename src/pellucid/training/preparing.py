"""All that is done before there is a run: data read, network built, images checked and divided, a budget planned."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pellucid.images.labels import check_classes
from pellucid.images.manifest import Split
from pellucid.images.pixels import PixelCache
from pellucid.images.samples import Samples
from pellucid.images.split import split
from pellucid.networks.network import Network
from pellucid.networks.own import notes_on
from pellucid.networks.published import nobodys
from pellucid.runs.events import Event, Noted, PixelsReady, Planned, Preparing, now
from pellucid.runs.provenance import gather
from pellucid.runs.run_folder import check_place
from pellucid.training.config import Config
from pellucid.training.frozen import check_solvable
from pellucid.training.machine import Hardware, check_machine, hardware_for, workers_for
from pellucid.training.planning import Budget, first_plan
from pellucid.training.reading import (
    Readable,
    check_counts,
    check_division,
    check_one_logit,
    checked,
    read_data,
    unchanged,
)
from pellucid.training.resuming import listing, settings
from pellucid.training.start import Prepared, in_our_words, pixel_cache, start_network
from pellucid.training.statistics import fresh_norms
from pellucid.training.transfer import check_frozen
from pellucid.training.trial import check_measured, check_network


@dataclass(frozen=True)
class Ready:
    """What a run is made of. `wanted` is what was asked, `config` what a plan for a budget made of it."""

    wanted: Config
    config: Config
    samples: Samples
    readable: Readable
    parts: Split
    prepared: Prepared
    hardware: Hardware
    pixels: PixelCache
    told: PixelsReady  # what the images were found to be
    budget: Budget | None = None
    plan: Planned | None = None


def ready_for(config: Config, began: float) -> Generator[Event, None, Ready]:
    """Raises UserError for data, weights or settings that cannot be used; nothing is written but decoded pixels.

    A budget counts from `began`, a moment of perf_counter.
    """
    check_machine(config.machine)
    hardware = hardware_for(config)
    pixels = pixel_cache(config)
    check_place(Path(config.runs))
    config, called = in_our_words(config)
    yield from noted((*config.remarks, *called))
    samples = yield from _read(config)
    config, prepared = yield from _built(config, samples)
    readable = yield from checked(samples, config, prepared.preprocessing, pixels)
    parts = yield from _divided(config, samples, readable)
    ready = Ready(config, config, samples, readable, parts, prepared, hardware, pixels, readable.told)
    if config.budget:
        ready = yield from _planned(ready, Budget(config, began))
    return ready


def _read(config: Config) -> Generator[Event, None, Samples]:
    yield Preparing(phase="reading the data", done=0, total=0)
    samples = read_data(config.data)
    check_division(samples, config)
    yield from noted(samples.notes)
    check_classes(samples.classes, config.data.folder)
    check_one_logit(config, samples.classes)
    return samples


def _built(config: Config, samples: Samples) -> Generator[Event, None, tuple[Config, Prepared]]:
    """The network with its first weights; and the settings, with its own names for where it is cut."""
    weights = "" if config.weights == "none" else f", weights from {config.weights}"
    yield Preparing(phase=f"building the network {config.model}{weights}", done=0, total=0)
    prepared = start_network(config, samples.classes)
    yield from noted(prepared.notes)
    if config.train_from and (place := prepared.network.called(config.train_from)) != config.train_from:
        yield from noted([f"{config.train_from} is {place} here"])
        config = config.model_copy(update={"train_from": place})
    check_network(prepared.network, config)
    check_frozen(prepared.network, config, prepared.weights.get("left_random", ()))
    if config.mode == "probe" or config.train_from:
        if config.weights == "none":
            yield from noted(["the frozen layers keep random weights, since the weights are none"])
        if config.weights == "own":
            yield from noted(
                [f"the frozen layers keep the weights that {prepared.network.name} comes with, trained or random"]
            )
    yield from noted(notes_on(prepared.network))
    check_solvable(prepared.network, config)
    return config, prepared


def _divided(config: Config, samples: Samples, readable: Readable) -> Generator[Event, None, Split]:
    yield Preparing(phase="splitting", done=0, total=0)
    parts = split(
        readable.samples,
        **config.data.division,
        seed=config.seed,
        hashes=readable.hashes,
    )
    yield from noted(note for note in parts.notes if note not in samples.notes)
    check_counts(parts)
    check_measured(config, parts)
    return parts


def _planned(ready: Ready, budget: Budget) -> Generator[Event, None, Ready]:
    """The same with what fits into the budget: another size asks for another network, and other pixels."""
    config, prepared = ready.config, ready.prepared
    yield Preparing(phase=f"measuring this machine, to plan for {config.budget}", done=0, total=0)
    config, plan = first_plan(
        budget,
        prepared.network,
        prepared.preprocessing,
        ready.parts,
        ready.pixels,
        decode=decoding_seconds(ready.told),
        device=ready.hardware.device,
        left_random=prepared.weights.get("left_random", ()),
    )
    ready = replace(ready, config=config, budget=replace(budget, look=plan.look), plan=plan)
    if plan.size == prepared.preprocessing.size:
        return ready
    prepared = start_network(config, ready.samples.classes)
    check_network(prepared.network, config)
    pixels = pixel_cache(config)  # what was decoded is of another size
    told = yield from unchanged(ready.parts, config, prepared.preprocessing, pixels)
    return replace(ready, prepared=prepared, pixels=pixels, told=told)


def provenance_of(ready: Ready, *, asked: list[str]) -> dict[str, Any]:
    """What a run notes of where it comes from: what was asked, of which data, and what was chosen for it."""
    config, prepared, parts, hardware = ready.config, ready.prepared, ready.parts, ready.hardware
    return gather(device=str(hardware.device), precision=hardware.precision) | {
        "asked": asked,
        "seed": config.seed,
        "data": {"fingerprint": parts.fingerprint(), "root": parts.root, "rule": parts.rule, "notes": parts.notes}
        | listing(ready.samples),
        "config": settings(ready.wanted),
        "left_out": [{"path": path, "reason": reason} for path, reason in ready.readable.left_out],
        "chosen": {
            **_own_network(config, prepared.network),
            "preprocessing": prepared.preprocessing.model_dump(),
            "weights": prepared.weights,
            "workers": workers_for(config, decoded=ready.pixels.has_all, device=hardware.device),
            "threads": torch.get_num_threads(),
            "precision": hardware.precision,
            "fresh_norms": fresh_norms(prepared.network),
        },
    }


def _own_network(config: Config, net: Network) -> dict[str, Any]:
    """What rebuilds a network that nobody else knows: its table, or what tells its code from other code."""
    return {"network": {"name": net.name, "options": net.options}} if nobodys(config.model) else {}


def decoding_seconds(told: PixelsReady) -> float:
    """Seconds per image."""
    return told.seconds / told.decoded if told.decoded else 0.005


def noted(words: Iterable[str]) -> Iterator[Noted]:
    """What was decided, for those who did not ask."""
    yield from (Noted(time=now(), words=each) for each in words)
