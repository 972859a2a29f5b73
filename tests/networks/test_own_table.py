"""One's own table: trained as any network is, held by the model file whole, and refused where it makes no network."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.layers import (
    Architecture,
    Flatten,
    Linear,
    Pool,
    Relu,
    Residual,
    chain,
    classifier,
    conv,
)
from pellucid.architectures.written import from_text, to_text
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from tests.pictures import make_classes

HALVE = Pool("max", 2, stride=2)
MINE = Architecture(
    name="mine",
    family="own",
    source="this test",
    size=32,
    rows=(
        ("conv1", conv(8, 3), "32x32x8"),
        ("pool1", HALVE, ""),
        ("unit", Residual((("a", conv("input", 3)), ("b", conv("input", 3, relu=False)))), "16x16x8"),
        *classifier(8),
    ),
)


@pytest.mark.parametrize("name", pl.architectures())
def test_every_table_comes_back_from_its_text(name: str) -> None:
    assert from_text(to_text(ARCHITECTURES[name])) == ARCHITECTURES[name]


def test_a_table_is_trained_to_a_model_that_needs_no_code(
    tmp_path: Path, elsewhere: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_classes(tmp_path / "photos", images=12)
    settings: dict[str, Any] = {"epochs": 1, "batch": 8, "workers": 0, "runs": tmp_path / "runs"}
    run = pl.train(photos, model=MINE, options={"width": 2.0}, **settings)
    elsewhere()
    card = run.card()
    assert card.architecture == "table/mine" and from_text(card.options["table"]) == MINE
    assert pl.evaluate(run.path).accuracy.n > 0
    assert command(["verify", str(run.path)]) == 0
    assert "table in the file" in capsys.readouterr().out
    assert command(["structure", str(run.path), "--names", "torchvision"]) == 2
    assert "torchvision has no network mine" in capsys.readouterr().err
    last = {"mode": "finetune", "train_from": "unit", "weights": str(run.last)}
    assert pl.train(photos, model=MINE, options={"width": 2.0}, **settings, **last).state() == "finished"


def test_structure_counts_a_table_as_it_is_built() -> None:
    counted = pl.structure(MINE, classes=2, width=2.0)
    built = pl.network(MINE, 2, width=2.0)
    assert counted.totals.parameters == sum(parameter.numel() for parameter in built.parameters())
    assert tuple(end.name for end in counted.ends) == built.end_point_names


def test_a_table_by_another_networks_name_is_not_mistaken_for_it() -> None:
    with pytest.raises(UserError, match="torchvision has no network resnet18"):
        pl.structure(replace(MINE, name="resnet18", family="resnet"), names="torchvision")
    narrow = replace(ARCHITECTURES["vgg11"], name="small")
    net = pl.network(narrow, 2, size=64, width=0.25)
    assert net.name == "table/small" and "pool5" in net.end_point_names
    again = pl.network(net.name, 2, **net.options)
    assert [tuple(tensor.shape) for tensor in again.state_dict().values()] == [
        tuple(tensor.shape) for tensor in net.state_dict().values()
    ]


FIRST, REST, ENDS = MINE.rows[0], MINE.rows[1:], MINE.rows[-3:]
LINEAR = chain(flat=Flatten(), linear=Linear(4), relu=Relu())


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ((("conv1", conv(8, 3), "16x16x8"), *REST), "conv1 of mine says that 16x16x8 leaves it, and it is 32x32x8"),
        ((FIRST, *REST[:-3]), "the last rows of mine are not PreLogits, Logits, Predictions"),
        ((FIRST, ("fc", Linear(4), ""), *ENDS), "fc of mine cannot be counted: a linear layer takes a vector"),
        ((FIRST, FIRST, *REST), "two end points that are called conv1"),
        ((("conv.1", conv(8, 3), ""), *REST), "an end point called 'conv.1'"),
        ((("forward", conv(8, 3), ""), *REST), "an end point called 'forward'"),
        ((("conv1", torch.nn.Conv2d(3, 8, 3), ""), *REST), "conv1 of mine is a Conv2d, and no layer of a table"),
        ((("conv1", conv(8, 3)), *REST), "a row of mine is not"),
        ((FIRST, ("unit", Residual((("a", conv(16, 3)),)), ""), *ENDS), "another number of channels"),
        ((FIRST, ("unit", Residual((("a", conv(8, 3, stride=2)),)), ""), *ENDS), "different sizes"),
        ((FIRST, ("fc", LINEAR, "5"), *ENDS), "fc of mine says that 5 leaves it, and it is 4"),
    ],
)
def test_a_table_that_makes_no_network_is_refused_by_its_row(rows: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem.replace("(", r"\(")):
        pl.network(replace(MINE, rows=rows), 2)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"is":"Conv"}', '{"is":"os.system"}', '{"is":"Architecture"}', json.dumps({"is": []})]
)
def test_what_is_no_table_in_a_file_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no table of a network"):
        pl.network("table/mine", 2, table=text)
