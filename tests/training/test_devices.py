"""Training where the network is on another device than the data: on a GPU, and without one as far as shapes go.

torch's fake tensors have a device and no content, so that a step for a GPU can be followed on any machine.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import pellucid as pl
from pellucid.features.views import Features
from pellucid.images.loading import Images, Loader
from pellucid.images.manifest import Split
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.networks.cut import halves
from pellucid.networks.published import default_preprocessing
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Config
from pellucid.training.configure import configure
from pellucid.training.job import Data, Job
from pellucid.training.machine import Hardware
from pellucid.training.stepping import Stepping
from pellucid.training.transfer import freeze
from tests.pictures import make_classes

SMALL: dict[str, Any] = {"model": "small", "size": 32, "batch": 4, "epochs": 1}
TUNE: dict[str, Any] = SMALL | {"mode": "finetune", "weights": "some.safetensors"}
LAST = TUNE | {"train_from": "conv5"}
MODES: dict[str, dict[str, Any]] = {
    "scratch": SMALL,
    "finetune": TUNE,
    "probe by steps": SMALL | {"mode": "probe", "weights": "some.safetensors"},
    "last blocks on kept features": LAST,
    "several views": LAST | {"views": 3},
    "what is frozen computed anew": LAST | {"features": {"cache": "off"}},
    "one logit": SMALL | {"one_logit": True},
    "one logit, class weights, smoothed": SMALL
    | {"one_logit": True, "class_weights": True, "learning": {"label_smoothing": 0.1}},
    "class weights on features": LAST | {"class_weights": True},
    "mixup": SMALL | {"augmentation": {"mixup": 0.2}},
    "cutmix, class weights": SMALL | {"augmentation": {"cutmix": 0.2}, "class_weights": True},
    "mixup, one logit": SMALL | {"augmentation": {"mixup": 0.2}, "one_logit": True},
    "gradients clipped": SMALL | {"learning": {"clip": 1.0}, "optimizer": "sgd"},
    "norms kept": LAST | {"learning": {"norms": "kept"}},
    "several crops": SMALL | {"input": {"crops": 2, "region": 38}},
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Split:
    photos = make_classes(tmp_path_factory.mktemp("data") / "photos", images=6)
    return split(read_samples(photos), validation="0.3", test="0.1", train="rest", seed=0)


class Card(Hardware):
    """Hardware of which the tensors have no content."""

    def to(self, network: nn.Module) -> nn.Module:
        return network  # it was made there


def job_of(config: Config, parts: Split, network: Any) -> Job:
    """All that a training of `config` needs, features of ones where they are kept."""
    frozen = freeze(network, config)
    wanted = default_preprocessing(config.model, size=network.size)
    wanted = wanted.model_copy(update={"crops": config.input.crops or 1, "region": config.input.region})
    images = {
        part: Images(parts.part(part), parts.classes, wanted, how, config.seed)
        for part, how in (("train", config.augmentation), ("validation", None))
    }
    start = "Logits" if config.mode == "probe" else config.train_from
    cut = halves(network, start) if start and config.features.cache == "auto" and not config.mixed else None
    if cut is not None:
        width = cut.frozen(torch.zeros(1, 3, network.size, network.size, device="cuda")).shape[1:]
        row = SimpleNamespace(array=np.ones(width, np.float32))
        images = {
            part: Features([[row] * len(each)] * (config.features.views or 1), each.labels, seed=0)
            for part, each in images.items()
        }
    return Job(
        config=config,
        run=RunFolder(Path("nowhere")),
        network=network,
        frozen=frozen,
        halves=cut,
        data=Data(
            preprocessing=wanted,
            classes=parts.classes,
            labels=np.array(images["train"].labels),
            workers=0,
            **images,
        ),
        hardware=Card(torch.device("cuda", 0), "float32"),
        provenance={},
    )


def loaded(images: Images | Features) -> Any:
    return images.batches(4) if isinstance(images, Features) else Loader(images, batch=4, workers=0)


def mixed(images: torch.Tensor, labels: torch.Tensor, how: Any, *, classes: int, seed: int) -> Any:
    """As images.augmentation.mix, each image with itself."""
    assert seed == 0
    shares = nn.functional.one_hot(labels, classes).float()
    return images, shares if how.mixup or how.cutmix else labels


@pytest.mark.parametrize("mode", MODES)
def test_whatever_enters_a_step_is_on_the_networks_device(
    mode: str, parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fake weights have no layout, and mixing looks at the share that it draws.
    monkeypatch.setattr("pellucid.training.stepping.quick_to_train", lambda _: None)
    monkeypatch.setattr("pellucid.training.stepping.mix", mixed)
    config = configure("photos", **MODES[mode])
    classes = 1 if config.learning.one_logit else 2
    empty = FakeTensorMode(allow_non_fake_inputs=True)
    with empty, torch.no_grad():  # gradients are computed where there is a GPU
        with torch.device("cuda"):
            network = pl.network(config.model, classes, size=config.input.size, **config.options)
        job = job_of(config, parts, network)
        stepping = Stepping(job)
        job.frozen.set_training(network, epoch=0)
    train, validation = (
        list(loaded(images)) for images in (job.data.train, job.data.validation)
    )  # real, and not on the GPU
    with empty, torch.no_grad():
        for images, labels in stepping.batches(train):
            loss, logits, targets = stepping.loss(images, labels, seed=0)
            assert {each.device.type for each in (images, labels, loss.whole, logits, targets)} == {"cuda"}
            for parameter in network.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
            stepping.step(0.1)
        for images, _ in stepping.batches(validation):
            assert stepping.logits(stepping.measured(), images).shape == (len(images), classes)


def moves(source: str) -> Iterator[int]:
    """The lines on which something that is no tensor is moved while inference mode is on.

    A module that is moved there holds tensors of inference, and no step can change them any more.
    """
    for block in ast.walk(ast.parse(source)):
        held = [item.context_expr for item in block.items] if isinstance(block, ast.With) else []
        held += block.decorator_list if isinstance(block, ast.FunctionDef) else []
        if any("inference_mode" in ast.unparse(one) for one in held):
            yield from (
                call.lineno
                for call in ast.walk(block)
                if isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ("to", "cuda", "cpu", "half", "float", "bfloat16", "double")
                and not is_tensor(call.func.value)
            )


def is_tensor(value: ast.expr) -> bool:
    """What networks are given or give is a tensor: images, parts of one, and what calling something made."""
    words = ast.unparse(value)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in ("eval", "train"):
        return False
    return isinstance(value, ast.Call | ast.Subscript) or words in (
        "images",
        "given",
        "made",
        "inputs",
        "logits",
        "labels",
        "features",
    )


def test_no_module_is_moved_in_inference_mode() -> None:
    sources = sorted(Path(pl.__file__).parent.rglob("*.py"))
    assert len(sources) > 80
    texts = {path.name: text for path in sources if "inference_mode" in (text := path.read_text())}
    assert not [f"{name}:{line}" for name, text in texts.items() for line in moves(text)]
    begun = "with torch.inference_mode():\n    "
    for wrong in ("job.network.eval().to(device)", "network.to(device)", "self.half.cuda()", "copy.bfloat16()"):
        assert list(moves(begun + wrong)) == [2], wrong
    assert not list(moves(begun + "network(images.to(device)).float().cpu()"))


ON_GPU: dict[str, dict[str, Any]] = {name: chosen for name, chosen in MODES.items() if "weights" not in chosen}
ON_GPU |= {"moving average": SMALL | {"learning": {"ema": 0.9}}}
HEADS: dict[str, Any] = {"model": "inception_v1", "size": 40, "options": {"auxiliary": True, "width": 0.1}}
ON_GPU |= {"auxiliary heads": SMALL | HEADS | {"mode": "scratch"}}
ON_WEIGHTS: dict[str, dict[str, Any]] = {
    "probe": {"mode": "probe"},
    "probe by steps": {"mode": "probe", "epochs": 2},
    "finetune": {"mode": "finetune", "epochs": 2},
    "last blocks": {"mode": "finetune", "train_from": "conv5", "epochs": 2, "views": 2},
    "probed at, then trained": {"mode": "finetune", "epochs": 2, "probe_at": "all"},
    "probed at, then last blocks": {"mode": "finetune", "train_from": "conv5", "epochs": 2, "probe_at": "conv3"},
    "moving average on features": {"mode": "probe", "epochs": 2, "learning": {"ema": 0.9}, "class_weights": True},
}
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def weights(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SMALL | {"epochs": 3, "workers": 0, "device": "cuda"}
    return pl.train(photos, **settings, runs=tmp_path_factory.mktemp("runs")).model


@pytest.mark.cuda
@GPU
@pytest.mark.parametrize("mode", ON_GPU)
def test_a_gpu_trains_from_scratch(mode: str, photos: Path, tmp_path: Path) -> None:
    run = pl.train(photos, **ON_GPU[mode], device="cuda", workers=0, runs=tmp_path)
    assert run.state() == "finished" and pl.load(run.path).classes == ("grainy", "smooth")


@pytest.mark.cuda
@GPU
@pytest.mark.parametrize("mode", ON_WEIGHTS)
def test_a_gpu_trains_from_weights(mode: str, photos: Path, weights: Path, tmp_path: Path) -> None:
    chosen = {"model": "small", "size": 32, "batch": 8} | ON_WEIGHTS[mode]
    run = pl.train(photos, **chosen, weights=str(weights), device="cuda", workers=0, runs=tmp_path)
    assert run.state() == "finished" and pl.load(run.path).classes == ("grainy", "smooth")
