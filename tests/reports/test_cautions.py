"""What is weak about a result is said, and nothing of what is strong."""

from typing import Any

import pytest

from pellucid.reports.cautions import of_division, of_evaluation, of_split, of_training
from pellucid.reports.history import history
from pellucid.runs.events import Failed
from tests.reports.made import TIME, evaluation, split, training


@pytest.mark.parametrize(
    ("said", "cautions"),
    [
        ("the accuracy is known only to lie within [82", of_evaluation(evaluation([[45, 5], [5, 45]]))),
        ("by which the best epoch", of_evaluation(evaluation([[45, 5], [5, 45]], part="validation"))),
        ("3 of these images were among", of_evaluation(evaluation([[45, 5], [5, 45]], seen_in_training=3))),
        ("images that the model learned from", of_evaluation(evaluation([[45, 5], [5, 45]], part="train"))),
        ("Always answering bees would be right for 90.9 %", of_evaluation(evaluation([[0, 3], [0, 30]]))),
        ("Few images of ants (3)", of_evaluation(evaluation([[0, 3], [0, 30]]))),
        ("10 times as many images of bees as of ants", of_evaluation(evaluation([[0, 3], [0, 30]]))),
        ("few training images of ants (5) and bees (5)", of_split(split(train=5))),
        ("There were no validation images", of_split(split(validation=0))),
        ("set apart for a test", of_split(split(test=0))),
        ("train part has few images of ants (5) and bees (5)", of_division(split(train=5))),
        ("no validation part", of_division(split(validation=0))),
        ("no test part", of_division(split(test=0))),
        ("interrupted after 3 of 3 epochs", of_training(history(training(why="interrupted")))),
        ("still running, or it was killed", of_training(history(training(why=None)))),
        ("ended with an error: no memory", of_training(history([Failed(time=TIME, epoch=0, problem="no memory")]))),
    ],
)  # fmt: skip
def test_a_weakness_is_said(said: str, cautions: Any) -> None:
    assert any(said in caution for caution in cautions)


def test_a_strong_result_is_not_talked_down() -> None:
    strong = evaluation([[990, 10], [12, 988]])
    assert not [
        *of_evaluation(strong),
        *of_split(split()),
        *of_training(history(training())),
    ]
