"""The picture of predictions that `predict --grid` writes, and what its images are in truth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pellucid.errors import UserError, counted, nearest
from pellucid.uses.predict import Failure, Prediction

FOLDERS = "folders"
MOST = 48
PATH = "path"
Truth = Callable[[str], str | None]


class Columns(NamedTuple):
    """What the columns of tables are called: of paths, in the table of images and in that of labels, and of labels."""

    path: str = PATH
    label: str | None = None


class Grid:
    """Takes what was said of each image as it comes, without the images; drawn at the end."""

    def __init__(
        self, path: Path, truth: str | None, classes: Sequence[str], *, most: int | None, columns: Columns
    ) -> None:
        self.path, self.classes, self.most = path, classes, most or MOST
        self.truth = None if truth is None else truth_of(truth, classes, columns)
        self.said: list[Prediction | Failure] = []

    def take(self, predicted: Prediction | Failure) -> None:
        brief = predicted.model_copy(update={"ranking": ()}) if isinstance(predicted, Prediction) else predicted
        self.said.append(brief)

    def write(self) -> list[str]:
        """Draw them; returns what should be told beside it."""
        from pellucid.reports.pictures import prediction_grid, save

        if not self.said:
            return [f"{self.path} is not written: there is no image to show"]
        truth = None if self.truth is None else [self.truth(one.name or "") for one in self.said]
        told = [f"the picture is {self.path}"]
        if len(self.said) > self.most:
            told = [f"the picture is {self.path}, of {self.most} of {len(self.said):,} images; --most shows more"]
        if truth is not None:
            told += self._unknown(truth)
            truth = [name if name in self.classes else None for name in truth]
        save(prediction_grid(self.said, truth=truth, most=self.most), self.path)
        return told

    def _unknown(self, truth: Sequence[str | None]) -> list[str]:
        strange = [name for name in truth if name is not None and name not in self.classes]
        words = []
        if strange:
            kinds = ", ".join(sorted(set(strange))[:5])
            words.append(
                f"{counted(len(strange), 'image')} of no class that the model knows ({kinds}): neither right nor wrong"
            )
        if missing := sum(name is None for name in truth):
            words.append(f"{counted(missing, 'image')} without a label: neither right nor wrong")
        return words


def truth_of(truth: str, classes: Sequence[str], columns: Columns) -> Truth:
    """What an image with a given name is in truth: by the folder it lies in, by a table, or all the same class.

    Raises UserError for what is none of these. Of an image that the table does not list, or whose label the model does
    not know, nobody can tell.
    """
    from pellucid.images.tables import TABLES

    if truth == FOLDERS:
        return lambda name: Path(name).absolute().parent.name
    if truth in classes:
        return lambda _: truth
    if Path(truth).suffix.lower() in TABLES:
        known = _listed(Path(truth), columns)
        return lambda name: known.get(Path(name).resolve())
    right = nearest(truth, [*classes, FOLDERS])
    raise UserError(
        f"--truth {truth!r} is neither {FOLDERS}, nor a table, nor a class of the model",
        [f"it knows {', '.join(classes[:10])}"],
        hint=f"did you mean {right}?" if right else "folders: an image is what the folder it lies in is called",
    )


def _listed(table: Path, columns: Columns) -> dict[Path, str]:
    from pellucid.images.samples import Source
    from pellucid.images.sources import read_samples

    source = Source(kind="table", path_column=columns.path, label_column=columns.label)
    try:
        read = read_samples(table, source)
    except UserError:
        if columns.path == PATH:
            raise
        read = read_samples(table, source.model_copy(update={"path_column": PATH}))  # it was said of the images' table
    return {sample.path.resolve(): sample.label for sample in read}
