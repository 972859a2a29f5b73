"""What training minimises, beside torch's losses, scikit-learn's weights and arithmetic by hand."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from pellucid.training.config import Learning
from pellucid.training.objective import choose, objective

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 4.0, 0.0], [1.0, 1.0, 1.0]])
LABELS = torch.tensor([0, 2, 1, 0])


def test_plain_loss_is_the_mean_of_minus_the_logarithm_of_the_right_share() -> None:
    by_hand = -np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True))[range(4), LABELS].mean()
    assert float(objective(Learning(), (2, 1, 1))(LOGITS, LABELS)) == pytest.approx(float(by_hand))


def test_class_weights_are_scikit_learns_balanced_ones() -> None:
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=np.array([0] * 6 + [1] * 3 + [2]))
    weights = torch.tensor(balanced, dtype=torch.float32)
    expected = functional.cross_entropy(LOGITS, LABELS, weight=weights)
    assert objective(Learning(class_weights=True), (6, 3, 1))(LOGITS, LABELS) == pytest.approx(float(expected))


def test_a_class_without_training_images_does_not_upset_the_weights() -> None:
    loss = objective(Learning(class_weights=True), (6, 3, 0))(LOGITS[:1], LABELS[:1])
    assert torch.isfinite(loss)


def test_smoothing_moves_that_share_of_every_target_to_all_classes_alike() -> None:
    targets = functional.one_hot(LABELS, 3) * 0.7 + 0.3 / 3
    by_hand = -(targets * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    loss = objective(Learning(label_smoothing=0.3), (2, 1, 1))(LOGITS, LABELS)
    assert float(loss) == pytest.approx(float(by_hand))


def test_mixed_targets_cost_the_mixture_of_both_losses() -> None:
    first, second = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    mixed = 0.25 * functional.one_hot(first, 3) + 0.75 * functional.one_hot(second, 3)
    plain = objective(Learning(), (2, 1, 1))
    expected = 0.25 * plain(LOGITS, first) + 0.75 * plain(LOGITS, second)
    assert float(plain(LOGITS, mixed)) == pytest.approx(float(expected))


@pytest.mark.parametrize("learning", [{}, {"label_smoothing": 0.2}, {"class_weights": True}])
def test_one_logit_costs_what_two_do_whose_difference_it_is(learning: dict) -> None:
    one, labels = torch.tensor([[1.5], [-0.3], [0.0], [4.0]]), torch.tensor([1, 1, 0, 0])
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    counts = (7, 3)
    ours = objective(Learning(one_logit=True, **learning), counts)(one, labels)
    theirs = objective(Learning(**learning), counts)(two, labels)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_what_is_said_is_the_largest_logit_or_the_side_of_zero() -> None:
    assert choose(LOGITS[:3], one_logit=False).tolist() == [0, 2, 1]
    assert choose(torch.tensor([[0.1], [-0.1], [0.0]]), one_logit=True).tolist() == [1, 0, 0]
