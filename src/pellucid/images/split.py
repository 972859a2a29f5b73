"""Divide images into train, validation and test: stratified, groups and twins whole, the same on every machine."""

import hashlib
import os
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from pellucid.errors import UserError, counted, listed
from pellucid.images.decode import decoding_threads
from pellucid.images.labels import lacking
from pellucid.images.sources import Sample, Samples
from pellucid.names import path_of, shown
from pellucid.records import Record, read_text, write

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
DEFAULT: dict[Part, str] = {"train": "0.7", "validation": "0.15", "test": "rest"}
CAME_DIVIDED = "the parts that the data came with"  # how the rule of ready-made parts begins
CARVED = "0.15"  # of a ready-made training part, where there is no validation part
THREADS = min(8, os.cpu_count() or 1)


class SplitFile(Record):
    """A file of a split; `path` is below the split's root, with forward slashes."""

    path: str
    sha256: str
    label: str
    group: str | None
    part: Part


class Split(Record):
    """Which file is in which part, and by which rule. `notes` say what a reader should know of it."""

    root: str
    rule: str
    seed: int
    classes: tuple[str, ...]
    files: tuple[SplitFile, ...]
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> tuple[SplitFile, ...]:
        return tuple(file for file in self.files if file.part == name)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images by part, then by class."""
        found = Counter((file.part, file.label) for file in self.files)
        return {part: {name: found[part, name] for name in self.classes} for part in PARTS}

    def fingerprint(self) -> str:
        """sha256 over contents and labels alone: order, names and place of the files do not matter."""
        lines = sorted(f"{file.sha256} {file.label}" for file in self.files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def location(self, file: SplitFile) -> Path:
        return path_of(Path(self.root) / file.path)


def split(
    samples: Samples,
    *,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    per_class: bool = False,
    seed: int = 0,
    hashes: Sequence[str] | None = None,
) -> Split:
    """Divide `samples`. Amounts are "500" images (of each class, with `per_class`), "0.8" or "80%", or "rest".

    With no amounts: the parts that the data comes with (a missing validation part is carved from train), or 70, 15
    and 15 %. Every class is divided alike. Files with the same content, and samples of one group, are never parted;
    then counts are met as nearly as those allow. The order is by a hash of seed and content, so neither names nor
    places nor the machine decide anything. `hashes` are of the contents, where they are known already. Raises
    UserError where there are too few images, and says how many.
    """
    asked = {part: text for part, text in zip(PARTS, (train, validation, test), strict=True) if text is not None}
    amounts = {part: _parse(part, text) for part, text in asked.items()}
    hashes = list(hashes) if hashes else hash_files([sample.path for sample in samples])
    if not amounts and any(sample.part for sample in samples):
        return _ready_made(samples, hashes, seed)
    if not amounts:
        amounts = {part: _parse(part, text) for part, text in DEFAULT.items()}
    chosen = dict(enumerate(_divide(list(samples), hashes, amounts, per_class=per_class, seed=seed)))
    used = [index for index, part in chosen.items() if part]
    words = ", ".join(f"{part} {amount.text}" for part, amount in amounts.items())
    rule = f"{words}{' of each class' if per_class else ''}; every class alike, twins together"
    rule += ", groups together" if any(sample.group for sample in samples) else ""
    notes = list(_twin_notes(samples, hashes))
    if left := len(chosen) - len(used):
        notes.append(f"{counted(left, 'image', verb=('is', 'are'))} in no part, since less than all was asked for")
    return _made(samples, hashes, {index: chosen[index] for index in used}, rule=rule, seed=seed, notes=notes)


def hash_files(paths: Sequence[Path]) -> list[str]:
    """sha256 of every file's content, in order."""
    with decoding_threads(THREADS) as pool:
        return list(pool.map(content_hash, paths))


def content_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise UserError(f"{path} cannot be read: {cause.strerror}") from cause


def write_manifest(parts: Split, path: Path) -> None:
    """Write the split as JSON, whole or not at all."""
    write(path, parts.to_json())


def read_manifest(path: Path) -> Split:
    return Split.from_json(read_text(path), str(path))


def place(parts: Split, out: Path, how: Literal["copy", "link"]) -> None:
    """Lay the files out as OUT/train/CLASS/NAME and so on. `out` must not hold anything; it appears whole or not."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty", hint="name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    taken: set[str] = set()
    try:
        for file in parts.files:
            target = scratch / _unused(f"{file.part}/{file.label}/{Path(file.path).name}", taken, file.sha256)
            target.parent.mkdir(parents=True, exist_ok=True)
            if how == "copy":
                shutil.copyfile(parts.location(file), target)
            else:
                target.symlink_to(parts.location(file).resolve())
        if out.exists():
            out.rmdir()
        scratch.rename(out)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _unused(name: str, taken: set[str], sha256: str) -> str:
    """Files of one name from two folders both keep it, the later with its content's hash."""
    if name in taken:
        path = Path(name)
        name = path.with_name(f"{path.stem}-{sha256[:12]}-{len(taken)}{path.suffix}").as_posix()
    taken.add(name)
    return name


