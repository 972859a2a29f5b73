"""The record of a split, as data and as a file: which image is in which part, by content, and what decided it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetPydanticSchema, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator, field_serializer

from pellucid.errors import UserError, counted, listed
from pellucid.granted import processors
from pellucid.images.amounts import PARTS, Part
from pellucid.images.decode import decoding_threads
from pellucid.images.samples import Sample
from pellucid.names import below, path_of
from pellucid.records import Record, read_text, write

READY, BY_RANK = "ready", "by-rank"  # names of what decides, see Split.method
THREADS = min(8, processors())


class _Line(Record):
    """A sample as JSON has it: `path` is below the split's root, with forward slashes."""

    path: str
    sha256: str
    label: str
    group: str | None
    part: Part


def _sample(given: Any, check: ValidatorFunctionWrapHandler, known: ValidationInfo) -> Sample:
    if isinstance(given, Sample):
        assert given.part and given.sha256, "a split knows the part and the content of each sample"
        return given
    line: _Line = check(given)
    path = path_of(Path(known.data.get("root", "")) / line.path)
    return Sample(path, line.label, line.part, line.group, line.sha256)


# Where JSON is read, a line is checked and becomes a sample.
_Divided = Annotated[Sample, GetPydanticSchema(lambda _, schema: schema(Annotated[_Line, WrapValidator(_sample)]))]


class Split(Record):
    """Which file is in which part, and by which rule. `notes` say what a reader should know of it.

    `files` lie where the root is; as JSON they are named below it. `method` names what decided which image goes where:
    "ready" (the data came divided), "by-rank" (in the order of hashes, docs/decisions/0004), or nothing in manifests
    from before methods had names.
    """

    root: str
    rule: str
    method: str = ""
    seed: int
    classes: tuple[str, ...]
    files: tuple[_Divided, ...]
    notes: tuple[str, ...] = ()

    @field_serializer("files")
    def _lines(self, files: tuple[Sample, ...]) -> list[dict[str, Any]]:
        named = [name for name in _Line.model_fields if name != "path"]
        return [{"path": self.below(file)} | {name: getattr(file, name) for name in named} for file in files]

    def part(self, name: str) -> tuple[Sample, ...]:
        return tuple(file for file in self.files if file.part == name)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images by part, then by class."""
        found = Counter((file.part, file.label) for file in self.files)
        return {part: {name: found[part, name] for name in self.classes} for part in PARTS}

    def groups(self) -> dict[str, set[Part]]:
        """The parts in which each group lies: more than one where it is divided."""
        found: dict[str, set[Part]] = {}
        for part in PARTS:
            for file in self.part(part):
                if file.group is not None:
                    found.setdefault(file.group, set()).add(part)
        return found

    def fingerprint(self) -> str:
        """sha256 over contents and labels alone: order, names and place of the files do not matter."""
        return fingerprint((file.content, file.label) for file in self.files)

    def below(self, file: Sample) -> str:
        """Where the file lies below the root: what errors and reports call it."""
        return below(file.path, path_of(self.root))


def fingerprint(images: Iterable[tuple[str, str]]) -> str:
    """sha256 over the contents' hashes and labels of images, in whatever order."""
    lines = sorted(f"{content} {label}" for content, label in images)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_manifest(parts: Split, path: Path) -> None:
    """Write the split as JSON, whole or not at all. What is there is replaced: see check_manifest_place."""
    write(path, parts.to_json())


def read_manifest(path: Path) -> Split:
    """Raises UserError for what is no manifest, or was edited so that it contradicts itself."""
    text = read_text(path)
    if text.rstrip().endswith(("}", "]")) and not any(f'"{name}"' in text for name in ("root", "rule", "files")):
        raise UserError(
            f"{path} is no split that `pellucid split` wrote, but other JSON",
            hint="labels are read from folders, or from a table: .csv, .tsv, .parquet or .xlsx",
        )
    parts = Split.from_json(text, str(path))
    twice = [name for name, times in Counter(map(parts.below, parts.files)).items() if times > 1]
    strange = sorted({file.label for file in parts.files} - set(parts.classes))
    problems = [f"{name} is listed more than once" for name in twice]
    problems += [f"class {name!r} is not among its classes" for name in strange]
    if problems:
        raise UserError(
            f"{path} contradicts itself",
            listed(problems),
            hint="`pellucid split` writes it anew, or undo what was edited",
        )
    return parts


def hash_files(paths: Sequence[Path]) -> list[str]:
    """sha256 of every file's content, in order."""
    with decoding_threads(THREADS) as pool:
        return list(pool.map(content_hash, paths))


def sha256_of(content: bytes) -> str:
    """sha256 of a file's bytes, where they have been read."""
    return hashlib.sha256(content).hexdigest()


def content_hash(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a file", hint="move it away")  # a pipe, which would never end
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        hint = f"it is a link to {path.readlink()}, where nothing is" if path.is_symlink() else ""
        raise UserError(f"{path} cannot be read: {cause.strerror}", hint=hint) from cause


def check_unchanged(parts: Split, path: Path) -> None:
    """Raises UserError where a file of the manifest at `path` is gone, or has another content than was noted."""
    again = f"write it anew: `pellucid split DATA NEW.json --keep-split {path}` leaves all other images in their parts"
    places = [file.path for file in parts.files]
    if gone := [str(place) for place in places if not place.is_file()]:
        raise UserError(
            f"{path} names {counted(len(gone), 'file')} not to be found",
            listed(gone),
            hint=f"put them back into {parts.root}, or {again}",
        )
    now = hash_files(places)
    if changed := [parts.below(file) for file, content in zip(parts.files, now, strict=True) if file.sha256 != content]:
        raise UserError(
            f"{counted(len(changed), 'file')} of {path} changed after it was written",
            listed(changed),
            hint=f"put them back as they were, or {again}",
        )
