"""The images of report.html: which are shown, what is written under them, and how much space each may take."""

from dataclasses import dataclass

from PIL import Image

from pellucid.images.manifest import Split
from pellucid.reports.confusions import Confused, most_confused
from pellucid.reports.picks import mistakes, right, spread, spread_by_class
from pellucid.reports.thumbnails import Thumbnail, thumbnail
from pellucid.runs.evaluation import Evaluation, Judged
from pellucid.runs.first_batch import FirstBatch

BATCH = 8  # images of the first batch, each beside its file
BATCH_BYTES = 25_000  # of each of these
IMAGE_BYTES = (
    4_300_000 - 2 * BATCH * BATCH_BYTES
)  # of all images together; text, tables and script have the rest of the 5 MB
CLASS_BYTES = 2_500  # that each class takes of it, for its rows in two tables
FEWEST_BYTES = 1_000_000
SAMPLES, CONFIDENT, OTHER_WRONG, RIGHT = 24, 8, 24, 16  # images shown of each kind
MOST_SAMPLED = 40  # where there are more classes than SAMPLES: one image each, of so many


@dataclass(frozen=True)
class Tile:
    """An image in a grid, with what is written under it; `said` is None where nothing was."""

    thumbnail: Thumbnail
    name: str
    truth: str
    said: str | None = None
    probability: float | None = None

    @property
    def good(self) -> bool | None:
        return None if self.said is None else self.said == self.truth


@dataclass(frozen=True)
class Results:
    """What an evaluation shows, ready to be drawn."""

    evaluation: Evaluation
    confused: list[Confused]
    mistakes: int
    confident: list[Tile]
    other: list[Tile]
    right: list[Tile]


def draw(split: Split, evaluation: Evaluation | None) -> tuple[list[Tile], Results | None]:
    """Samples of the training images, and the evaluated ones where there are any."""
    most = min(max(SAMPLES, len(split.classes)), MOST_SAMPLED)
    samples = spread_by_class(split.part("train"), split.classes, lambda file: file.label, most)
    wrong, good = [], []
    if evaluation:
        wrong = mistakes(evaluation)[: CONFIDENT + OTHER_WRONG]
        good = spread_by_class(right(evaluation), spread(split.classes, RIGHT), lambda judged: judged.truth, RIGHT)
    room = max(FEWEST_BYTES, IMAGE_BYTES - CLASS_BYTES * len(split.classes))
    most_bytes = room // max(1, len(samples) + len(wrong) + len(good))
    sampled = [Tile(thumbnail(file.path, most_bytes=most_bytes), split.below(file), file.label) for file in samples]
    if evaluation is None:
        return sampled, None
    tiles = [_tile(evaluation, judged, most_bytes) for judged in (*wrong, *good)]
    return sampled, Results(
        evaluation=evaluation,
        confused=most_confused(evaluation),
        mistakes=len(mistakes(evaluation)),
        confident=tiles[: min(CONFIDENT, len(wrong))],
        other=tiles[CONFIDENT : len(wrong)],
        right=tiles[len(wrong) :],
    )


def _tile(evaluation: Evaluation, judged: Judged, most_bytes: int) -> Tile:
    drawn = thumbnail(evaluation.location(judged), most_bytes=most_bytes)
    return Tile(drawn, judged.path, judged.truth, judged.best, judged.probability)


def seen(batch: FirstBatch | None) -> list[Tile]:
    """The first files of a batch, each with what the network saw of it beside; [] where no batch was kept."""
    if batch is None:
        return []
    shown, tiles = batch.shown, list[Tile]()
    for place, path in enumerate(shown.files[:BATCH]):
        drawn = thumbnail(Image.fromarray(batch.pixels[place]), most_bytes=BATCH_BYTES)
        learned = shown.labels[place].replace("\n", ", ")
        tiles += [
            Tile(thumbnail(batch.file(place), most_bytes=BATCH_BYTES), path, shown.classes[place]),
            Tile(drawn, f"{path} as the network saw it", learned),
        ]
    return tiles
