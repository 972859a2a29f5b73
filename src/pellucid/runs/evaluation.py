"""What a model was worth on some images: the record, and the one that a run keeps of its own."""

from pathlib import Path

from pellucid.errors import counted
from pellucid.images.manifest import Split
from pellucid.measures.intervals import Measured
from pellucid.names import path_of
from pellucid.records import Record, read_text, write
from pellucid.runs.locating import locate
from pellucid.runs.run_folder import RunFolder


class ClassResult(Record):
    """One class: `support` images are of it; precision and F1 are undefined where none was called so."""

    name: str
    precision: Measured
    recall: Measured
    f1: Measured
    support: int


class Judged(Record):
    """One image: its truth, what it was called, and the probabilities of both. `path` is below the root."""

    path: str
    truth: str
    best: str
    probability: float
    of_truth: float
    sha256: str


class LeftOut(Record):
    """An image that counts nowhere, and why."""

    path: str
    reason: str


class Evaluation(Record):
    """What a model is worth on some images. `data` is as the user named it, `root` where its paths start.

    `part` is None for data that is not divided. `seen_in_training` counts images whose content the model was trained
    on; None where its training is not known (no run folder). `roc_auc` and `average_precision` are of the second
    class against the first, None with more than two. `confusion` has the truth in rows, both in the order of
    `classes`. `fingerprint` is that of the contents and labels (images.manifest), `notes` what was
    decided in reading them.
    """

    model: str
    data: str
    root: str | None = None
    part: str | None
    fingerprint: str
    n: int
    seen_in_training: int | None = None
    classes: tuple[str, ...]
    threshold: float | None
    accuracy: Measured
    balanced_accuracy: Measured
    log_loss: Measured
    roc_auc: Measured | None
    average_precision: Measured | None
    per_class: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    predictions: tuple[Judged, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()
    seconds: float
    images_per_second: float

    def location(self, judged: Judged) -> Path:
        """Where the image lies."""
        return path_of(Path(self.root or self.data) / judged.path)


def keep_evaluation(evaluation: Evaluation) -> str:
    """Keep it as the evaluation of the run whose best weights it measured, in place of an earlier one.

    Only what the run kept for it may become that, as the report speaks of it and `pellucid runs` lists it: all of its
    test part, or of validation where it kept no test. Returns "" where it is kept, else why not. Raises UserError
    where it cannot be written.
    """
    model = locate(evaluation.model)
    run = RunFolder(model.parent)
    if model != run.model or not run.is_there():
        return f"{model} is not the best model of a run"
    split = run.split()
    part = own_part(split)
    if evaluation.part != part:
        of = f"the {evaluation.part} part of {evaluation.data}" if evaluation.part else evaluation.data
        return f"it measured {of}, and a run keeps the measurement of its own {part} images"
    own = split.model_copy(update={"files": split.part(part)})
    if evaluation.fingerprint != own.fingerprint():
        return f"it measured {counted(evaluation.n, 'image')}, which are not the run's {len(own.files):,} {part} images"
    write_evaluation(evaluation, run)
    return ""


def write_evaluation(evaluation: Evaluation, run: RunFolder) -> Path:
    """Write it as the run's evaluation.json, in place of an earlier one; see keep_evaluation for what may become it."""
    write(run.evaluation_path, evaluation.to_json())
    return run.evaluation_path


def read_evaluation(run: RunFolder) -> Evaluation:
    """The run's evaluation; UserError where it has none."""
    text = read_text(run.evaluation_path, hint=f"`pellucid evaluate {run.path}` makes it")
    return Evaluation.from_json(text, str(run.evaluation_path), hint=f"`pellucid evaluate {run.path}` makes it anew")


def own_part(split: Split) -> str:
    """The part that a run is measured on where no other is named."""
    return "test" if split.part("test") else "validation"
