"""One's own network: a module in a file, or made in Python, goes through the whole story as any other does."""

import re
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.interruption import Interruption
from pellucid.networks import own
from pellucid.networks.build import network as known
from pellucid.networks.cut import halves
from pellucid.runs.card import read_card
from pellucid.runs.run_folder import RunFolder, find_runs
from pellucid.training.configure import configure
from pellucid.training.train import train_events
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"size": 32, "epochs": 2, "batch": 8, "workers": 0}
TUTORIAL = '''
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """The fake-face tutorial's network, as its page writes one."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 15, 3)
        self.conv2 = nn.Conv2d(15, 75, 4)
        self.conv3 = nn.Conv2d(75, 150, 3)
        self.conv4 = nn.Conv2d(150, 300, 3)
        self.conv5 = nn.Conv2d(300, 300, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(7500, 400)
        self.fc2 = nn.Linear(400, 120)
        self.fc3 = nn.Linear(120, classes)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            x = self.pool(F.relu(conv(x)))
        x = x.view(-1, 7500)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)
'''


class Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class Small(nn.Module):
    """Blocks in nested containers, a pooling that is called twice, and `view`."""

    def __init__(self, num_classes: int = 2, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(Block(3, width), nn.Sequential(Block(width, width), Block(width, 2 * width)))
        self.pool = nn.MaxPool2d(2)
        self.classifier = nn.Sequential(
            nn.Linear(2 * width * 64, 16), nn.ReLU(inplace=True), nn.Linear(16, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.pool(self.stem(x)))
        return self.classifier(x.view(x.size(0), -1))


def nested(classes: int) -> nn.Sequential:
    first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(first, nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), nn.Linear(32, classes))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return pl.train(photos, model=Small, **QUICK, runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what was named, as another process would not know it."""
    return lambda: monkeypatch.setattr(own, "_NAMED", {})


def interrupted(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """As Ctrl-C does it: the request is noticed after a step."""
    steps = iter(range(1000))
    asked = property(lambda _: next(steps) >= after, lambda *_: None)
    monkeypatch.setattr(Interruption, "asked", asked, raising=False)


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


def test_structure_shows_what_is_trained_and_by_the_same_names(
    run: RunFolder, elsewhere: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    made, given = pl.structure(Small, classes=2, size=32), pl.structure(Small(), size=32)
    assert made.rows == given.rows and made.totals.parameters == sum(p.numel() for p in Small().parameters())
    ends = [end.name for end in made.ends]
    assert ends[:5] == list(pl.network(Small, 2, size=32).end_point_names[:5])
    assert [end.name for end in pl.structure(Tuple, classes=2, size=32).ends][:5] == ends[:5]  # what cannot be trained
    elsewhere()
    assert command(["structure", str(run.path)]) == 2
    assert "which is run only when you name it" in capsys.readouterr().err
    assert command(["structure", str(run.path), "--model-code", "tests.networks.test_own:Small"]) == 0
    capsys.readouterr()
    assert command(["structure", "tests.networks.test_own:Small", "--size", "32", "--width", "4", "--end-points"]) == 0
    assert capsys.readouterr().out.split() == ends
    with pytest.raises(UserError, match=r"width: .*Small is a module"):
        pl.structure(Small(), width=4)


@pytest.mark.slow
def test_a_class_in_a_file_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FILE, encoding="utf-8")
    timed = pl.bench(f"{tmp_path}/net.py:Net", batch=2, size=16, burn_in=0, steps=1)
    assert timed.ours.seconds and timed.operations


def test_options_are_a_classs_own_parameters() -> None:
    net = pl.network(Small, 2, size=32, width=4.0)  # as a flag gives it
    assert net.end_points(torch.zeros(1, 3, 32, 32))["stem.0"].shape == (1, 4, 32, 32)
    assert pl.network(net.name, 2, **net.options).state_dict().keys() == net.state_dict().keys()
    with pytest.raises(UserError, match="has no option 'widht'") as caught:
        pl.network(Small, 2, widht=4)
    assert caught.value.hint == "did you mean width?"


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
    kept = pl.load(run.path).engine._network.state_dict()  # what is frozen is the module's own
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
    assert after.card.architecture == "tests.networks.test_own:Small"


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


def test_halves_of_a_module_are_cut_where_its_code_can_be_followed() -> None:
    net = pl.network(Small, 2, size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    assert net.end_point_names == (
        *("stem.0", "stem.1.0", "stem.1.1", "classifier.0", "classifier.1"),
        *("PreLogits", "Logits", "Predictions"),
    )
    with torch.no_grad():
        found = net.end_points(images)
        assert torch.equal(found["Logits"], net(images)) and tuple(found) == net.end_point_names
        assert (found["classifier.0"] < 0).any()  # before the ReLU in place
        for place in ("stem.1", "classifier", "Logits"):
            cut = halves(net, place)
            assert cut is not None and torch.allclose(cut.rest(cut.frozen(images)), net(images), atol=1e-6)


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
    with pytest.raises(UserError, match="cannot be solved by itself"):  # without a bias
        pl.train(photos, model=Odd, mode="probe", size=32, runs=tmp_path)
    learned = pl.train(photos, model=Odd, mode="probe", **QUICK, runs=tmp_path)
    assert learned.state() == "finished"


def test_weights_are_read_by_the_modules_own_names(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(Small(5).state_dict(), tmp_path / "five.safetensors")
    net = pl.network(Small, 2, size=32)
    report = pl.load_weights(net, tmp_path / "five.safetensors", head=False)
    assert report.layout == "its code"
    assert {name.rpartition(".")[0] for name in report.left_random} == {"model.classifier.2"}
    early = pl.load_weights(net, tmp_path / "five.safetensors", until="stem", head=False)  # a container's name
    assert all(name.startswith("model.classifier.") for name in early.left_random)


def test_published_weights_of_a_module_are_its_own(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody publishes weights for") as refused:
        pl.train(photos, model=Small, mode="probe", weights="imagenet", size=32, runs=tmp_path)
    assert "--weights own" in str(refused.value.hint)


def test_dropout_by_hand_is_never_lost_where_features_take_the_place_of_images() -> None:
    class ByHand(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.dropout(self.pool(self.pool(self.stem(x))), 0.5, training=self.training)
            return self.classifier(x.view(x.size(0), -1))

    assert halves(pl.network(ByHand, 2, size=32), "stem.1") is None


FILE = """
from torch import nn

SLOPE = 0.1


def bend(x):
    return nn.functional.leaky_relu(x, SLOPE)


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(bend(self.conv(x)).mean((2, 3)))


print("imported")
"""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("bend(self.conv(x)).mean((2, 3))", "bend(self.conv(x)).amax((2, 3))"), "Net is not defined as it was"),
        (("leaky_relu(x, SLOPE)", "elu(x)"), "bend is not defined as it was"),
        (("SLOPE = 0.1", "SLOPE = 0.2"), "SLOPE is not defined as it was"),
        (("self.conv = nn.Conv2d(3, 4, 3)", "self.conv = nn.Conv2d(3, 4, 5)"), "Net is not defined as it was"),
    ],
)
def test_a_model_file_refuses_other_code_and_says_what_changed(
    tmp_path: Path, change: tuple[str, str], why: str, elsewhere: Callable[[], None]
) -> None:
    file, other = tmp_path / "net.py", tmp_path / "other.py"
    file.write_text(FILE, encoding="utf-8")
    net = pl.network(f"{file}:Net", 2, size=16)
    other.write_text(FILE.replace(*change), encoding="utf-8")
    elsewhere()
    own.remember(f"{other}:Net")
    with pytest.raises(UserError, match=r"is not the net\.py:Net that was trained") as caught:
        known(net.name, 2, **net.options)
    assert why in caught.value.details
    # What else the file holds, and where it lies, does not matter.
    other.write_text(f"# a note\n\n{FILE}\nEPOCHS = 3\n", encoding="utf-8")
    elsewhere()
    own.remember(f"{other}:Net")
    assert known(net.name, 2, **net.options).name == "net.py:Net"


def test_what_a_model_file_names_is_never_imported(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[], None]
) -> None:
    from safetensors.torch import load_file, save_file

    from pellucid.runs.card import CARD, sealed

    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('run', 'w')\n\ndef Net(classes): ...\n", encoding="utf-8")
    card = read_card(run.model)
    for name in ("evil.py:Net", "evil:Net", f"{tmp_path}/evil.py:Net"):
        for options in (card.options, {}, card.options | {"code": card.options["code"] | {"path": name}}):
            elsewhere()
            edited = sealed(card.model_copy(update={"architecture": name, "options": options}))  # as an attacker would
            save_file(load_file(run.model), "edited.safetensors", metadata={CARD: edited.model_dump_json()})
            with pytest.raises(UserError, match="run only when you name it"):
                pl.load("edited.safetensors")
            with pytest.raises(UserError):
                pl.structure("edited.safetensors")
    assert not Path("run").exists()


class Tuple(Small):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class TupleInTraining(Small):
    def forward(self, x: Tensor) -> Any:
        return (super().forward(x), x) if self.training else super().forward(x)


class Softmax(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(dim=1)


def convolutions(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def ten() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))


def fails(classes: int) -> nn.Module:
    raise RuntimeError(f"not for {classes}")


@pytest.mark.parametrize(
    ("model", "size", "problem", "hint"),
    [
        (Tuple, 32, "gives a tuple of 2, and no tensor of logits", "let forward return the logits alone"),
        (TupleInTraining, 32, "in training, .* gives a tuple of 2", "self.training"),
        (Softmax, 32, "does not end with its last linear layer, classifier.2: softmax", "the loss has a softmax"),
        (convolutions, 32, r"no linear layer at its end: .* 0 \(Conv2d\)", "torch.nn.Linear"),
        (Small, 48, "fails at classifier.0 on images of 48 x 48 pixels: .*shapes cannot be multiplied", "--size 32"),
        (ten, 32, "has 10 outputs, for 2 classes", "torch.nn.Linear(3072, 2)"),
        (fails, 32, "cannot be made for 2 classes: RuntimeError: not for 2", ""),
        (nn.Conv2d, 32, "wants in_channels, out_channels, kernel_size", "name a function of the number of classes"),
        (lambda classes: print(classes), 32, "gives nothing", "return an nn.Module"),
        (7, 32, "7 is no network", "an nn.Module"),
        ("nowhere.py:Net", 32, "nowhere.py is not there", "FILE.py:NAME"),
        ("no.such.package:Net", 32, "no module no to import", "no/such/package.py:Net"),
    ],
)
def test_what_is_no_network_is_refused_in_plain_words(model: Any, size: int, problem: str, hint: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        pl.network(model, 2, size=size)
    assert hint in caught.value.hint


def test_a_file_is_read_with_care(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(FILE, encoding="utf-8")
    with pytest.raises(UserError, match="is a file: which network of it") as caught:
        pl.network(str(file), 2)
    assert caught.value.details == ("bend", "Net") and caught.value.hint.endswith("net.py:bend")
    with pytest.raises(UserError, match="has no Nett") as caught:
        pl.network(f"{file}:Nett", 2)
    assert "did you mean" in caught.value.hint and "Net" in caught.value.hint
    with pytest.raises(UserError, match="is of type float, and no network"):
        pl.network(f"{file}:SLOPE", 2)
    file.write_text("import nothing_there\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be imported: ModuleNotFoundError: .*nothing_there") as caught:
        pl.network(f"{file}:Net", 2)
    assert caught.value.details == ("net.py, line 1, in <module>",)
    file.write_text("class Net(:\n", encoding="utf-8")
    with pytest.raises(UserError, match="SyntaxError"):
        pl.network(f"{file}:Net", 2)


def test_a_class_of_no_source_is_told_by_its_layers(photos: Path, tmp_path: Path) -> None:
    scope: dict[str, Any] = {"nn": nn, "__name__": "__prompt__"}
    text = """
    class Net(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.fc = nn.Linear(3 * 16 * 16, classes)
        def forward(self, x):
            return self.fc(x.flatten(1))
    """
    exec(dedent(text), scope)
    events = list(
        train_events(configure(photos, model=scope["Net"], **QUICK | {"size": 16, "epochs": 1}, runs=tmp_path))
    )
    (run,) = find_runs(tmp_path)
    assert any(event.event == "noted" and "source of Net cannot be read" in event.words for event in events)
    assert pl.load(run.path, model=scope["Net"]).classes == ("grainy", "smooth")


HELPED = """
from torch import nn
{line}

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = layer(), nn.Linear({width}, classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))
"""


@pytest.mark.parametrize("line", ["from .blocks import layer", "from ..models.blocks import layer"])
@pytest.mark.parametrize("package", [True, False], ids=["package", "folder"])
def test_a_file_imports_relatively_to_the_package_that_it_is_in(tmp_path: Path, line: str, package: bool) -> None:
    folder = tmp_path / "project" / "models"
    folder.mkdir(parents=True)
    if package:
        (folder / "__init__.py").write_text("from .net import Net\n")
        (folder.parent / "__init__.py").touch()
    (folder / "net.py").write_text(HELPED.format(line=line, width=4))
    (folder / "blocks.py").write_text("from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, 4, 3)\n")
    assert known(own.remember(f"{folder}/net.py:Net"), 2, size=32)(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_a_file_finds_what_lies_in_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "net.py").write_text(HELPED.format(line="from zoo.blocks import layer", width=4))
    (tmp_path / "zoo" / "blocks.py").write_text("from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, 4, 3)\n")
    name = own.remember(f"{tmp_path}/zoo/net.py:Net")
    with pytest.raises(UserError, match="No module named 'zoo'") as refused:
        known(name, 2, size=32)
    assert refused.value.hint == "install zoo where pellucid is, or go to the folder that zoo lies in"
    monkeypatch.chdir(tmp_path)
    assert known(name, 2, size=32)(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


BLOCKS = "from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, 4, 3)\n"


@pytest.mark.parametrize(
    ("file", "line", "kept"),
    [
        ("nets/net.py", "from blocks import layer", ["blocks.py", "net.py"]),
        ("nets/net.py", "from .blocks import layer", ["nets/__init__.py", "nets/blocks.py", "nets/net.py"]),
        ("nets/net.py", "from parts.blocks import layer", ["net.py", "parts/__init__.py", "parts/blocks.py"]),
        ("nets/net.py", "import nets.blocks\nlayer = nets.blocks.layer", None),
        ("zoo/nets/net.py", "from ..nets.blocks import layer", ["zoo/nets/blocks.py", "zoo/nets/net.py"]),
    ],
)
def test_a_run_keeps_what_the_code_imports_from_beside_it(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Callable[[], None],
    file: str,
    line: str,
    kept: list[str] | None,
) -> None:
    project = tmp_path / "project"
    path = project / file
    (path.parent / "parts").mkdir(parents=True)
    path.write_text(HELPED.format(line=line, width=4))
    (path.parent / "blocks.py").write_text(BLOCKS)
    (path.parent / "parts" / "__init__.py").write_text("import more")
    (path.parent / "parts" / "blocks.py").write_text(f"from .inner import nn\n{BLOCKS}")
    (path.parent / "parts" / "inner.py").write_text("from torch import nn")
    (path.parent / "more.py").touch()
    (path.parent / "unused.py").touch()
    with monkeypatch.context() as there:
        there.chdir(project)
        run = pl.train(photos, model=f"{file}:Net", **QUICK | {"epochs": 1}, runs=tmp_path / "runs")
    copies = sorted(place.relative_to(run.path).as_posix() for place in run.path.rglob("*.py"))
    assert set(kept or ["nets/net.py", "nets/blocks.py"]) <= set(copies) and "unused.py" not in " ".join(copies)
    (copy,) = run.path.rglob("net.py")
    project.rename(tmp_path / "gone")
    elsewhere()
    for name in list(own._BESIDE):  # nor does another process know them
        own._set_aside(name)
    assert pl.load(run.path, model=f"{copy}:Net").classes == ("grainy", "smooth")


LATE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        from late_helper import pooled
        return self.fc(pooled(self.conv(x)))
"""


@pytest.mark.parametrize("look", [pl.structure, lambda name: pl.network(name, 2, size=32)], ids=["structure", "train"])
def test_what_is_imported_within_forward_is_found_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[str], Any]
) -> None:
    (tmp_path / "net.py").write_text(LATE)
    (tmp_path / "late_helper.py").write_text("def pooled(x):\n    return x.mean((2, 3))\n")
    monkeypatch.delitem(sys.modules, "late_helper", raising=False)
    look(f"{tmp_path}/net.py:Net")
    assert sys.modules["late_helper"].__file__ == str(tmp_path / "late_helper.py")
    (tmp_path / "late_twin.py").touch()
    with pytest.raises(ModuleNotFoundError):  # nobody else's code finds what lies there
        exec(compile("import late_twin", "/elsewhere/others.py", "exec"), {"__name__": "others"})


def test_two_files_each_have_what_lies_beside_them(tmp_path: Path) -> None:
    names = {}
    for width in (4, 6):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "net.py").write_text(HELPED.format(line="from pieces import layer", width=width))
        (folder / "pieces.py").write_text(
            f"from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, {width}, 3)\n"
        )
        names[width] = own.remember(f"{folder}/net.py:Net")
    for width in (4, 6, 4):
        assert known(names[width], 2, size=32).state_dict()["model.conv.weight"].shape[0] == width


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
