"""One's own network goes through the whole story as any other does: trained, resumed, evaluated, proved."""

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.runs.run_folder import find_runs
from pellucid.training.configure import configure
from pellucid.training.train import train_events
from tests.networks.own_nets import FILE, HELPED, QUICK, TUTORIAL, Small, interrupted, nested


def test_the_tutorials_network_in_a_file_goes_through_the_whole_story(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    elsewhere: Callable[[], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets").mkdir()
    Path("nets/faces.py").write_text(TUTORIAL, encoding="utf-8")
    few = ["--train", "8", "--validation", "4", "--test", "4", "--batch", "4", "--epochs", "2", "--workers", "0"]
    code = ["--model-code", "nets/faces.py:Net"]
    with monkeypatch.context() as patch:
        interrupted(patch, after=3)
        assert command(["train", str(photos), "--model", "nets/faces.py:Net", *few]) == 2
    (made,) = find_runs(Path("runs"))
    assert made.path.name.startswith("photos-Net-")
    elsewhere()
    assert command(["resume", str(made.path)]) == 2  # what a run folder says is never run
    assert "--model-code faces.py:Net" in capsys.readouterr().err
    assert command(["resume", str(made.path), *code]) == 0 and made.state() == "finished"
    assert sum(event.parameters for event in made.events() if event.event == "started") == 2 * 4_384_257
    card = made.card()
    assert card.architecture == card.options["code"]["path"] == "faces.py:Net" and str(tmp_path) not in repr(card)
    elsewhere()
    image = str(photos / "smooth" / "000.png")
    for verb in (["evaluate", str(made.path)], ["predict", str(made.path), image], ["verify", str(made.path)]):
        assert command(verb) == 2
        assert "which is run only when you name it" in capsys.readouterr().err
        assert command([*verb, *code]) == 0
        elsewhere()
    # The run keeps a copy of the file, for when the other has changed; it is run when it is named as any is.
    Path("nets/faces.py").write_text(TUTORIAL.replace("120", "12"), encoding="utf-8")
    assert command(["verify", str(made.path), *code]) == 2
    told = capsys.readouterr().err
    assert "faces.py:Net is not the faces.py:Net that was trained" in told and "Net is not defined as it was" in told
    elsewhere()
    assert command(["verify", str(made.path), "--model-code", f"{made.path}/faces.py:Net"]) == 0
    assert command(["report", str(made.path)]) == 0
    assert "faces.py:Net" in made.report_path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_class_in_a_file_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FILE, encoding="utf-8")
    timed = pl.bench(f"{tmp_path}/net.py:Net", batch=2, size=16, burn_in=0, steps=1)
    assert timed.ours.seconds and timed.operations


@pytest.mark.parametrize(
    "model", [Small, Small(), nested, nested(2), partial(Small, width=4), lambda classes: Small(classes)]
)
def test_whatever_makes_a_module_is_trained_to_a_model_that_proves_itself(
    photos: Path, tmp_path: Path, model: Any, elsewhere: Callable[[], None]
) -> None:
    run = pl.train(photos, model=model, **QUICK | {"epochs": 1}, runs=tmp_path)
    here = pl.load(run.path)  # named in this process
    elsewhere()
    with pytest.raises(UserError, match="which is run only when you name it"):
        pl.load(run.path)
    there = pl.load(run.model, model=model)
    image = photos / "smooth" / "003.png"
    assert here.predict([image])[0].ranking == there.predict([image])[0].ranking
    assert pl.evaluate(there).accuracy.n == pl.evaluate(here).accuracy.n > 0


def test_a_module_is_trained_as_it_comes_and_left_as_it_was(photos: Path, tmp_path: Path) -> None:
    model = Small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = pl.train(photos, model=model, mode="probe", size=32, workers=0, runs=tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    kept = pl.load(run.path).engine.runtime._network.state_dict()  # what is frozen is the module's own
    assert torch.allclose(kept["model.classifier.0.weight"], before["classifier.0.weight"])


@pytest.mark.parametrize("train_from", ["classifier", "stem.1", "stem.1.1.conv", "classifier.2"])
def test_training_begins_at_any_module_by_its_name(photos: Path, tmp_path: Path, train_from: str) -> None:
    run = pl.train(photos, model=Small, mode="finetune", train_from=train_from, **QUICK | {"epochs": 1}, runs=tmp_path)
    torch.manual_seed(0)
    before, after = pl.network(Small, 2, size=32).state_dict(), pl.load(run.path).engine
    net = pl.network(Small, 2, size=32)
    place = net.divided(train_from)
    frozen = {id(tensor) for unit in place.before for tensor in unit.state_dict(keep_vars=True).values()}
    names = [name for name, tensor in net.state_dict(keep_vars=True).items() if id(tensor) in frozen]
    assert names and "model.classifier.2.weight" not in names
    from safetensors.torch import load_file

    trained = load_file(run.last)
    assert all(torch.equal(before[name], trained[name]) for name in names)
    assert not torch.equal(before["model.classifier.2.weight"], trained["model.classifier.2.weight"])
    assert after.card.architecture == "tests.networks.own_nets:Small"


def test_interrupted_and_resumed_is_bit_for_bit_uninterrupted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[], None]
) -> None:
    from safetensors.torch import load_file

    whole = pl.train(photos, model=Small, **QUICK, runs=tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupted(patch, after=3)
        *_, last = train_events(configure(photos, model=Small, **QUICK, runs=tmp_path / "cut"))
    assert last.event == "stopped" and last.why == "interrupted"
    elsewhere()
    (cut,) = find_runs(tmp_path / "cut")
    with pytest.raises(UserError, match=r"is not the .*Small that was trained"):
        pl.resume(cut.path, model=nested)
    resumed = pl.resume(cut.path, model=Small)
    ours, theirs = load_file(whole.last), load_file(resumed.last)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


class Odd(nn.Module):
    """Looks into its layers by hand, in ways that a fold would change; its head has no bias."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(16, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for layer in self.body:
            x = layer(x)
            if not isinstance(layer, nn.BatchNorm2d):
                seen.append(x.mean((2, 3)))
        return self.head(torch.cat(seen, dim=1))


def test_a_module_that_looks_into_its_layers_is_not_made_quick_at_the_cost_of_being_wrong(
    photos: Path, tmp_path: Path
) -> None:
    run = pl.train(photos, model=Odd, **QUICK, runs=tmp_path)
    assert pl.load(run.path).classes == ("grainy", "smooth")
    with pytest.raises(UserError, match="cannot be computed at once"):  # without a bias
        pl.train(photos, model=Odd, mode="probe", size=32, runs=tmp_path)
    learned = pl.train(photos, model=Odd, mode="probe", **QUICK, runs=tmp_path)
    assert learned.state() == "finished"


def test_published_weights_of_a_module_are_its_own(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody publishes weights for") as refused:
        pl.train(photos, model=Small, mode="probe", weights="imagenet", size=32, runs=tmp_path)
    assert "--weights own" in str(refused.value.hint)


def test_what_is_told_of_an_interrupted_run_can_be_typed(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    elsewhere: Callable[[], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my nets").mkdir()
    Path("my nets/net.py").write_text(HELPED.format(line="def layer(): return nn.Conv2d(3, 4, 3)", width=4))
    flags = ["--size", "32", "--epochs", "2", "--batch", "8", "--workers", "0"]
    with monkeypatch.context() as patch:
        interrupted(patch, after=3)
        assert command(["train", str(photos), "--model", "my nets/net.py:Net", *flags]) == 2
    told = re.findall("interrupted; `pellucid (resume .*?)` goes on", capsys.readouterr().err)
    elsewhere()
    assert command(shlex.split(told[0])) == 0
