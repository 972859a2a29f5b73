"""What may have changed since a run began: refused where it would make the rest another training, told where it may.

A resumed run reaches the same weights as if it had not stopped, bit for bit on a CPU: with the settings, threads,
images and labels that it began with, and the same library on the same kind of processor.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.errors import UserError, counted, listed
from pellucid.images.manifest import Split
from pellucid.images.preprocessing import Preprocessing
from pellucid.images.samples import Samples
from pellucid.names import kind_of, shown
from pellucid.records import flat
from pellucid.runs.card import read_card
from pellucid.runs.events import Epoch
from pellucid.runs.run_folder import DAMAGED, RunFolder
from pellucid.training.config import Config
from pellucid.training.reading import read_data
from pellucid.training.state import Position

CHANGES_NOTHING = ("machine.workers", "runs", "features.folder", "features.size")
CHANGES_BITS = ("machine.device", "machine.precision", "machine.threads")
BITS = "weights may differ in their last digits from those of a run that was not stopped"


def settings(config: Config) -> dict[str, Any]:
    """`config` as provenance.json keeps it, for `check_settings`."""
    values: dict[str, Any] = json.loads(json.dumps(config.model_dump()))
    return values


def check_settings(config: Config, before: Mapping[str, Any], path: Path) -> list[str]:
    """Refuse a config.toml that was edited; settings that decide no more than the last digits are told."""
    old, now = dict(flat(before)), dict(flat(settings(config)))
    changed = {name: (old[name], now[name]) for name in now if name in old and old[name] != shown_value(now[name])}
    edited = [
        f"{name} is {new}, and was {was}"
        for name, (was, new) in changed.items()
        if name not in (*CHANGES_NOTHING, *CHANGES_BITS)
    ]
    if edited:
        raise UserError(
            f"{path} was edited since this run began",
            listed(edited),
            hint="put that back to go on with this run, or train anew with the new settings",
        )
    return [f"{name} is {new}, and was {was}: {BITS}" for name, (was, new) in changed.items() if name in CHANGES_BITS]


def check_kept(folder: RunFolder, position: Position | None) -> None:
    """Refuse to begin anew where a checkpoint was, or to go on without the best weights so far: both would be lost."""
    if position is None:
        epochs = max((event.epoch for event in folder.events() if isinstance(event, Epoch)), default=0)
        if epochs > 1 or kind_of(folder.path / "checkpoint.json") != "nothing":  # each epoch writes both
            left = f"; {folder.model} can be used as it is" if kind_of(folder.model) == "file" else ""
            raise UserError(
                f"{folder.checkpoint} is not there, so this run cannot go on from where it was", hint=DAMAGED + left
            )
    elif position.best:
        try:
            read_card(folder.model)
        except UserError as cause:
            said = f"{folder.model} held the best weights so far, those of epoch {position.best.epoch}"
            raise UserError(said, [cause.problem], hint=DAMAGED) from cause


def shown_value(value: Any) -> Any:
    return shown(value) if isinstance(value, str) else value


def take_threads(config: Config, chosen: Mapping[str, Any]) -> None:
    """Compute with as many threads as the run began with, where nobody says otherwise: sums depend on it."""
    if threads := config.machine.threads or chosen.get("threads"):
        torch.set_num_threads(threads)


def other_machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What computes otherwise than when the run began."""
    was, here = before.get("machine", {}), now["machine"]
    seen = [(name, was.get(name), here[name]) for name in ("processor", "device", "precision")]
    seen += [(name, before.get("versions", {}).get(name), now["versions"][name]) for name in ("torch", "pellucid")]
    for name, old, new in seen:
        if old is not None and old != new:
            yield f"this run began with {name} {old}, and goes on with {new}: {BITS}"


def listing(samples: Samples) -> dict[str, Any]:
    """How many images the data lists, and a hash of their paths, labels, parts and groups."""
    lines = sorted(
        "\0".join((shown(str(sample.path)), sample.label, sample.part or "", sample.group or "")) for sample in samples
    )
    text = "\n".join(lines).encode("utf-8", "backslashreplace")
    return {"listed": len(samples), "listing": hashlib.sha256(text).hexdigest()}


def other_data(config: Config, parts: Split, before: Mapping[str, Any]) -> Iterator[str]:
    """What the folder or table says otherwise than when the run began; contents are checked elsewhere."""
    folder = config.data.folder
    goes_on = "this run goes on with what it began with; train anew to learn from what is there now"
    try:
        samples = read_data(config.data)
    except UserError as cause:
        yield f"{folder} cannot be read again ({cause.problem}); {goes_on}"
        return
    if listing(samples) == {name: before.get(name) for name in ("listed", "listing")}:
        return
    labels = {sample.path.resolve(): sample.label for sample in samples}
    places = [(labels.get(file.path.resolve()), file.label) for file in parts.files]
    said = []
    if relabelled := sum(now not in (None, was) for now, was in places):
        said.append(f"{counted(relabelled, 'image', verb=('has', 'have'))} another label")
    if dropped := sum(now is None for now, _ in places):
        said.append(f"{counted(dropped, 'image', verb=('is', 'are'))} no longer listed")
    if "listed" in before and len(samples) != before["listed"]:
        said.append(f"{len(samples):,} images are listed, and were {before['listed']:,}")
    if said or "listing" in before:
        yield f"{folder} has changed: {', '.join(said) or 'groups, parts or images are others'}; {goes_on}"


def chosen(folder: RunFolder, provenance: Mapping[str, Any]) -> tuple[Preprocessing, dict[str, Any]]:
    """The preprocessing, and where the weights came from, that were chosen when the run began."""
    path = folder.path / "provenance.json"
    try:
        found = provenance["chosen"]
        weights, _, _ = found["weights"], provenance["versions"], provenance["data"]["fingerprint"]
    except (KeyError, TypeError) as cause:
        raise UserError(f"{path} does not say what was chosen when this run began", hint=DAMAGED) from cause
    return Preprocessing.from_fields(found["preprocessing"], str(path), DAMAGED), weights
