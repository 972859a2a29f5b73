"""A cut has the names of the end points on both sides, in events and in the cache's keys."""

import pytest

import pellucid as pl
from pellucid.features.extract import fingerprint
from pellucid.networks.cut import Place, halves
from pellucid.reports.transfer import transfer_words
from pellucid.runs.events import EVENTS, FeaturesReady


@pytest.mark.parametrize(
    ("name", "train_from", "frozen_until"),
    [
        ("small", "conv3", "pool2"),
        ("small", "Logits", "PreLogits"),
        ("timm/resnet18", "layer4", "layer3"),
        ("timm/mobilenetv2_050", "blocks.6", None),  # after blocks.5, which is no end point
        ("timm/mobilenetv2_050", "Logits", "PreLogits"),
    ],
)
def test_a_cut_is_called_by_the_end_points_on_both_sides(name: str, train_from: str, frozen_until: str | None) -> None:
    net = pl.network(name, 2, size=32)
    cut = halves(net, train_from)
    assert cut is not None and cut.place == Place(frozen_until, train_from)
    assert fingerprint(net, cut)["place"] == {"frozen_until": frozen_until, "train_from": train_from, "averaged": ()}


def test_features_of_older_runs_are_told_as_they_were() -> None:
    """They had one field for the last end point that is frozen, several of them, and the first that is trained."""
    for said in ("Mixed_6e", "3 end points", "the input of blocks.6"):
        line = (
            '{"event":"features_ready","time":"","end_point":"%s","images":2,"views":1,"computed":0,'
            '"precision":"float32","difference":0,"kept":"float16","seconds":1}'
        )
        told = EVENTS.validate_json(line % said)
        assert isinstance(told, FeaturesReady) and told.place == said
        assert EVENTS.validate_json(told.model_dump_json()) == told
    old = EVENTS.validate_json('{"event":"frozen_recomputed","time":"","end_point":"conv5","why":"so it is"}')
    assert transfer_words(old) == "the frozen part, before conv5, is computed anew in every epoch: so it is"
