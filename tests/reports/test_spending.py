"""Where the time of a training went."""

from pellucid.reports.cautions import of_training
from pellucid.reports.history import history
from pellucid.reports.spending import spent_words, starving
from pellucid.runs.events import PixelsReady, Spent, Started, Stopped
from tests.reports.made import TIME, training


def test_where_time_went_is_told_and_a_starved_loader_named() -> None:
    spent = Spent(waiting=60, computing=120, validating=15, saving=5)
    assert spent_words(spent) == "computing 60 %, waiting for data 30 %, validating 8 %, saving 2 %"
    # 84.7, 3.6, 9.5 and 2.2 % are 85, 4, 10 and 2 where each is rounded by itself: 101.
    assert spent_words(Spent(computing=847, waiting=36, validating=95, saving=22)) == (
        "computing 85 %, waiting for data 4 %, validating 9 %, saving 2 %"
    )
    assert spent_words(Spent()) == "" == starving(Spent(waiting=4, computing=1), None, None)
    kept = PixelsReady(time=TIME, images=9, decoded=9, reduced=0, needed=10**9, room=10**10, kept=True, seconds=1)
    (started,) = (event for event in training(3) if isinstance(event, Started))
    said = starving(spent, started, kept)
    assert said.startswith(
        "The network waited for data 33 % of its time (1:00): more processes that decode may help (--workers"
    )
    lost = kept.model_copy(update={"kept": False, "needed": 3 * 10**10})
    assert "with --cache-size 60.0GB decoded pixels are cached" in starving(spent, started, lost)
    events = [
        event.model_copy(update={"spent": spent}) if isinstance(event, Stopped) else event for event in training(3)
    ]
    assert any("waited for data" in caution for caution in of_training(history(events)))
