"""Fine-tuned against probe, image by image: an exact test, of the best model alone."""

from pathlib import Path

import numpy as np
import pytest

from pellucid.measures.comparison import mcnemar
from pellucid.reports.transfer import transfer_words
from pellucid.runs.paired import CHANCE, Paired, compared, note_tuned, write_paired
from pellucid.runs.run_folder import RunFolder


def told_of(probe: str, tuned: str, *, kept: int, epochs: int, place: Path) -> str:
    run = RunFolder(place)
    write_paired(run, Paired(probe=tuple(one == "1" for one in probe), tuned=()))
    note_tuned(run, [one == "1" for one in tuned])
    found = compared(run, kept=kept, epochs=epochs)
    assert found is not None
    return transfer_words(found)


@pytest.mark.parametrize(
    ("probe", "tuned", "chance"),
    [("1111100000", "1111111111", 0.0625), ("10", "01", 1.0), ("0000000", "1111111", 0.015625)],
)
def test_the_paired_test_is_mcnemars_exact_one(tmp_path: Path, probe: str, tuned: str, chance: float) -> None:
    """By hand: 5 gained and none lost is 2 / 2^5; 7 is 2 / 2^7."""
    run = RunFolder(tmp_path)
    write_paired(run, Paired(probe=tuple(one == "1" for one in probe), tuned=()))
    assert compared(run) is None
    note_tuned(run, [one == "1" for one in tuned])
    found = compared(run)
    assert found is not None and found.chance == pytest.approx(chance)
    assert found.worth == (chance < 0.05)


def test_without_a_difference_fine_tuning_is_hardly_ever_called_worth_it() -> None:
    """The best of twelve epochs, none of which is better than the probe, on the images that choose it."""
    random, claimed, at_once = np.random.default_rng(0), 0, 0
    for _ in range(600):
        probe, *tuned = random.random((13, 150)) < 0.8
        best = max(tuned, key=lambda right: int(right.sum()))
        gained, lost = int((best & ~probe).sum()), int((probe & ~best).sum())
        claimed += gained > lost and mcnemar(gained, lost, tries=12) < CHANCE
        at_once += gained > lost and mcnemar(gained, lost) < CHANCE
    assert claimed <= 0.05 * 600 < at_once


def test_what_fine_tuning_added_is_said_of_the_kept_model_alone(tmp_path: Path) -> None:
    probe, tuned = "0" * 12 + "1" * 8, "1" * 20
    once = told_of(probe, tuned, kept=1, epochs=1, place=tmp_path)
    assert once.startswith("fine-tuning was worth it: probe 40.0 %") and "exploratory" not in once
    several = told_of(probe, tuned, kept=2, epochs=5, place=tmp_path)
    assert several.startswith("fine-tuning seems worth it") and "p = 0.0024" in several  # 5 times 2 / 2^12
    assert several.endswith("this proves nothing, since the same images chose epoch 2 of 5; p allows for 5 tries)")
    assert told_of(probe, tuned, kept=0, epochs=3, place=tmp_path) == (
        "fine-tuning did not help, and the probe stays the best: none of 3 epochs was better than its "
        "40.0 % [21.9, 61.3] n = 20"
    )
