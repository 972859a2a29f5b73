"""Files of weights as people have them: known by content, found wherever they lie inside, or refused by what they are.

What each format's reader computes is in test_elsewhere; here is what reaches it.
"""

import gzip
import io
import json
import lzma
import pickle
import shlex
import struct
import subprocess
import tarfile
import zipfile
from argparse import Namespace
from collections import UserDict, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks.loading import names_elsewhere
from pellucid.weights.files import read_tensors
from tests.references.seeded import HERE
from tests.shared import shared

TINY: dict[str, Any] = {"width": 0.0625}


def tiny(**options: Any) -> Any:
    return pl.network("resnet18", 2, **(TINY | options))


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    """A small ResNet-18's weights by torchvision's names, none like those that a new network starts with."""
    net = tiny()
    names = names_elsewhere(net, "torchvision")
    torch.manual_seed(5)
    return {names[ours]: torch.randn_like(value.float()).to(value.dtype) for ours, value in net.state_dict().items()}


def loaded(source: Path | dict[str, Any], theirs: dict[str, Tensor], **settings: Any) -> Any:
    """The report, once every tensor of a new network is known to be what `theirs` says."""
    net = tiny()
    report = pl.load_weights(net, source, **settings)
    names = names_elsewhere(net, "torchvision")
    for ours, value in net.state_dict().items():
        assert torch.equal(value, theirs[names[ours]].to(value.dtype)), ours
    return report


