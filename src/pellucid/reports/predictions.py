"""Predictions as lines: what `predict` says of each image. Without rich, whose import takes longer."""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

from pellucid.names import in_a_line
from pellucid.reports.words import percent
from pellucid.uses.predict import COLUMNS, Failure, Prediction

Format = Literal["text", "json", "csv"]


def prediction_header(form: Format) -> str | None:
    """The line before the first prediction; only CSV has one."""
    return _csv_line(COLUMNS) if form == "csv" else None


def prediction_line(predicted: Prediction | Failure, form: Format) -> str:
    """One prediction, or the reason why there is none, as one line (a CSV field may hold the name's own line breaks).

    Text names the runner-up where the model is not sure. JSON has all classes, best first.
    """
    match form:
        case "json":
            return predicted.line()
        case "csv":
            row = predicted.row()
            return _csv_line([row.get(column) for column in COLUMNS])
        case "text":
            return _prediction_words(predicted)


def _prediction_words(predicted: Prediction | Failure) -> str:
    name = in_a_line(predicted.name or "image")
    if isinstance(predicted, Failure):
        return f"{name}: error: {predicted.error}"
    words = f"{name}: {in_a_line(predicted.best)} {percent(predicted.probability)}"
    if predicted.sure or len(predicted.ranking) < 2:
        return words
    others = [(other, probability) for other, probability in predicted.ranking if other != predicted.best]
    return f"{words}, not sure ({in_a_line(others[0][0])} {percent(others[0][1])})"


def _csv_line(fields: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(fields)  # with its own line end, or a lone \r in a name would not be quoted
    return text.getvalue().removesuffix("\r\n")
