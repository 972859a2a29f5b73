"""What a reader should know of a split before anything is learned from it: twins, leaks, classes that are missing."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pellucid.errors import counted
from pellucid.images.amounts import PARTS
from pellucid.images.labels import lacking
from pellucid.images.manifest import READY, Split
from pellucid.images.samples import Samples

SHOWN = 5


def of_twins(samples: Samples, hashes: Sequence[str]) -> Iterator[str]:
    """Exact copies, and what is labelled in two ways."""
    labels: dict[str, set[str]] = defaultdict(set)
    for sample, content in zip(samples, hashes, strict=True):
        labels[content].add(sample.label)
    if twins := len(hashes) - len(labels):
        yield f"{twins:,} images are exact copies of others" if twins > 1 else "1 image is an exact copy of another"
    if torn := sum(len(names) > 1 for names in labels.values()):
        yield f"{counted(torn, 'image', verb=('lies', 'lie'))} in two classes at once: one of the labels is wrong"


def of_leaks(split: Split) -> Iterator[str]:
    """Contents and groups that lie in more than one part."""
    where: dict[str, set[str]] = defaultdict(set)
    for part in PARTS:
        for file in split.part(part):
            where[file.content].add(part)
    if across := sum(len(parts) > 1 for parts in where.values()):
        came = " that the data came with" if split.method == READY else ""
        lie = counted(across, "image", verb=("lies", "lie"))
        yield f"{lie} in more than one of the parts{came}, which makes the result look better than it is"
    if divided := divided_groups(split):
        yield f"{divided}, which makes the result look better than it is"


def divided_groups(split: Split) -> str:
    """How many groups lie in several parts, and which; empty where none does."""
    groups = split.groups()
    divided = {name: parts for name, parts in sorted(groups.items()) if len(parts) > 1}
    if not divided:
        return ""
    named = [f"{name} ({', '.join(part for part in PARTS if part in parts)})" for name, parts in divided.items()]
    shown = _some(named)
    of = f"{len(divided):,} of {counted(len(groups), 'group')}"
    return f"{of} {'lies' if len(divided) == 1 else 'lie'} in more than one part: {shown}"


def of_classes(split: Split) -> Iterator[str]:
    """Parts that cannot speak of every class."""
    if len(split.classes) < 2:
        return
    counts = split.counts()
    for part in ("validation", "test"):
        there = [name for name in split.classes if counts[part][name]]
        if len(there) == 1:
            yield (
                f"all {part} images are of one class, {there[0]}: how often they are right says nothing of telling "
                "classes apart"
            )
            counts.pop(part)
    yield from lacking(counts)


def emptied(part: str) -> str:
    """Of a part of which nothing is left, since all of it was left out."""
    return f"no image of the {part} part can be read: it is empty"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
