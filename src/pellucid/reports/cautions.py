"""What is uncertain or weak about a result, said before anybody has to ask. Each caution is one or two sentences."""

from collections import Counter
from collections.abc import Iterator

from pellucid.errors import counted
from pellucid.images.manifest import Split
from pellucid.reports.history import History
from pellucid.reports.spending import starving
from pellucid.reports.words import bounds, listed_words, percent
from pellucid.runs.evaluation import Evaluation
from pellucid.runs.events import PixelsReady

FEW = 10  # images of a class below which its own figures say little
FEW_TO_LEARN = 20  # training images of a class
WIDE = 0.03  # half of the accuracy's interval
UNEVEN = 3  # the largest class over the smallest


def of_evaluation(evaluation: Evaluation) -> Iterator[str]:
    """What weakens the figures themselves."""
    supports = {result.name: result.support for result in evaluation.per_class}
    yield from (f"{note[:1].upper()}{note[1:]}." for note in evaluation.notes)
    present = [name for name, support in supports.items() if support]
    if len(present) == 1 and len(supports) > 1:
        yield (
            f"All of these images are of one class, {present[0]}: the accuracy is the share of them that the model "
            f"recognised. It does not say how often the model takes images of other classes for {present[0]}."
        )
    yield from _of_accuracy(evaluation, supports)
    if few := [f"{name} ({n})" for name, n in supports.items() if n < FEW]:
        shown = few if len(few) <= 6 else [*few[:5], f"{len(few) - 5} more classes"]
        yield f"Few images of {listed_words(shown)} were measured: the figures of such a class say little."
    if (uneven := _uneven(supports)) and len(supports) > 1:
        yield f"{uneven} Read the balanced accuracy and each class's recall rather than the accuracy."
    if evaluation.seen_in_training and evaluation.part != "train":
        were = "was" if evaluation.seen_in_training == 1 else "were"
        yield (
            f"{evaluation.seen_in_training:,} of these images {were} among those of the training, perhaps under "
            "another name. So these figures are too good: measure on images that the model has never seen."
        )
    if evaluation.left_out:
        reasons = Counter(left_out.reason for left_out in evaluation.left_out)
        listed = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
        counting = counted(len(evaluation.left_out), "file was", "files were")
        yield f"{counting} left out of the measurement: {listed}."


def _of_accuracy(evaluation: Evaluation, supports: dict[str, int]) -> Iterator[str]:
    accuracy = evaluation.accuracy
    if accuracy.low is None or accuracy.high is None:
        return
    if accuracy.high - accuracy.low > 2 * WIDE:
        yield (
            f"From {counted(accuracy.n, 'image')}, the accuracy is known only to lie within {bounds(accuracy)} %. "
            "Four times as many images would halve that interval."
        )
    commonest = max(supports, key=lambda name: supports[name])
    share = supports[commonest] / accuracy.n
    if accuracy.low <= share < 1:
        yield (
            f"Always answering {commonest} would be right for {percent(share)} of these images. "
            "The interval of the accuracy does not lie above that, so it is not shown that the model learned anything "
            "useful."
        )
    if evaluation.part == "validation":
        yield (
            "The accuracy was measured on the validation images, by which the best epoch and the calibration were "
            "chosen. Expect somewhat less on new images, and measure on images that had no part in the training."
        )
    elif evaluation.part == "train":
        yield "The accuracy was measured on the images that the model learned from: on new images it may be much lower."


def of_no_evaluation(history: History) -> Iterator[str]:
    """What is missing where nothing was evaluated."""
    if history.best:
        yield (
            "The best weights have not been evaluated. The figure is from the validation images, by which the best of "
            f"{counted(len(history.laps), 'epoch')} was chosen: expect somewhat less on new images."
        )
    else:
        yield "Nothing has been measured yet."


def of_split(split: Split) -> Iterator[str]:
    """What weakens the data that was learned from."""
    if few := _few_to_learn(split):
        yield f"There were few training images of {few}."
    if uneven := _uneven_train(split):
        yield f"In the train part, {uneven[:1].lower()}{uneven[1:]}"
    if "validation" in (lacking := _lacking(split)):
        yield (
            "There were no validation images: the model has the weights of the last epoch, best or not, and its "
            "probabilities are not calibrated."
        )
    if "test" in lacking:
        yield "No images were set apart for a test: measure the model on images that had no part in the training."


def of_division(split: Split) -> Iterator[str]:
    """What is weak about a division that nobody has learned from yet."""
    if few := _few_to_learn(split):
        yield f"The train part has few images of {few}."
    if uneven := _uneven_train(split):
        yield f"In the train part, {uneven[:1].lower()}{uneven[1:]}"
    if lacking := _lacking(split):
        yield f"There is no {' and no '.join(lacking)} part."


def _few_to_learn(split: Split) -> str:
    """The classes with few training images, and how many each has; "" where there are none."""
    train = split.counts().get("train", {})
    few = [f"{name} ({train.get(name, 0)})" for name in split.classes if train.get(name, 0) < FEW_TO_LEARN]
    shown = few if len(few) <= 6 else [*few[:5], f"{len(few) - 5} more classes"]
    return listed_words(shown) if few else ""


def _uneven_train(split: Split) -> str:
    train = split.counts().get("train", {})
    return _uneven({name: train.get(name, 0) for name in split.classes})


def _lacking(split: Split) -> list[str]:
    """The parts, of those that measure, that hold no image."""
    counts = split.counts()
    return [part for part in ("validation", "test") if not sum(counts.get(part, {}).values())]


def of_training(history: History) -> Iterator[str]:
    """What the course of training says."""
    if history.failed:
        yield f"Training ended with an error: {history.failed.problem}."
    elif history.stopped is None:
        yield "Training had not ended when this was written: it was still running, or it was killed."
    elif history.stopped.why == "interrupted":
        epochs = history.started.epochs if history.started else history.stopped.epoch
        done = f"{history.stopped.epoch} of {counted(epochs, 'epoch')}"
        yield f"Training was interrupted after {done}: with the others the model may improve."
    if history.stopped:
        pixels = next((event for event in history.transfer if isinstance(event, PixelsReady)), None)
        if said := starving(history.stopped.spent, history.started, pixels):
            yield said
    best, last = history.best, history.laps[-1] if history.laps else None
    if not (best and last):
        return
    if history.stopped and history.stopped.why == "finished" and best.epoch == last.epoch and len(history.laps) > 1:
        yield "The last epoch was the best, so the model was still improving: more epochs may help."
    learned = next((lap.learned for lap in history.laps if lap.epoch == best.epoch), None)
    if learned and (learned.accuracy.low or 0.0) > (best.accuracy.high or 1.0):
        yield (
            f"The model is right about more of its training images ({percent(learned.accuracy.value)}) than of the "
            f"validation images ({percent(best.accuracy.value)}): it learned some by heart. More images, or more "
            "varied ones, help against that."
        )


def _uneven(counts: dict[str, int]) -> str:
    """A sentence where the classes are of very different sizes; empty where they are not."""
    present = {name: n for name, n in counts.items() if n}
    if len(present) < 2:
        return ""
    most, least = max(present, key=lambda name: present[name]), min(present, key=lambda name: present[name])
    times = present[most] / present[least]
    return f"There are {times:.0f} times as many images of {most} as of {least}." if times >= UNEVEN else ""
