"""What is known of a network, one row per layer: the records that counting makes, watching makes, and reports show."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from pellucid.architectures.main_path import MainPath

ADDED = "add"  # what a residual unit's last row is called: its sum, and the ReLU after it


@dataclass(frozen=True)
class LayerRow:
    """One layer. Shapes are torch's, the output's with the batch; multiply-adds are for one image.

    `called` is its name in another library, whose shapes then are that library's; "" where it was not asked for.
    `field` and `stride` are in input pixels; `memory` is what the output takes, in bytes of float32. What is not known
    of a layer is None: never 0, which would be an answer.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    weight: tuple[int, ...]
    bias: tuple[int, ...]
    norm: tuple[int, ...]
    parameters: int
    multiply_adds: int | None
    field: tuple[int, int] | None
    stride: int | None
    memory: int
    called: str = ""

    @property
    def end_point(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Totals:
    """Sums over layers. `uncounted`: of so many the multiply-adds are not known, and the sum is of the others.

    That is None where it would be a sum of none.
    """

    parameters: int
    multiply_adds: int | None
    memory: int
    uncounted: int = 0

    @classmethod
    def of(cls, rows: Sequence[LayerRow]) -> "Totals":
        """The sums of the rows."""
        known = [row.multiply_adds for row in rows if row.multiply_adds is not None]
        uncounted = len(rows) - len(known)
        return cls(
            parameters=sum(row.parameters for row in rows),
            multiply_adds=None if uncounted and not any(known) else sum(known),
            memory=sum(row.memory for row in rows),
            uncounted=uncounted,
        )


@dataclass(frozen=True)
class EndPoint:
    """What leaves an end point, and the sums of the rows that lead to it."""

    name: str
    output: tuple[int, ...]
    field: tuple[int, int] | None
    stride: int | None
    layers: int
    totals: Totals


@dataclass(frozen=True)
class Structure:
    """A network, layer by layer, in the order of execution; `totals` are the sums of the rows, `ends` by end point.

    `classes` is None for a module that gives no vector for each image. `main_path` leads to the last end point that is
    no auxiliary head; None where it is not known. `conventions` are those of a network of ours. `names` says whose
    names and axes rows and ends have, besides ours.
    """

    name: str
    size: int
    batch: int
    classes: int | None
    rows: tuple[LayerRow, ...]
    totals: Totals
    ends: tuple["EndPoint", ...]
    main_path: MainPath | None = None
    conventions: str | None = None
    names: str | None = None

    def to_json(self) -> str:
        """Everything as one JSON object."""
        return json.dumps(asdict(self))

    def to_csv(self) -> str:
        """One line per layer, under a heading; shapes as 64x3x7x7."""
        out = io.StringIO()
        lines = csv.DictWriter(out, [field.name for field in fields(LayerRow)], lineterminator="\n")
        lines.writeheader()
        for row in self.rows:
            values = asdict(row)
            lines.writerow(
                {
                    name: "x".join(map(str, value)) if isinstance(value, tuple) else value
                    for name, value in values.items()
                }
            )
        return out.getvalue()

    def __str__(self) -> str:
        """One line per layer, as the ResNet tutorial prints it: name, output, weight, and bias or norm shapes."""
        return "\n".join(
            " ".join(
                [
                    row.called or row.name,
                    str(list(row.output)),
                    *(str(list(s)) for s in (row.weight, row.bias or row.norm) if s),
                ]
            )
            for row in self.rows
        )