@dataclass(frozen=True)
class _Amount:
    text: str
    count: int | None = None
    share: Fraction | None = None


def _parse(part: str, text: str) -> _Amount:
    refused = UserError(f"--{part} {text!r} is not an amount", hint="write 500, 0.8, 80% or rest")
    text = str(text).strip()
    if text == "rest":
        return _Amount(text)
    try:
        if text.endswith("%"):
            share = Fraction(text[:-1]) / 100
        elif "." in text:
            share = Fraction(text)
        else:
            count = int(text)
            if count < 0:
                raise refused
            return _Amount(text, count=count)
    except (ValueError, ZeroDivisionError) as cause:
        raise refused from cause
    if not 0 <= share <= 1:
        raise refused
    return _Amount(text, share=share)


@dataclass(frozen=True)
class _Unit:
    """Samples that may not be parted, by index."""

    key: str
    members: tuple[int, ...]


def _units(samples: Sequence[Sample], hashes: Sequence[str], seed: int) -> list[_Unit]:
    """Samples joined by content or group, in an order that seed and contents decide."""
    parent = list(range(len(samples)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, (sample, content) in enumerate(zip(samples, hashes, strict=True)):
        for mark in (("content", content), *((("group", sample.group),) if sample.group else ())):
            parent[root(index)] = root(first.setdefault(mark, index))
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(samples)):
        members[root(index)].append(index)

    def key(indices: list[int]) -> str:
        return min(hashlib.sha256(f"{seed}:{hashes[index]}".encode()).hexdigest() for index in indices)

    return sorted((_Unit(key(indices), tuple(indices)) for indices in members.values()), key=lambda unit: unit.key)


def _divide(
    samples: list[Sample], hashes: Sequence[str], amounts: dict[Part, _Amount], *, per_class: bool, seed: int
) -> list[Part | None]:
    """The part of each sample, or None where less than all was asked for."""
    counts = Counter(sample.label for sample in samples)
    wanted = _targets(counts, amounts, per_class=per_class)
    units = _units(samples, hashes, seed)
    # Large units first: a group of many fits nowhere once the parts are nearly full.
    units.sort(key=lambda unit: -len(unit.members))
    need = {part: dict(targets) for part, targets in wanted.items()}
    rest = _rest(amounts, wanted, len(samples))
    chosen: list[Part | None] = [None] * len(samples)
    for unit in units:
        of_class = Counter(samples[index].label for index in unit.members)
        part = _neediest(need, of_class) or rest
        if part is None:
            continue
        for name, count in of_class.items():
            need[part][name] -= count
        for index in unit.members:
            chosen[index] = part
    return chosen


def _rest(amounts: dict[Part, _Amount], wanted: dict[Part, dict[str, int]], total: int) -> Part | None:
    """Where a unit goes that no part has room for: none of it is dropped when all images were asked for."""
    for part, amount in amounts.items():
        if amount.text == "rest":
            return part
    sizes = {part: sum(of_class.values()) for part, of_class in wanted.items()}
    largest: Part = sorted(sizes, key=sizes.__getitem__)[-1]
    return largest if sum(sizes.values()) >= total else None


def _neediest(need: dict[Part, dict[str, int]], of_class: Counter[str]) -> Part | None:
    """The part with room for most of a unit, among equals the one that lacks most; None where none has room."""

    def room(part: Part) -> tuple[int, int]:
        lacking = {name: max(0, need[part][name]) for name in of_class}
        return sum(min(count, lacking[name]) for name, count in of_class.items()), sum(lacking.values())

    best = max(need, key=room)
    return best if room(best)[0] > 0 else None


def _targets(counts: Counter[str], amounts: dict[Part, _Amount], *, per_class: bool) -> dict[Part, dict[str, int]]:
    """How many images of each class each part should have."""
    total = counts.total()
    rests = [part for part, amount in amounts.items() if amount.text == "rest"]
    if len(rests) > 1:
        raise UserError(f"only one part can take the rest, not {' and '.join(rests)}")
    if sum((amount.share or 0) for amount in amounts.values()) > 1:
        raise UserError("the parts together are more than all images", hint="shares add up to 1 at most")
    targets: dict[Part, dict[str, int]] = {}
    left = dict(counts)
    for part, amount in amounts.items():
        if amount.text == "rest":
            continue
        if amount.share is not None:
            targets[part] = {name: round(amount.share * count) for name, count in counts.items()}
        elif per_class:
            targets[part] = dict.fromkeys(counts, amount.count or 0)
        else:
            targets[part] = _proportional(amount.count or 0, counts)
        for name, count in targets[part].items():
            left[name] -= count
    asked = sum(sum(of_class.values()) for of_class in targets.values())
    if short := {name: lack for name, lack in left.items() if lack < 0}:
        if not per_class and asked > total:
            raise UserError(
                f"{counted(asked, 'image', verb=('was', 'were'))} asked for; there are {total:,}", hint="ask for fewer"
            )
        if per_class:
            lines = [f"{name}: {counts[name]} images, {counts[name] - lack} asked for" for name, lack in short.items()]
            raise UserError(f"{len(short)} classes have too few images", listed(sorted(lines)), hint="ask for fewer")
        for name, lack in short.items():  # rounding asked for one image too many of a small class
            largest = max(targets, key=lambda choice: targets[choice][name])
            targets[largest][name] += lack
            left[name] = 0
    for part in rests:
        targets[part] = left
        if not sum(left.values()):
            raise UserError(
                f"nothing is left for --{part} rest: {asked} of {total} images were asked for", hint="ask for fewer"
            )
    return {part: targets[part] for part in amounts}


def _proportional(count: int, counts: Counter[str]) -> dict[str, int]:
    """`count` images over the classes in proportion, by largest remainders: they add up exactly."""
    total = counts.total()
    exact = {name: Fraction(count * size, total) for name, size in counts.items()}
    given = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (given[name] - exact[name], name))
    for name in by_remainder[: count - sum(given.values())]:
        given[name] += 1
    return given


