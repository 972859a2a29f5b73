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
    """A labelled image. `part` is "train", "validation" or "test" where the data is divided, `sha256` the hash of the
    file's content where that was read: in a split, both are known.
    """

    path: Path
    label: str
    part: str | None = None
    group: str | None = None
    sha256: str | None = None

    @property
    def content(self) -> str:
        """The hash, where it is known."""
        assert self.sha256 is not None, f"{self.path} was not read yet"
        return self.sha256


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
    """How DATA is read. class-folders: a folder for each class. split-folders: such folders inside train/, validation/
    and test/. table: a file with a row for each image. file-names: the file names hold the labels. manifest: what
    `pellucid split` wrote. auto: as DATA looks.
    """
    path_column: str | None = None
    """The table's column that holds the paths of the images. Default: path."""
    label_column: str | None = None
    """The table's column that holds the labels. Default: label."""
    split_column: str | None = None
    """The table's column that holds each image's part: train, validation or test. '' means no column. Default: split,
    where the table has such a column.
    """
    group_column: str | None = None
    """The table's column that says which images belong together, such as all of one patient; they are never divided
    between parts. '' means no column. Default: group, where the table has such a column.
    """
    labels: str | None = None
    """A table that holds the labels of the images, where DATA is one flat folder. Default: none."""
    label_from: str | None = None
    """A regular expression for the file name, whose group `label` is the label: '^(?P<label>[HNP])' takes H from
    H0012.jpg. Default: none.
    """
    map: dict[str, str] = Field(default_factory=dict)
    """The class that each label means, for all labels: P=pm,H=nonpm,N=nonpm. Default: each label is a class."""
    group_from: str | None = None
    """A regular expression for the path below DATA, whose group `group` says which images belong together and are never
    divided between parts: '(?P<group>p[0-9]+)_' takes p17 from pm/p17_left.jpg. Default: none.
    """
    leave_out: tuple[str, ...] = ()
    """A folder inside DATA that is not read: its name, at any level, or its path. Repeat this for each such folder.
    Default: none.
    """

    @field_validator("leave_out", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """One of them may stand alone."""
        return (given,) if isinstance(given, str) else given


# What the fields are called as flags and arguments, beside others: --source, and as they are.
READING = {"source" if name == "kind" else name: name for name in Source.model_fields}