def named(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def other(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value + 1 for name, value in state.items()}


ADAM = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 0.1}]}
LAID_OUT: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "torch's ImageNet example": lambda s: {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": named("module.", s),
        "best_acc1": torch.tensor(71.0),
        "optimizer": ADAM,
    },
    "torchvision's references": lambda s: {"model": s, "optimizer": ADAM, "lr_scheduler": {}, "epoch": 3},
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(3), **named("module.", s)},
    "compiled": lambda s: named("_orig_mod.", s),
    "compiled within": lambda s: named("model._orig_mod.", s),
    "parallel twice": lambda s: named("module.module.", s),
    "Lightning": lambda s: {
        "state_dict": named("model.", s) | {"criterion.weight": torch.ones(2), "acc.total": torch.tensor(4)},
        "optimizer_states": [ADAM],
        "pytorch-lightning_version": "2.4",
    },
    "under net": lambda s: {"net": s},
    "under network, deeply": lambda s: {"a": {"b": {"network": s}}, "step": 1},
    "under weights": lambda s: {"weights": s},
    "under a name of one's own": lambda s: {"my_weights_7": s},
    "the average alone": lambda s: {"state_dict_ema": s},
    "beside its average": lambda s: {"state_dict": s, "state_dict_ema": other(s)},
    "after its average": lambda s: {"model_ema": named("module.", other(s)), "model": s},
    "average among the names": lambda s: {"state_dict": named("model.", s) | named("ema_model.", other(s))},
    "the same twice": lambda s: {"model": s, "state_dict": dict(s)},
    "optimizer by name": lambda s: {"model": s, "optim": {"state": {n: {"exp_avg": v * 0} for n, v in s.items()}}},
    "a scalar beside": lambda s: {**s, "epoch": torch.tensor(7), "lr": torch.tensor(0.1)},
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_the_weights_are_found_wherever_a_checkpoint_keeps_them(
    name: str, theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(LAID_OUT[name](theirs), tmp_path / "some.ckpt")
    report = loaded(tmp_path / "some.ckpt", theirs)
    assert report.layout == "torchvision" and not report.left_random


def test_what_was_decided_is_said(theirs: dict[str, Tensor]) -> None:
    report = loaded({"state_dict": theirs, "state_dict_ema": other(theirs)}, theirs)
    assert (
        report.place == "state_dict."
        and "of state_dict, state_dict_ema the weights under state_dict" in report.notes[0]
    )
    report = loaded(named("model.", theirs) | {"criterion.weight": torch.ones(3)}, theirs)
    assert report.place == "model." and report.left_out == ("criterion.weight",)
    assert any("criterion.weight" in note for note in report.notes)
    assert not loaded(theirs, theirs).notes


@pytest.mark.parametrize(
    "two",
    [
        lambda s: {"generator": s, "discriminator": other(s)},
        lambda s: named("student.", s) | named("teacher.", other(s)),
        lambda s: {"model_ema": s, "ema": other(s)},
    ],
)
def test_two_models_in_one_file_are_asked_about(
    two: Callable[[dict[str, Tensor]], dict[str, Any]], theirs: dict[str, Tensor]
) -> None:
    net = tiny()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(UserError, match="weights of several models"):
        pl.load_weights(net, two(theirs))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_two_tensors_that_want_one_name_are_never_the_last_of_both(theirs: dict[str, Tensor]) -> None:
    net = tiny()
    with pytest.raises(UserError, match=r"want to be called conv1\.weight"):
        pl.load_weights(net, {"_orig_mod.conv1.weight": torch.ones(4, 3, 7, 7), **theirs})
    twice = {"model/conv1_conv/kernel": torch.ones(7, 7, 3, 4), "Adam/v/conv1_conv/kernel": torch.zeros(7, 7, 3, 4)}
    with pytest.raises(UserError, match="does not fit resnet50") as caught:
        pl.load_weights(pl.network("resnet50", 2, width=0.0625), twice, layout="keras")
    assert "model/conv1_conv/kernel and Adam/v/conv1_conv/kernel want to be the same tensor" in str(caught.value)


def written(form: str, state: dict[str, Tensor]) -> bytes:
    arrays = {name: value.numpy() for name, value in state.items()}
    file = io.BytesIO()
    match form:
        case "safetensors":
            return save(state)
        case "npz":
            np.savez(file, **arrays)
        case "pickle":
            return pickle.dumps(arrays)
        case "torch":
            torch.save(state, file)
        case "old torch":
            torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


FORMS = ["safetensors", "npz", "pickle", "torch", "old torch"]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_known_by_its_content_whatever_it_is_called(
    form: str, theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    for suffix in (".pth", ".safetensors", ".npz", ".h5", ".ckpt", ".onnx", ""):
        file = tmp_path / f"weights{suffix}"
        file.write_bytes(written(form, theirs))
        assert loaded(file, theirs).layout == "torchvision"


def test_a_pickled_checkpoint_of_1_0_is_read() -> None:
    assert len(read_tensors(shared("data/weights/resnet20-12fca82f.th"))) > 50


class Settings(dict[str, float]):
    """As people derive them, to write settings.rate."""


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_checkpoint_holds_besides_is_not_run(zipped: bool, theirs: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "timm.pth.tar"
    history: dict[str, list[float]] = defaultdict(list, loss=[0.1])
    content = {"state_dict": theirs, "args": Namespace(lr=0.1), "metric": np.float64(71.5), "history": history}
    content |= {"environment": UserDict(a=1), "own": Settings(rate=0.1)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    report = loaded(file, theirs)
    assert "argparse.Namespace" in report.notes[0] and "was not read" in report.notes[0]


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_of_numpy_that_torch_saved_are_weights(zipped: bool, theirs: dict[str, Tensor], tmp_path: Path) -> None:
    arrays = {name: value.numpy() for name, value in theirs.items()}
    arrays["conv1.weight"] = np.asfortranarray(arrays["conv1.weight"])
    arrays["bn1.bias"] = arrays["bn1.bias"].astype(">f4")
    content = {"state_dict": arrays, "classes": np.array(["cat", "dog"]), "mixed": np.array([None, "x"], dtype=object)}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert loaded(tmp_path / "a.pth", theirs).notes == ("the weights are those under state_dict",)


def test_a_whole_model_that_was_pickled_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 1)), tmp_path / "whole.pth")
    with pytest.raises(UserError, match="holds more than weights") as caught:
        read_tensors(tmp_path / "whole.pth")
    assert "torch.nn.modules.conv.Conv2d" in str(caught.value) and "state_dict()" in caught.value.hint
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth", pickle_protocol=4)
    with pytest.raises(UserError, match="holds more than weights") as caught:
        read_tensors(tmp_path / "other.pth")
    assert "pickle_protocol" in str(caught.value)


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a.pth"))
    return file.getvalue()


OTHERS = {
    "is empty": b"",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "a web page": b"\n <!DOCTYPE html><html>404</html>",
    "It says: {": b'{"error": "Repository not found"}',
    "a text that begins with 'Access denied": b"Access denied.\n",
    "a TorchScript program": zipped(**{"net/data.pkl": b"", "net/code/net.py": b"", "net/data/0": b""}),
    "a zip archive of other things (a.txt)": zipped(**{"a.txt": b"x"}),
    "was cut short": zipped(a=b"x" * 90)[:60],
    "a program that torch has exported": zipped(**{"net/archive_format": b"pt2", "net/data/weights/weight_0": b""}),
    "a tar archive": tarred(),
    "it is compressed by gzip": b"\x1f\x8b\x08\x00",
    "it is compressed by xz": lzma.compress(b"x" * 999),
    "a tar archive, compressed by gzip": tarred("w:gz"),
    "a tar archive, compressed by bzip2": tarred("w:bz2"),
    "a tar archive, compressed by xz": tarred("w:xz"),
    "an ONNX model": b"\x08\x08\x12\x07pytorch\x1a\x052.3.0",
    "a TensorFlow Lite model": b"\x1c\0\0\0TFL3\x14\0",
    "a photograph": b"\xff\xd8\xff\xe0",
    "a single NumPy array": b"\x93NUMPY\x01\x00",
    "none of the formats that are known": b"\x00\x01\x02\x03",
}


@pytest.mark.parametrize("words", OTHERS)
def test_what_is_no_file_of_weights_is_told_by_what_it_is(words: str, tmp_path: Path) -> None:
    for suffix in (".pth", ".npz", ".h5", ".safetensors"):
        file = tmp_path / f"file{suffix}"
        file.write_bytes(OTHERS[words])
        with pytest.raises(UserError) as caught:
            read_tensors(file)
        assert words in str(caught.value) and str(file) in str(caught.value) and caught.value.hint


def test_what_unpacks_a_compressed_file_can_be_typed(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "my weights.pth"
    file.write_bytes(gzip.compress(written("torch", theirs)))
    with pytest.raises(UserError) as caught:
        read_tensors(file)
    command, out = caught.value.hint.removesuffix(" unpacks it"), tmp_path / "my weights.unpacked.pth"
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert shlex.split(command)[-1] == out.name and loaded(out, theirs)


def test_a_file_of_an_optimizers_state_is_told(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    named = {"state": {name: {"exp_avg": value} for name, value in theirs.items()}, "param_groups": []}
    for content in (ADAM, {"optimizer": ADAM, "epoch": 3}, named):
        torch.save(content, tmp_path / "optimizer.pth")
        with pytest.raises(UserError, match="holds an optimizer's state, and no weights"):
            pl.load_weights(tiny(), tmp_path / "optimizer.pth")


def test_complex_numbers_are_told_apart_from_a_quantised_networks(theirs: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match=r"holds conv1\.weight as complex64") as caught:
        pl.load_weights(tiny(), theirs | {"conv1.weight": theirs["conv1.weight"].to(torch.complex64)})
    assert "complex numbers cannot be built here" in caught.value.hint


def test_another_networks_names_are_told_as_the_file_has_them(theirs: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="does not hold the tensors of resnet18, by whoever's") as caught:
        pl.load_weights(tiny(), {str(place): tensor for place, tensor in enumerate(theirs.values())})
    assert "it has 0, 1, 2, 3, ... and" in str(caught.value) and "begin with 0: is it another" in caught.value.hint
    with pytest.raises(UserError, match="does not hold the tensors of resnet18") as caught:  # but `layer1.0.` has some
        pl.load_weights(tiny(), named("net_", theirs))
    assert "begin with net_conv1.weight: is it another" in caught.value.hint


def test_a_head_that_is_replaced_may_have_had_other_layers(theirs: dict[str, Tensor]) -> None:
    body = {name: value for name, value in theirs.items() if not name.startswith("fc.")}
    for name in ("fc.1", "fc.0", "classifier", "head.mlp", "last_linear", "projection_head.2"):
        report = pl.load_weights(tiny(), body | {f"{name}.weight": torch.ones(2, 5)}, head=False)
        assert report.notes == (f"1 tensor of the file is not used: {name}.weight",)
        with pytest.raises(UserError, match="does not fit"):
            pl.load_weights(tiny(), body | {f"{name}.weight": torch.ones(2, 5)})
    with pytest.raises(UserError, match="holds more than resnet18 has: layer5"):
        pl.load_weights(tiny(), body | {"layer5.fc.weight": torch.ones(2, 5)}, head=False)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("student", "teacher"), "student"),
        (("best.model", "last.model"), "best.model"),
        (("state_dict.module.encoder_q.", "state_dict.module.encoder_k."), "state_dict.module.encoder_q"),
    ],
)
def test_of_several_models_each_is_named_and_one_can_be_saved_as_it_is_said(
    theirs: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, str],
    chosen: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    content: dict[str, Any] = {}
    for at, name in enumerate(names):
        tensors = {key: tensor + at for key, tensor in theirs.items()}
        first, _, rest = name.partition(".")
        inside = content.setdefault(first, {})
        inside.update(named(rest, tensors) if rest.endswith(".") else {rest: tensors} if rest else tensors)
    torch.save(content, "several.pth")
    with pytest.raises(UserError, match="weights of several models") as caught:
        pl.load_weights(tiny(), "several.pth")
    assert sorted(caught.value.details) == sorted(name.removesuffix(".") for name in names)
    assert f"for {chosen}: " in caught.value.hint
    exec("import torch\n" + caught.value.hint.partition(f"for {chosen}: ")[2])
    assert pl.load_weights(tiny(), "weights.pth").layout


