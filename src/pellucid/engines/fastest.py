"""Which of several engines computes a file fastest on this machine: measured once, and remembered.

The choice is kept in the cache's folder, by what could change it: the card, the file's size, the processor, how many
there are for us, and the versions of the engines.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from pellucid.engines.engine import Engine
from pellucid.errors import UserError
from pellucid.granted import processors
from pellucid.images.store import cache_folder, claim
from pellucid.records import write
from pellucid.runs.card import Card
from pellucid.runs.proof import proof_pixels

BATCH = 8  # images
ROUNDS, SECONDS = 9, 2.0  # at most
SHELF = "engines"


def remembered(card: Card, path: Path, names: Sequence[str], asked: str) -> str | None:
    """The engine of `names` that was the fastest when it was measured; None where it was not."""
    try:
        found = json.loads(_note(card, path, names, asked).read_bytes())["engine"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found in names else None


def fastest(path: Path, names: Sequence[str], opened: Callable[[str], Engine], asked: str) -> Engine:
    """Open the file in each engine, time them in turns, remember who won, and give the winner.

    An engine that does not reproduce the proof, or cannot open the file, is no choice: its error is raised only where
    none can.
    """
    engines, refused = {}, {}
    for name in names:
        try:
            engines[name] = opened(name)
        except UserError as cause:
            refused[name] = cause
    if not engines:
        raise refused[names[0]]
    seconds = time_in_turns(list(engines.values()))
    took = {name: median(all_of) for name, all_of in zip(engines, seconds, strict=True)}
    best = min(took, key=lambda name: took[name])
    note = {
        "engine": best,
        "milliseconds": {name: round(1000 * each, 3) for name, each in took.items()},
        "batch": BATCH,
        "refused": {name: cause.problem for name, cause in refused.items()},
    }
    with suppress(UserError, OSError):  # where nothing can be written, it is measured again
        claim(cache_folder(None))
        write(_note(engines[best].card, path, names, asked), json.dumps(note, indent=1) + "\n")
    others = [f"{took[name] / took[best]:.2g} times as fast as {name}" for name in took if name != best]
    refused_words = [f"{name} cannot ({cause.problem})" for name, cause in refused.items()]
    engines[best].chosen_from = f"the fastest here: {'; '.join([*others, *refused_words])}"
    return engines[best]


def time_in_turns(engines: Sequence[Engine]) -> list[list[float]]:
    """The seconds that each engine took for a batch of BATCH images, turn by turn; the first turn does not count."""
    card = engines[0].card
    batch = np.repeat(proof_pixels(card.preprocessing, whole=card.inside), BATCH, axis=0)
    seconds: list[list[float]] = [[] for _ in engines]
    began = perf_counter()
    for turn in range(ROUNDS + 1):
        for engine, took in zip(engines, seconds, strict=True):
            start = perf_counter()
            engine.logits_of_pixels(batch)
            if turn:
                took.append(perf_counter() - start)
        if turn and perf_counter() - began > SECONDS:
            break
    return seconds


def _note(card: Card, path: Path, names: Sequence[str], asked: str) -> Path:
    """The file in which the choice for a model is remembered."""
    from pellucid.runs.provenance import processor, version_of  # where there is a choice alone

    facts = [
        card.model_dump_json(),
        str(path.stat().st_size),
        processor(),
        str(processors()),
        asked,
        *(f"{name} {version_of(name)}" for name in names),
    ]
    return cache_folder(None) / SHELF / f"{hashlib.sha256(chr(0).join(facts).encode()).hexdigest()[:32]}.json"
