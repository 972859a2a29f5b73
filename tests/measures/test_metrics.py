"""Measures against sums by hand and scikit-learn; their intervals against what is known of them."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.measures import confusion, likelihood, ranking
from pellucid.measures.intervals import wilson

# Rows are the truth: 5 cats (4 called so), 3 dogs (2), no fox, but 1 dog was called a fox.
TABLE = np.array([[4, 1, 0], [0, 2, 1], [0, 0, 0]])
CAT, DOG, FOX = 0, 1, 2


def judged(classes: int = 4) -> st.SearchStrategy:
    """Up to 60 images as (truth, best)."""
    pairs = st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=60)
    return pairs.map(lambda rows: np.array(rows).T)


def scored() -> st.SearchStrategy:
    """Two classes, both present, with scores that have ties, as (truth, scores)."""
    rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40)
    return rows.filter(lambda pairs: len({truth for truth, _ in pairs}) == 2).map(
        lambda pairs: (np.array([truth for truth, _ in pairs]), np.array([score / 8 for _, score in pairs]))
    )


def test_confusion_counts_truth_in_rows():
    truth, best = np.array([0, 0, 0, 0, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 1, 1, 1, 2])
    assert confusion.confusion(truth, best, classes=3).tolist() == TABLE.tolist()


def test_accuracy_recall_and_precision_are_the_shares_one_counts_by_hand():
    assert confusion.accuracy(TABLE) == wilson(6, 8)
    assert [confusion.recall(TABLE, index) for index in (CAT, DOG, FOX)] == [wilson(4, 5), wilson(2, 3), wilson(0, 0)]
    assert [confusion.precision(TABLE, index) for index in (CAT, DOG, FOX)] == [
        wilson(4, 4),
        wilson(2, 3),
        wilson(0, 1),
    ]


def test_f1_and_balanced_accuracy_are_what_one_computes_by_hand():
    cat, dog, fox = (confusion.f1(TABLE, index) for index in (CAT, DOG, FOX))
    assert (cat.value, cat.n) == (pytest.approx(8 / 9), 5)  # precision 1, recall 4/5
    assert (dog.value, dog.n) == (pytest.approx(2 / 3), 4)
    assert (fox.value, fox.n) == (0, 1)
    balanced = confusion.balanced_accuracy(TABLE)
    assert (balanced.value, balanced.n) == (pytest.approx((4 / 5 + 2 / 3) / 2), 8)  # of the classes that have images


def test_log_loss_is_what_one_computes_by_hand():
    loss = likelihood.log_loss(np.array([0.5, 0.25]))
    assert (loss.value, loss.n) == (pytest.approx(1.5 * np.log(2)), 2)  # (ln 2 + ln 4) / 2


def test_roc_auc_and_average_precision_are_what_one_computes_by_hand():
    truth, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert ranking.roc_auc(truth, scores).value == pytest.approx(3 / 4)  # of 4 pairs, one is the wrong way round
    assert ranking.average_precision(truth, scores).value == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert ranking.roc_auc(truth, np.full(4, 0.5)).value == pytest.approx(1 / 2)


def test_what_is_not_defined_is_none_and_says_on_how_many_images():
    nothing = np.zeros((2, 2), dtype=np.int64)
    for measured in (
        confusion.accuracy(nothing),
        confusion.balanced_accuracy(nothing),
        confusion.recall(TABLE, FOX),
        confusion.precision(np.array([[2, 0], [1, 0]]), 1),
        confusion.f1(nothing, 0),
        likelihood.log_loss(np.array([])),
    ):
        assert (measured.value, measured.low, measured.high, measured.n) == (None, None, None, 0)
    one_class = ranking.roc_auc(np.array([1, 1, 1]), np.array([0.1, 0.2, 0.3]))
    assert (one_class.value, one_class.low, one_class.n) == (None, None, 3)
    assert ranking.average_precision(np.array([0, 0]), np.array([0.1, 0.2])).value is None


@settings(deadline=None, max_examples=30)
@given(judged())
def test_measures_of_classes_agree_with_scikit_learn(case):
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix, precision_recall_fscore_support

    truth, best = case
    table = confusion.confusion(truth, best, classes=4)
    assert table.tolist() == confusion_matrix(truth, best, labels=range(4)).tolist()
    columns = precision_recall_fscore_support(truth, best, labels=range(4), zero_division=np.nan)
    for measure, column in zip((confusion.precision, confusion.recall, confusion.f1), columns, strict=False):
        ours = [np.nan if (value := measure(table, index).value) is None else value for index in range(4)]
        np.testing.assert_allclose(ours, column)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of classes that were called but are not there
        assert confusion.balanced_accuracy(table).value == pytest.approx(balanced_accuracy_score(truth, best))


@settings(deadline=None, max_examples=30)
@given(scored())
def test_measures_of_scores_agree_with_scikit_learn(case):
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    truth, scores = case
    of_truth = np.where(truth == 1, scores, 1 - scores)
    assert ranking.roc_auc(truth, scores).value == pytest.approx(roc_auc_score(truth, scores))
    assert ranking.average_precision(truth, scores).value == pytest.approx(average_precision_score(truth, scores))
    assert likelihood.log_loss(of_truth).value == pytest.approx(log_loss(truth, np.stack([1 - scores, scores], axis=1)))


@settings(deadline=None, max_examples=30)
@given(scored())
def test_every_interval_holds_its_value_and_none_claims_certainty_of_all_right(case):
    truth, scores = case
    table = confusion.confusion(truth, (scores >= 0.5).astype(np.int64), classes=2)
    for measured in (
        confusion.balanced_accuracy(table),
        confusion.f1(table, 0),
        confusion.f1(table, 1),
        ranking.roc_auc(truth, scores),
        ranking.average_precision(truth, scores),
    ):
        if measured.value is not None:
            assert 0 <= measured.low <= measured.value <= measured.high <= 1
            assert measured.value != 1 or measured.low < 1
            assert measured.value != 0 or measured.high > 0


def test_balanced_accuracy_has_the_published_interval_of_a_difference_of_two_proportions():
    # Newcombe 1998 (Statistics in Medicine 17:873), table II, method 10: 56/70 - 48/80 lies in 0.0524 to 0.3339.
    # A recall of 56/70 and one of 1 - 48/80 have the mean (1 + 56/70 - 48/80) / 2.
    measured = confusion.balanced_accuracy(np.array([[56, 14], [48, 32]]))
    assert (2 * measured.low - 1, 2 * measured.high - 1) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_f1_has_the_bounds_of_the_share_it_is_made_of():
    cat = confusion.f1(TABLE, CAT)  # 4 of the 5 images that are cats or were called so; Wilson: 0.3755 to 0.9638
    assert (cat.low, cat.high) == pytest.approx((2 * 0.37553 / 1.37553, 2 * 0.96377 / 1.96377), abs=1e-4)


def test_all_right_and_all_called_alike_leave_doubt():
    alike = confusion.balanced_accuracy(np.array([[0, 40], [0, 40]]))  # each recall lies within 0.0876 of 0 or 1
    assert (alike.value, alike.low) == (0.5, pytest.approx(0.5 - 0.0876 / 2, abs=1e-4))
    right = confusion.balanced_accuracy(np.array([[40, 0], [0, 40]]))
    assert (right.low, right.high) == (pytest.approx(1 - np.sqrt(2) * 0.0876 / 2, abs=1e-4), 1)
    truth = np.repeat([0, 1], (40, 10))
    area = ranking.roc_auc(truth, truth.astype(np.float64))
    assert (area.low, area.high) == (pytest.approx(0.7225, abs=5e-5), 1)  # 10 of 10, Newcombe 1998


def test_bootstrap_of_the_log_loss_agrees_with_the_normal_interval_where_images_are_many():
    given = np.random.default_rng(1).uniform(0.05, 1, 2000)
    losses = -np.log(given)
    half = 1.96 * losses.std() / np.sqrt(2000)
    measured = likelihood.log_loss(given)
    assert measured.low == pytest.approx(losses.mean() - half, abs=0.005)
    assert measured.high == pytest.approx(losses.mean() + half, abs=0.005)


def test_bootstrap_of_the_auc_agrees_with_hanley_and_mcneil_where_images_are_many():
    truth = np.repeat([0, 1], (600, 400))
    scores = np.random.default_rng(2).exponential(1 + 2 * truth)  # theirs is exact for exponential scores
    measured = ranking.roc_auc(truth, scores)
    # Hanley and McNeil 1982 (Radiology 143:29), equation 2; the true area is 3 / (1 + 3).
    area, twice, thrice = 3 / 4, (3 / 4) / (5 / 4), 2 * (9 / 16) / (7 / 4)
    variance = (area * (1 - area) + 399 * (twice - area**2) + 599 * (thrice - area**2)) / (400 * 600)
    assert measured.value == pytest.approx(area, abs=2 * np.sqrt(variance))
    assert measured.high - measured.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)


def test_the_same_images_give_the_same_interval_in_any_order():
    random = np.random.default_rng(3)
    truth, scores = random.integers(0, 2, 50), random.random(50)
    turned = random.permutation(50)
    assert ranking.roc_auc(truth, scores) == ranking.roc_auc(truth[turned], scores[turned])
    assert likelihood.log_loss(scores) == likelihood.log_loss(scores[turned])


def test_a_hundred_thousand_images_take_seconds():
    random = np.random.default_rng(4)
    truth, scores = random.integers(0, 2, 100_000), random.random(100_000)
    started = time.perf_counter()
    ranking.roc_auc(truth, scores)
    assert time.perf_counter() - started < 20  # 1.6 s on an idle core


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Of 200 samples with 50 images a class, the 95 % intervals hold the value of a very large sample 91 % or more."""

    def sample(a_class: int) -> list:
        truth = np.repeat([0, 1], a_class)
        scores = 1 / (1 + np.exp(-random.normal(1.5 * truth - 0.75)))
        table = confusion.confusion(truth, (scores >= 0.5).astype(np.int64), classes=2)
        loss, area = likelihood.log_loss(np.where(truth == 1, scores, 1 - scores)), ranking.roc_auc(truth, scores)
        return [confusion.balanced_accuracy(table), confusion.f1(table, 1), loss, area]

    random = np.random.default_rng(5)
    right = [measured.value for measured in sample(50_000)]
    held = [[each.low <= value <= each.high for each, value in zip(sample(50), right, strict=True)] for _ in range(200)]
    assert np.all(np.mean(held, axis=0) >= 0.91)
