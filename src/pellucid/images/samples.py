"""What an image is to us: a sample, all samples of a source, and how a person says that they are to be read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from pellucid.records import Described

Kind = Literal["auto", "class-folders", "split-folders", "table", "file-names", "manifest"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled image. `part` is "train", "validation" or "test" where the data comes divided."""

    path: Path
    label: str
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Samples:
    """All images of a source. `classes` are in plain string order; `left_out` are files that are not used, and why.

    `notes` say what was decided while reading, for those who did not ask: the split takes them over.
    """

    root: Path
    kind: str
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    left_out: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def counts(self) -> dict[str, int]:
        """Images per class, in the order of the classes."""
        found = Counter(sample.label for sample in self.samples)
        return {name: found[name] for name in self.classes}


class Source(Described):
    """How data is to be read, where looking at it is not enough.

    A column that is named has to be there; of those that are not, split and group are used where a table has them.
    An empty name means none.
    """

    kind: Kind = "auto"
    """How DATA is to be read, where looking at it is not enough: class-folders, split-folders, table, file-names."""
    path_column: str | None = None
    """The table's column of paths. Default: path."""
    label_column: str | None = None
    """The table's column of labels. Default: label."""
    split_column: str | None = None
    """The table's column of ready-made parts. Default: split, where the table has it; '' for none."""
    group_column: str | None = None
    """The table's column of groups. Default: group, where the table has it; '' for none."""
    labels: str | None = None
    """A table of labels beside a flat folder."""
    label_from: str | None = None
    """A pattern on the file name that captures the label: '^(?P<label>[HNP])'."""
    map: dict[str, str] = Field(default_factory=dict)
    """What labels mean, all of them: P=pm,H=nonpm,N=nonpm."""
    group_from: str | None = None
    """A pattern on the path below DATA that captures the group, (?P<group>...); a group is never divided."""
    leave_out: tuple[str, ...] = ()
    """A folder of DATA that is not read: its name, at whatever level, or its path. Say it again for another."""

    @field_validator("leave_out", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """One of them may stand alone."""
        return (given,) if isinstance(given, str) else given


# What the fields are called as flags and arguments, beside others: --source, and as they are.
READING = {"source" if name == "kind" else name: name for name in Source.model_fields}