def test_a_folder_stands_for_the_model_in_it_or_says_what_is_in_it(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UserError, match="run is a folder"):
        read_tensors(run)
    (run / "config.toml").touch()
    with pytest.raises(UserError, match="a run without a model yet") as caught:
        read_tensors(run)
    assert f"`pellucid resume {run}` goes on" in caught.value.hint
    (run / "config.toml").write_text('model = "my nets/net.py:Net"\n')
    with pytest.raises(UserError, match="a run without a model yet") as caught:
        read_tensors(run)
    assert f"`pellucid resume {run} --model-code 'my nets/net.py:Net'` goes on" in caught.value.hint
    save_file(theirs, run / "model.safetensors")
    assert f"the weights are {run / 'model.safetensors'}" in loaded(run, theirs).notes
    with pytest.raises(UserError, match="is not there"):
        read_tensors(tmp_path / "missing.pth")
    with pytest.raises(UserError, match="cannot be used: "):
        read_tensors(tmp_path / ("a" * 300))


def test_a_model_in_parts_is_read_from_the_list_of_them(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    names = list(theirs)
    files = {name: f"part-{at % 2}.safetensors" for at, name in enumerate(names)}
    for part in set(files.values()):
        save_file({name: theirs[name] for name in names if files[name] == part}, tmp_path / part)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": files}))
    loaded(index, theirs)
    loaded(tmp_path, theirs)
    index.write_text(json.dumps({"weight_map": files | {"fc.bias": "../part-0.safetensors"}}))
    with pytest.raises(UserError, match="no file beside it"):
        read_tensors(index)
    index.write_text(json.dumps({"weight_map": files | {"fc.bias": "part-2.safetensors"}}))
    with pytest.raises(UserError, match="parts that are not beside it"):
        read_tensors(index)


ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "NaN or infinite": lambda w: torch.where(w == w.max(), torch.tensor(float("nan")), w),
    "infinite": lambda w: w.double() * 1e300,
    "as bool": lambda w: w > 0,
    "as int64": lambda w: w.long(),
    "as uint8": lambda w: w.abs().byte(),
    "as complex64": lambda w: w.to(torch.complex64),
    "of float8_e4m3fn": lambda w: w.to(torch.float8_e4m3fn),
    "sparse": lambda w: w.to_sparse(),
    "without content": lambda w: w.to("meta"),
    "quantised": lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", ODD)
@pytest.mark.parametrize("wanted", ["conv1.weight", "fc.weight", "bn1.running_var"])
def test_what_cannot_be_a_weight_is_refused_by_name(
    words: str, wanted: str, theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "odd.pth"
    torch.save({**theirs, wanted: ODD[words](theirs[wanted])}, file)
    net = tiny()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(UserError) as caught:
        pl.load_weights(net, file)
    assert wanted in str(caught.value) and words in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_is_converted(kind: torch.dtype, theirs: dict[str, Tensor]) -> None:
    given = {name: value.to(kind) if value.is_floating_point() else value for name, value in theirs.items()}
    loaded(given, {name: value.float() if value.is_floating_point() else value for name, value in given.items()})


# ---- Keras


def test_an_optimizers_moments_are_no_weights(tmp_path: Path) -> None:
    """As Keras 2 saves a compiled model, as Keras 3 does, and a compiled model inside another."""
    wanted = {"conv1_conv/kernel": np.full((3, 3, 3, 4), 2.0), "conv1_conv/bias": np.full(4, 3.0)}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for place, factor in (("optimizer_weights", 9), ("model_weights", 1)):
            group = file.create_group(place)
            names = [f"{'Adam/v/' if factor == 9 else ''}{name}:0" for name in wanted]
            for name, array in zip(names, wanted.values(), strict=True):
                group[name] = array * factor
            group.attrs["weight_names"] = names
    for path, inside in (("new.weights.h5", ""), ("nested.weights.h5", "layers/functional/")):
        with h5py.File(tmp_path / path, "w") as file:
            for place in ("optimizer/vars", "metrics/mean/vars", f"{inside}optimizer/momentum/vars"):
                for number, array in enumerate(wanted.values()):
                    file.require_group(place)[str(number)] = array * 9
            for number, array in enumerate(wanted.values()):
                file.require_group(f"{inside}layers/conv2d/vars")[str(number)] = array
            file[f"{inside}layers/conv2d/vars"].attrs["name"] = "conv1_conv"
    for path in ("old.h5", "new.weights.h5", "nested.weights.h5"):
        found = read_tensors(tmp_path / path)
        assert found.keys() == wanted.keys(), path
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted), path


def test_a_model_of_ones_own_class_keeps_its_layers_under_names_of_its_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "own.weights.h5", "w") as file:
        file["conv1_conv/vars/0"] = np.full((1, 1, 3, 2), 2.0)
        file["optimizer/vars/0"] = np.full((1, 1, 3, 2), 9.0)
        file.create_group("layers")
    assert read_tensors(tmp_path / "own.weights.h5").keys() == {"conv1_conv/kernel"}


