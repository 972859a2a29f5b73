"""An earlier split that is extended: what it knows stays in its part, and what is new is for others to divide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pellucid.errors import UserError, counted
from pellucid.images.amounts import PARTS, REST, Amount, Part
from pellucid.images.manifest import Split, read_manifest
from pellucid.images.samples import Sample

SHOWN = 3  # examples in a note


@dataclass(frozen=True)
class Earlier:
    """`name` is what errors and rules call it."""

    name: str
    split: Split

    def shares(self) -> dict[Part, Amount]:
        """What each part has of its images now; the largest takes the rest."""
        sizes = {part: size for part in PARTS if (size := len(self.split.part(part)))}
        total, largest = sum(sizes.values()), max(sizes, key=lambda part: sizes[part])
        shares = {part: Fraction(size, total) for part, size in sizes.items()}
        return {
            part: Amount(REST) if part == largest else Amount(f"{float(100 * share):.3g}%", share=share)
            for part, share in shares.items()
        }

    def places(
        self, samples: Sequence[Sample], paths: Sequence[str], hashes: Sequence[str]
    ) -> tuple[dict[int, Part], list[str]]:
        """The part of each sample whose content is known, by index; and notes of what is gone or has another label.

        Of a content in several parts, that of the same path, else the first of train, validation and test: what was
        learned from measures nothing. Raises UserError where no image is known.
        """
        known: dict[str, list[tuple[Part, Sample]]] = {}
        for part in PARTS:
            for file in self.split.part(part):
                known.setdefault(file.content, []).append((part, file))
        places: dict[int, Part] = {}
        relabelled = []
        for index, (sample, path, content) in enumerate(zip(samples, paths, hashes, strict=True)):
            if files := known.get(content):
                same = [one for one in files if self.split.below(one[1]) == path]
                places[index], there = (same or files)[0]
                if sample.label not in {file.label for _, file in files}:
                    relabelled.append(f"{path} is {sample.label}, was {there.label}")
        if not places:
            raise UserError(
                f"no image of {self.name} is among these", hint="name the split of the same images, or leave it out"
            )
        there_still = set(hashes)
        gone = [self.split.below(file) for file in self.split.files if file.sha256 not in there_still]
        notes = []
        if gone:
            words = counted(len(gone), "image", verb=("is", "are"))
            notes.append(f"{words} in {self.name} and no longer here: {_some(gone)}")
        if relabelled:
            words = counted(len(relabelled), "image", verb=("has", "have"))
            notes.append(f"{words} another label than in {self.name}: {_some(relabelled)}")
        return places, notes

    def check_ready(self, places: Mapping[int, Part], came: Mapping[int, Part], carved: Mapping[Part, Amount]) -> None:
        """Raises UserError where the parts that the data came with say otherwise; its train part may be `carved`."""
        torn = sum(
            index in came and place != came[index] and not (came[index] == "train" and place in carved)
            for index, place in places.items()
        )
        if torn:
            raise UserError(
                f"{counted(torn, 'image', verb=('lies', 'lie'))} in another part of the data than of {self.name}",
                hint="leave --keep-split out, or --ignore-parts takes the parts from it alone",
            )


def earlier_split(place: Path | str) -> Earlier:
    """The split of a run folder, or the manifest at `place`."""
    path = Path(place)
    manifest = path / "split.json" if path.is_dir() else path
    if not manifest.is_file():
        what = "has no split.json, so it is no run folder" if path.is_dir() else "is not there"
        raise UserError(
            f"{path} {what}", hint="--keep-split names a run folder, or a manifest that `pellucid split` wrote"
        )
    found = read_manifest(manifest)
    if not found.files:
        raise UserError(f"{manifest} lists no images", hint="--keep-split names a split that has some")
    return Earlier(str(path), found)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return "; ".join(names[:SHOWN]) + (f"; and {rest:,} more" if rest > 0 else "")
