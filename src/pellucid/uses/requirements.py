"""What a result must reach: `--require accuracy=0.9` against an evaluation."""

from collections.abc import Iterator, Mapping, Sequence

from pellucid.errors import UserError, nearest
from pellucid.measures.intervals import Measured
from pellucid.runs.evaluation import Evaluation

OVERALL = ("accuracy", "balanced_accuracy", "log_loss")
OF_TWO_CLASSES = ("roc_auc", "average_precision")
OF_A_CLASS = ("recall", "precision", "f1")


def measure_names(classes: Sequence[str]) -> tuple[str, ...]:
    """What can be required of a model of these classes: accuracy, ..., recall.CLASS, precision.CLASS, f1.CLASS."""
    of_two = OF_TWO_CLASSES if len(classes) == 2 else ()
    return (*OVERALL, *of_two, *(f"{measure}.{name}" for measure in OF_A_CLASS for name in classes))


def check_requirements(requirements: Mapping[str, float], classes: Sequence[str]) -> None:
    """Refuse measures that do not exist and bounds that make no sense, before anything is computed."""
    known = measure_names(classes)
    for name, bound in requirements.items():
        if name not in known:
            right = nearest(name, known)
            general = ", ".join([*known[: -3 * len(classes)], *(f"{measure}.CLASS" for measure in OF_A_CLASS)])
            hint = f"did you mean {right}?" if right else f"known are {general}"
            raise UserError(f"{name!r} cannot be required: there is no such measure here", hint=hint)
        if not bound >= 0 or (bound > 1 and name != "log_loss"):
            hint = "it is 0 or more" if name == "log_loss" else f"it is 0 to 1: 90 % is {name}=0.9"
            raise UserError(f"{name} cannot be required to be {bound:g}", hint=hint)


def unmet(evaluation: Evaluation, requirements: Mapping[str, float]) -> list[str]:
    """A line for each requirement that is not met; [] where all are.

    The measured value counts, not the bounds of its interval, and reaching the requirement exactly is enough; the log
    loss must be at most, everything else at least what is required. What is undefined is not met.
    """
    check_requirements(requirements, evaluation.classes)
    measures = dict(_measures(evaluation))
    return [
        f"{name} is {measures[name].plain(4)}, required is at {'most' if name == 'log_loss' else 'least'} {bound:g}"
        for name, bound in requirements.items()
        if not _met(name, measures[name].value, bound)
    ]


def _met(name: str, value: float | None, bound: float) -> bool:
    return value is not None and (value <= bound if name == "log_loss" else value >= bound)


def _measures(evaluation: Evaluation) -> Iterator[tuple[str, Measured]]:
    for name in (*OVERALL, *OF_TWO_CLASSES):
        if (measured := getattr(evaluation, name)) is not None:
            yield name, measured
    for result in evaluation.per_class:
        for measure in OF_A_CLASS:
            yield f"{measure}.{result.name}", getattr(result, measure)