def test_a_list_of_names_that_is_too_long_for_hdf5_goes_on_elsewhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("resnet50")
        for at, name in enumerate(("a/kernel:0", "b/kernel:0")):
            group[name] = np.ones((1, 1)) * at
            group.attrs[f"weight_names{at}"] = [name]
    assert read_tensors(tmp_path / "w.h5").keys() == {"a/kernel", "b/kernel"}


def test_two_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for model in ("one", "two"):
            file[f"{model}/conv1_conv/kernel:0"] = np.ones((1, 1))
            file[model].attrs["weight_names"] = ["conv1_conv/kernel:0"]
    with pytest.raises(UserError, match="two layers called conv1_conv"):
        read_tensors(tmp_path / "w.h5")


@pytest.mark.parametrize("how", ["link", "storage", "virtual"])
def test_a_file_of_keras_that_would_read_another_is_refused(how: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = np.ones((2, 2))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        layer = file.create_group("layers/dense/vars")
        if how == "link":
            layer["0"] = h5py.ExternalLink("secret.h5", "/kernel")
        elif how == "storage":
            layer.create_dataset("0", (2, 2), "f4", external=[(str(tmp_path / "secret.h5"), 0, 16)])
        else:
            virtual = h5py.VirtualLayout((2, 2), "f4")
            virtual[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "kernel", (2, 2))
            layer.create_virtual_dataset("0", virtual)
    with pytest.raises(UserError, match="would read other files"):
        read_tensors(tmp_path / "w.h5")


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        layer = file.create_group("a/b")
        layer["up"], layer["again"], file["a/self"] = file["a"], file["a"], file["a"]
        file["a/c/vars/0"] = np.ones((2, 2))
    assert "c/kernel" in read_tensors(tmp_path / "w.h5")


# ---- what TensorFlow and Paddle keep beside


def test_slots_and_averages_of_tensorflow_are_no_weights() -> None:
    net = pl.network("inception_v1", 2, width=0.0625, size=64, conventions="tensorflow")
    names = names_elsewhere(net, "tf-slim")
    shaped = {ours: value for ours, value in net.state_dict().items() if not ours.endswith("num_batches_tracked")}

    def as_theirs(value: Tensor) -> Tensor:
        return value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T if value.ndim == 2 else value

    plain = {names[ours]: as_theirs(value) for ours, value in shaped.items()}
    slots = {
        f"{before}{name}/{slot}": value * 0 + 9
        for name, value in plain.items()
        for before, slot in (
            ("", "Momentum"),
            ("OptimizeLoss/", "Adam_1"),
            ("", "Adagrad"),
            ("", "ExponentialMovingAverage"),
        )
    }
    fresh = pl.network("inception_v1", 2, width=0.0625, size=64, conventions="tensorflow")
    assert pl.load_weights(fresh, slots | plain | {"global_step": torch.tensor(7)}).layout == "tf-slim"
    for ours, value in net.state_dict().items():
        assert torch.equal(fresh.state_dict()[ours], value), ours
    with pytest.raises(UserError, match="does not fit inception_v1") as caught:
        pl.load_weights(fresh, plain | {f"tower_1/{name}": value for name, value in plain.items()}, layout="tf-slim")
    assert "want to be the same tensor" in str(caught.value)


def test_objects_of_tensorflow_2_have_no_names_of_layers() -> None:
    names = (
        "layer_with_weights-0/kernel/",
        "layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/m/",
        "save_counter/",
    )
    given = {f"{name}.ATTRIBUTES/VARIABLE_VALUE": torch.ones(2, 2) for name in names}
    with pytest.raises(UserError, match="no names of layers") as caught:
        pl.load_weights(tiny(), given)
    assert "save_weights" in caught.value.hint


def test_a_state_of_paddles_optimizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.pdopt").write_bytes(pickle.dumps({"linear_0.w_0_moment1_0": np.ones((2, 2)), "LR_Scheduler": {}}))
    with pytest.raises(UserError, match="an optimizer's state of Paddle"):
        read_tensors(tmp_path / "net.pdopt")


ELSEWHERE = [
    ("resnet50", "keras"),
    ("resnet18", "paddle"),
    ("inception_v3", "paddle"),
    ("inception_v1", "tf-slim"),
    ("vgg11", "keras"),
]
KINDS = [torch.float32, torch.float16, torch.bool, torch.int64, torch.uint16, torch.complex64]


@cache
def small(name: str, layout: str) -> tuple[Any, dict[str, str]]:
    size = 224 if name == "vgg11" else None
    net = pl.network(name, 2, width=0.0625, size=size, conventions="tensorflow" if layout != "paddle" else "torch")
    return net, names_elsewhere(net, layout)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ELSEWHERE),
    st.lists(
        st.tuples(st.integers(0, 10**6), st.lists(st.integers(0, 3), max_size=5), st.sampled_from(KINDS)), max_size=6
    ),
    st.integers(0, 30),
)
def test_tensors_of_any_kind_and_shape_under_known_names_are_refused(
    which: tuple[str, str], changes: list[tuple[int, list[int], torch.dtype]], kept: int
) -> None:
    net, names = small(*which)
    some = list(names.values())
    state: dict[str, Any] = {name: torch.ones(1) for name in some[:kept]}
    for at, shape, kind in changes:
        state[some[at % len(some)]] = torch.ones(shape).to(kind)
    before = next(net.parameters()).clone()
    with pytest.raises(UserError):
        pl.load_weights(net, state)
    assert torch.equal(next(net.parameters()), before)