def _ready_made(samples: Samples, hashes: list[str], seed: int) -> Split:
    if homeless := [sample.path.name for sample in samples if not sample.part]:
        raise UserError(
            f"{counted(len(homeless), 'image', verb=('has', 'have'))} no part, while others have one",
            listed(homeless),
            hint="name a part for each",
        )
    chosen: dict[int, Part | None] = {index: sample.part for index, sample in enumerate(samples)}  # type: ignore[misc]
    parts = set(chosen.values())
    rule = CAME_DIVIDED
    if "validation" not in parts and "train" in parts:
        inside = [index for index, part in chosen.items() if part == "train"]
        carved = _divide(
            [samples.samples[index] for index in inside],
            [hashes[index] for index in inside],
            {"train": _Amount("rest"), "validation": _parse("validation", CARVED)},
            per_class=False,
            seed=seed,
        )
        chosen |= dict(zip(inside, carved, strict=True))
        rule += f"; validation carved from train ({CARVED}), every class alike, twins together"
    notes = list(_twin_notes(samples, hashes))
    where: dict[str, set[str | None]] = defaultdict(set)
    for index, part in chosen.items():
        where[hashes[index]].add(part)
    if across := sum(len(parts) > 1 for parts in where.values()):
        notes.append(
            f"{counted(across, 'image', verb=('lies', 'lie'))} in more than one of the parts that the data came with, "
            "which flatters the result"
        )
    return _made(samples, hashes, chosen, rule=rule, seed=seed, notes=notes)


def _twin_notes(samples: Samples, hashes: Sequence[str]) -> Iterable[str]:
    labels: dict[str, set[str]] = defaultdict(set)
    for sample, content in zip(samples, hashes, strict=True):
        labels[content].add(sample.label)
    if twins := len(hashes) - len(labels):
        yield f"{twins:,} images are exact copies of others" if twins > 1 else "1 image is an exact copy of another"
    if torn := sum(len(names) > 1 for names in labels.values()):
        yield f"{counted(torn, 'image', verb=('lies', 'lie'))} in two classes at once: one of the labels is wrong"


def _made(
    samples: Samples,
    hashes: Sequence[str],
    chosen: dict[int, Part | None],
    *,
    rule: str,
    seed: int,
    notes: list[str],
) -> Split:
    files = tuple(
        SplitFile(
            path=shown(Path(os.path.relpath(sample.path, samples.root)).as_posix()),
            sha256=hashes[index],
            label=sample.label,
            group=sample.group,
            part=part,
        )
        for index, sample in enumerate(samples)
        if (part := chosen.get(index)) is not None
    )
    root = shown(str(samples.root.resolve()))
    made = Split(root=root, rule=rule, seed=seed, classes=samples.classes, files=files)
    return made.model_copy(update={"notes": (*samples.notes, *notes, *lacking(made.counts()))})
