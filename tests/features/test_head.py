"""The solved head is the optimum that other libraries find."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from pellucid.features.head import solve_head


def test_the_solved_head_is_scikit_learns_optimum() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(3, size=300)
    features = (random.normal(size=(300, 20)) + labels[:, None] * random.normal(size=20)).astype(np.float32)
    for balanced in (False, True):
        ours = solve_head(features, labels, classes=3, class_weights=balanced)
        spread = features.std(axis=0)
        scaled = (features - features.mean(axis=0)) / spread
        weight = "balanced" if balanced else None
        theirs = LogisticRegression(C=1 / (300 * ours.strength), class_weight=weight, tol=1e-9, max_iter=10_000)
        theirs.fit(scaled.astype(np.float64), labels)
        expected = theirs.predict_proba(scaled)
        logits = features @ ours.weight.T + ours.bias
        found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert np.abs(found - expected).max() < 1e-4
        assert min(loss for _, loss in ours.strengths) == dict(ours.strengths)[ours.strength]


def test_more_features_than_images_are_solved_alike() -> None:
    random = np.random.default_rng(1)
    labels = np.arange(40) % 2
    features = random.normal(size=(40, 90)) + labels[:, None]
    ours = solve_head(features, labels, classes=2, strengths=(0.1,))
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / spread
    # Two sets of weights w and -w share the penalty that scikit-learn puts on their difference 2w.
    theirs = LogisticRegression(C=1 / (40 * 0.05), tol=1e-10, max_iter=10_000).fit(scaled, labels)
    difference = (ours.weight[1] - ours.weight[0]) * spread
    assert np.abs(difference - theirs.coef_[0]).max() < 1e-4