names = st.sampled_from(["state_dict", "net", "a", "weights", "model", "0", "ckpt.best"])
wrappers = st.sampled_from(["module.", "model.", "_orig_mod.", "backbone.", "encoder.", "net.", "x1."])
beside = st.sampled_from(
    [{"epoch": 3}, {"n_averaged": torch.tensor(2)}, {"optimizer": ADAM}, {"args": None, "best": torch.tensor(0.5)}]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names, max_size=4), st.lists(wrappers, max_size=3), st.lists(beside, max_size=3))
def test_however_deep_and_however_wrapped_the_same_weights_are_found(
    theirs: dict[str, Tensor], deep: list[str], before: list[str], more: list[dict[str, Any]]
) -> None:
    content: dict[str, Any] = named("".join(before), theirs)
    for name in deep:
        content = {name: content}
        for one in more:
            content = {**one, **content}
    loaded(content, theirs)


# ---- damaged, or made to do harm


def test_a_file_that_says_it_holds_far_more_than_it_has_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("a.npy", bytes(1000))
        archive.infolist()[0].file_size = 2**31  # what the directory of the archive will say
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**7, 10**6)})
    (tmp_path / "huge.npz").write_bytes(zipped(**{"a.npy": header.getvalue()}))
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (10**6, 10**6), "f4", chunks=(1000, 1000))
    torch.save({"weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "huge.pth")
    text = json.dumps({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}).encode()
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    for name in ("bomb.npz", "huge.npz", "huge.h5", "huge.pth", "huge.safetensors"):
        with pytest.raises(UserError, match=name):
            read_tensors(tmp_path / name)


def test_pickled_objects_in_an_npz_are_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.ones(3), b=np.array([{}, None], dtype=object))
    with pytest.raises(UserError, match="holds b as a pickled object"):
        read_tensors(tmp_path / "w.npz")


def test_a_pickle_that_doubles_itself_ends(tmp_path: Path) -> None:
    doubled = b"\x80\x02}X\x01\x00\x00\x00aK\x01" + b"q\x00h\x00\x86" * 64 + b"s."
    (tmp_path / "w.pdparams").write_bytes(doubled)
    with pytest.raises(UserError, match="no tensors by name"):
        read_tensors(tmp_path / "w.pdparams")


WHOLE = {
    "small.keras": HERE / "small.keras",
    "small.weights.h5": HERE / "small.weights.h5",
    "small.h5": HERE / "small.h5",
    "small_4.pdparams": HERE / "small_4.pdparams",
}


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    state = {
        "conv.weight": torch.ones(2, 3, 3, 3),
        "conv.bias": torch.zeros(2),
        "bn.num_batches_tracked": torch.tensor(3),
    }
    return {form: written(form, state) for form in FORMS} | {name: path.read_bytes() for name, path in WHOLE.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [*FORMS, *WHOLE])
def test_a_file_that_was_cut_short_is_told(form: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    content = whole[form]
    for length in (0, 1, 7, 60, len(content) // 2, len(content) - 1):
        for suffix in (".pth", ".npz"):
            file = tmp_path / f"cut{suffix}"
            file.write_bytes(content[:length])
            try:
                found = read_tensors(file)
            except UserError as error:
                assert str(file) in str(error) and error.hint
            else:  # what follows the last tensor of some formats says nothing
                assert length == len(content) - 1 and len(found) == len(read_tensors_of(content, tmp_path))


def read_tensors_of(content: bytes, folder: Path) -> dict[str, Tensor]:
    (folder / "whole").write_bytes(content)
    return read_tensors(folder / "whole")


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from([*FORMS, *WHOLE]), data=st.data())
def test_a_file_with_other_bits_is_read_or_refused(
    form: str, data: st.DataObject, whole: dict[str, bytes], tmp_path: Path
) -> None:
    content = bytearray(whole[form])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file = tmp_path / "flipped"
    file.write_bytes(content)
    try:
        assert all(isinstance(tensor, Tensor) for tensor in read_tensors(file).values())
    except UserError as error:
        assert str(file) in str(error)


def test_what_belongs_to_a_loss_a_metric_or_a_profiler_is_left_aside(tmp_path: Path) -> None:
    net = pl.network("small", 3)
    state = {f"model.{name}": tensor for name, tensor in net.state_dict().items()}
    beside = {
        "criterion.weight": torch.ones(3),
        "loss_fn.pos_weight": torch.ones(3),
        "train_metrics.accuracy.correct": torch.zeros(3),
        "model.total_ops": torch.zeros(1, dtype=torch.float64),
        "model.conv1.total_params": torch.zeros(1, dtype=torch.float64),
    }
    torch.save({"state_dict": state | beside}, tmp_path / "lightning.ckpt")
    other = pl.network("small", 3)
    report = pl.load_weights(other, tmp_path / "lightning.ckpt")
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in net.state_dict().items())
    assert {"total_ops", "conv1.total_params"} <= {name.removeprefix("model.") for name in report.left_out}


def test_a_state_in_a_list_is_found(tmp_path: Path) -> None:
    net = pl.network("small", 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    torch.save([net.state_dict(), optimizer.state_dict(), 3], tmp_path / "list.pth")
    torch.save((7, net.state_dict()), tmp_path / "tuple.pth")
    for name in ("list.pth", "tuple.pth"):
        other = pl.network("small", 3)
        pl.load_weights(other, tmp_path / name)
        assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in net.state_dict().items())
