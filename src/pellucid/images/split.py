"""Divide images into train, validation and test: stratified, groups and twins whole, the same on every machine."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pellucid.errors import UserError, counted, listed
from pellucid.images.amounts import PARTS, REST, Amount, Part, Targets, parse, targets
from pellucid.images.earlier import earlier_split
from pellucid.images.manifest import BY_RANK, READY, Split, hash_files
from pellucid.images.remarks import of_classes, of_leaks, of_twins
from pellucid.images.samples import Sample, Samples
from pellucid.names import below, path_of, shown

USUAL = {"train": "0.7", "validation": "0.15", "test": REST}
CARVED = "0.15"  # of a ready-made training part, where there is no validation part
CAME_DIVIDED = "the parts that the data came with"  # how the rule of ready-made parts begins
WALK: tuple[Part, ...] = ("test", "validation", "train")  # along the order of hashes, from its lower end


def split(
    samples: Samples,
    *,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    per_class: bool = False,
    keep_split: Path | str | None = None,
    ignore_parts: bool = False,
    seed: int = 0,
    hashes: Sequence[str] | None = None,
) -> Split:
    """Divide `samples`. Amounts are "500" images (of each class, with `per_class`), "0.8" or "80%", or "rest".

    A train part that nothing is said of takes what the others leave. With no amounts: the parts that the data comes
    with (a missing validation part is carved from train), or 70, 15 and 15 %. Of data that comes divided, amounts
    divide the train part, and no other; `ignore_parts` divides all of it anew. Every class is divided alike. Files
    with the same content, and samples of one group, are never parted; then counts are met as nearly as those allow.
    The order is by a hash of seed and content (of a group, its name), so neither paths nor the machine decide
    anything, and more images move few others.

    `keep_split`, a manifest or a run folder, is extended: an image whose content it knows stays in its part, new images
    of its groups join them, and the others are divided so that the whole comes as near as can be to the amounts, or
    with none, to the shares that its parts have. `hashes` are of the contents, where they are known already. Raises
    UserError where there are too few images, and says how many.
    """
    amounts = _parsed(train, validation, test)
    hashes = list(hashes) if hashes else _contents(samples)
    notes = list(of_twins(samples, hashes))
    if ignore_parts and any(sample.part for sample in samples):
        notes.append(f"{CAME_DIVIDED} were set aside: {sizes(samples)}")
        samples = without_parts(samples)
    old = earlier_split(keep_split) if keep_split is not None else None
    task = _task(samples, amounts, old.shares() if old else _parsed(**USUAL))
    fixed = dict[int, Part]()
    if old:
        fixed, told = old.places(samples.samples, [below(sample.path, samples.root) for sample in samples], hashes)
        old.check_ready(fixed, task.came, task.amounts)
        notes += told
    chosen = _divide(samples, hashes, task, per_class=per_class, seed=seed, fixed=fixed)
    if not task.usual and "train" not in chosen and ("train" in task.amounts or not any(chosen)):
        asked = " ".join(f"--{part} {amount.text}" for part, amount in task.amounts.items())
        what = f"no image to train on, of {counted(len(task.inside), 'image')}"
        raise UserError(f"{asked} leaves {what}", hint="ask for some: --train 0.7")
    if left := sum(part is None for part in chosen):
        notes.append(f"{counted(left, 'image', verb=('is', 'are'))} in no part, since less than all was asked for")
    notes += _missed(chosen, task, _targets(samples, task, per_class=per_class), extended=old is not None)
    if task.usual:
        empty = [part for part in task.amounts if part not in chosen]
        notes += [f"there are too few images for a {part} part" for part in empty]
    rule = task.rule(per_class=per_class, grouped=any(sample.group for sample in samples))
    if old:
        new = len(samples) - len(fixed)
        rule = f"{counted(len(fixed), 'image')} as in {old.name}, {new:,} new: {rule}"
    root = shown(str(samples.root.resolve()))
    files = tuple(
        replace(sample, path=path_of(Path(root) / below(sample.path, samples.root)), part=part, sha256=content)
        for sample, content, part in zip(samples, hashes, chosen, strict=True)
        if part is not None
    )
    made = Split(
        root=root,
        rule=rule,
        method=BY_RANK if task.inside else READY,
        seed=seed,
        classes=samples.classes,
        files=files,
    )
    return made.model_copy(update={"notes": (*samples.notes, *notes, *of_leaks(made), *of_classes(made))})


def _contents(samples: Samples) -> list[str]:
    """Of each sample; those of a manifest were read when it was."""
    read = iter(hash_files([sample.path for sample in samples if sample.sha256 is None]))
    return [sample.sha256 or next(read) for sample in samples]


def check_amounts(
    samples: Samples,
    *,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    per_class: bool = False,
    keep_split: Path | str | None = None,
    ignore_parts: bool = False,
) -> None:
    """As `split` would refuse these amounts, or an earlier split that is not there; no image is read for it."""
    samples = without_parts(samples) if ignore_parts else samples
    task = _task(samples, _parsed(train, validation, test), _parsed(**USUAL))
    _targets(samples, task, per_class=per_class)
    if keep_split is not None:
        earlier_split(keep_split)


def _parsed(train: str | None, validation: str | None, test: str | None) -> dict[Part, Amount]:
    """The amounts that were said; where others were and training was not, that takes what they leave."""
    said = zip(PARTS, (train, validation, test), strict=True)
    found = {part: parse(part, text) for part, text in said if text is not None}
    if found and train is None and not any(amount.takes_rest for amount in found.values()):
        return {"train": parse("train", REST), **found}
    return found


def without_parts(samples: Samples) -> Samples:
    """As if the data had not come divided."""
    return replace(samples, samples=tuple(replace(sample, part=None) for sample in samples))


@dataclass(frozen=True)
class _Task:
    """What is to be divided (`inside`, by index) into which amounts; the other samples stay in the parts they `came`
    with. `usual`: nobody asked for these amounts.
    """

    inside: tuple[int, ...]
    came: Mapping[int, Part]
    amounts: Mapping[Part, Amount]
    usual: bool

    def rule(self, *, per_class: bool, grouped: bool) -> str:
        words = ", ".join(f"{part} {amount.text}" for part, amount in self.amounts.items())
        how = f"every class alike, files of the same content in one part{', each group in one part' if grouped else ''}"
        each = " of each class" if per_class else ""
        if not self.came:
            return f"{words}{each}; {how}"
        if not self.amounts:
            return CAME_DIVIDED
        if self.usual:
            return f"{CAME_DIVIDED}; validation taken from train ({CARVED}), {how}"
        return f"{CAME_DIVIDED}, its train part into {words}{each}; {how}"


def _task(samples: Samples, amounts: dict[Part, Amount], usual: dict[Part, Amount]) -> _Task:
    came: dict[int, Part] = {index: sample.part for index, sample in enumerate(samples) if sample.part}  # type: ignore[misc]
    if not came:
        return _Task(tuple(range(len(samples))), {}, amounts or usual, not amounts)
    if homeless := [sample.path.name for sample in samples if not sample.part]:
        raise UserError(
            f"{counted(len(homeless), 'image', verb=('has', 'have'))} no part, while others have one",
            listed(homeless),
            hint="name a part for each",
        )
    ready = set(came.values())
    if torn := [part for part in amounts if part in ready - {"train"} or "train" not in ready]:
        asked = " and ".join(f"--{part} {amounts[part].text}" for part in torn)
        raise UserError(
            f"{samples.root} comes divided, and {asked} would divide it otherwise",
            [f"it has {sizes(samples)}"],
            hint=f"leave {asked} out, or the recipe that says so; or --ignore-parts divides all of it anew",
        )
    inside = tuple(index for index, part in came.items() if part == "train")
    if amounts:
        rest = {} if "train" in amounts else {"train": Amount(REST)}
        return _Task(inside, came, {**rest, **amounts}, False)  # type: ignore[dict-item]
    if "validation" in ready or "train" not in ready:
        return _Task((), came, {}, True)
    return _Task(inside, came, {"train": Amount(REST), "validation": parse("validation", CARVED)}, True)


def sizes(samples: Samples) -> str:
    """How many images each part has that the data came with."""
    sizes = Counter(sample.part for sample in samples)
    return ", ".join(f"{part} ({counted(sizes[part], 'image')})" for part in PARTS if sizes[part])


@dataclass(frozen=True)
class _Unit:
    """Samples that may not be parted, by index; `counts` of each class."""

    key: str
    members: tuple[int, ...]
    counts: Counter[str]


def _units(samples: Sequence[Sample], hashes: Sequence[str], inside: Sequence[int], seed: int) -> list[_Unit]:
    """Samples joined by content or group, in an order that seed, contents and the names of groups decide.

    A group is known by its name: it keeps its place when it gets more images.
    """
    parent = {index: index for index in inside}

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index in inside:
        group = samples[index].group
        for mark in (("content", hashes[index]), *((("group", group),) if group else ())):
            parent[root(index)] = root(first.setdefault(mark, index))
    members: dict[int, list[int]] = defaultdict(list)
    for index in inside:
        members[root(index)].append(index)

    def place(index: int) -> str:
        group = samples[index].group
        mark = f"{seed}:group:{group}" if group else f"{seed}:{hashes[index]}"
        return hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()

    units = [
        _Unit(min(map(place, indices)), tuple(indices), Counter(samples[index].label for index in indices))
        for indices in members.values()
    ]
    return sorted(units, key=lambda unit: unit.key)


def _divide(
    samples: Samples,
    hashes: Sequence[str],
    task: _Task,
    *,
    per_class: bool,
    seed: int,
    fixed: Mapping[int, Part],
) -> list[Part | None]:
    """The part of each sample, or None where less than all was asked for.

    Along the order of hashes each part takes what brings it nearer to its count, test first. So an image has its place
    by itself, and where there are more of them, only those near the places where two parts meet change sides.
    """
    chosen: list[Part | None] = [task.came.get(index) for index in range(len(samples))]
    if not task.amounts:
        return chosen
    inside = task.inside
    wanted = _targets(samples, task, per_class=per_class)
    need = {part: Counter(of_class) for part, of_class in wanted.items()}
    free: list[_Unit] = []

    def put(unit: _Unit, part: Part) -> None:
        for index in unit.members:
            chosen[index] = fixed.get(index, part)
        if part in need:
            need[part].subtract(unit.counts)

    for unit in _units(samples.samples, hashes, inside, seed):
        known = {fixed[index] for index in unit.members if index in fixed}
        if known:  # of an old group in several parts, what is new belongs to the one that was learned from
            put(unit, min(known, key=PARTS.index))
        else:
            free.append(unit)
    for part in (part for part in WALK if part in need):
        free = _walk(free, part, need[part], put, alone=part == "train" or "train" not in need)
    rest = [part for part, amount in task.amounts.items() if amount.takes_rest]
    if rest or sum(sum(of_class.values()) for of_class in wanted.values()) >= len(inside):
        for unit in free:
            put(unit, max(need, key=lambda part: (_gain(unit, need[part]), part in rest)))
    else:
        for unit in free:
            for index in unit.members:
                chosen[index] = None
    return chosen


def _targets(samples: Samples, task: _Task, *, per_class: bool) -> Targets:
    counts = Counter(samples.samples[index].label for index in task.inside)
    return targets(counts, task.amounts, per_class=per_class, usual=task.usual) if task.amounts else {}


def _missed(chosen: Sequence[Part | None], task: _Task, wanted: Targets, *, extended: bool) -> list[str]:
    """Of each number that was asked for and not met, what there is."""
    why = "what the earlier split knows stays in its part" if extended else "groups and twins stay whole"
    had = Counter(chosen[index] for index in task.inside)
    asked = {part: sum(wanted[part].values()) for part, amount in task.amounts.items() if amount.count is not None}
    return [
        f"the {part} part has {counted(had[part], 'image')}, not the {number:,} that were asked for: {why}"
        for part, number in asked.items()
        if had[part] != number
    ]


def _walk(
    free: list[_Unit], part: Part, need: Counter[str], put: Callable[[_Unit, Part], None], *, alone: bool
) -> list[_Unit]:
    """Put into a part what brings it nearer to what it needs, and where nothing does, what takes it least beyond; not
    the last that there is, unless it stands `alone`. Gives back what is left.
    """
    left, wanted = list[_Unit](), sum(need.values())
    taken = wanted <= 0
    for unit in free:
        if _gain(unit, need) > 0:
            put(unit, part)
            taken = True
        else:
            left.append(unit)
    if not taken and len(left) > (0 if alone else 1):
        nearest = max(left, key=lambda unit: _gain(unit, need))
        put(nearest, part)
        left.remove(nearest)
    return left


def _gain(unit: _Unit, need: Counter[str]) -> int:
    """By how many images a part comes nearer to what it needs with the unit; less than 0 where it gets further away."""
    return sum(abs(need[name]) - abs(need[name] - count) for name, count in unit.counts.items())
