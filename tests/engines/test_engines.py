"""Engines: which one computes a file, what it says of itself, and what is refused."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.engines import choose, fastest
from pellucid.engines.choose import open_engine
from pellucid.errors import UserError
from pellucid.runs import provenance
from tests.models import saved

pytest.importorskip("torch")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    pl.export(model, model.with_name("model.onnx"))
    return model.with_name("model.onnx")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if no other engine were installed."""
    monkeypatch.setattr(choose, "find_spec", lambda package: object() if package in names else None)


def test_a_file_is_known_by_what_is_in_it(tmp_path: Path, model: Path, exported: Path) -> None:
    for made, name in ((model, "renamed.onnx"), (exported, "renamed.safetensors")):
        (tmp_path / name).write_bytes(made.read_bytes())
    assert open_engine(tmp_path / "renamed.onnx").runtime.name == "torch"
    assert open_engine(tmp_path / "renamed.safetensors", engine="onnxruntime").runtime.name == "onnxruntime"


def test_an_engine_that_does_not_compute_such_files_says_which_does(model: Path, exported: Path) -> None:
    with pytest.raises(UserError, match=r"onnxruntime does not compute model\.safetensors") as refused:
        open_engine(model, engine="onnxruntime")
    assert "pellucid export" in refused.value.hint
    with pytest.raises(UserError, match=r"torch does not compute model\.onnx"):
        open_engine(exported, engine="torch")
    with pytest.raises(UserError, match="there is no engine 'onnxrutime'") as refused:
        open_engine(exported, engine="onnxrutime")
    assert refused.value.hint == "did you mean onnxruntime?"


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(
    model: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "onnxruntime")
    with pytest.raises(UserError, match="computed by torch, which is not installed") as refused:
        open_engine(model)
    assert refused.value.hint.startswith("pip install 'pellucid[train]'")
    with pytest.raises(UserError, match="openvino, which is not installed") as refused:
        open_engine(exported, engine="openvino")
    assert refused.value.hint == "pip install 'pellucid[openvino]'"
    assert open_engine(exported).runtime.name == "onnxruntime"


@pytest.mark.parametrize("slower", ["onnxruntime", "openvino"])
def test_the_fastest_is_taken_and_remembered(
    exported: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, slower: str
) -> None:
    pytest.importorskip("openvino")
    seconds = {"onnxruntime": 1.0, "openvino": 1.0} | {slower: 3.0}
    timed = []

    def times(engines: list[Any]) -> list[list[float]]:
        timed.append([engine.runtime.name for engine in engines])
        return [[seconds[engine.runtime.name]] for engine in engines]

    monkeypatch.setattr(fastest, "time_in_turns", times)
    chosen = open_engine(exported)
    assert chosen.runtime.name != slower
    assert chosen.chosen_from == f"the fastest here: 3 times as fast as {slower}"
    assert open_engine(exported).runtime.name != slower
    assert len(timed) == 1
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["engines"]


def test_what_cannot_reproduce_the_proof_is_no_choice(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("pellucid.engines.openvino_engine")
    monkeypatch.setattr(openvino.OpenVino, "logits", lambda _, pixels: np.zeros((len(pixels), 3), np.float32))
    chosen = open_engine(exported)
    assert chosen.runtime.name == "onnxruntime"
    assert "openvino cannot" in chosen.chosen_from


def test_engines_are_really_timed_in_turns(exported: Path) -> None:
    engine = open_engine(exported, engine="onnxruntime")
    first, second = fastest.time_in_turns([engine, engine])
    assert len(first) == len(second) > 1
    assert min(*first, *second) > 0


def test_openvino_computes_in_float32_unless_told_otherwise(exported: Path) -> None:
    pytest.importorskip("openvino")
    engine = open_engine(exported, engine="openvino")
    compiled = engine.runtime._compiled  # OpenVINO's own word for it
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert engine.words == "openvino, float32, cpu"


def test_another_precision_is_said_and_held_to_its_own_bound(exported: Path) -> None:
    pytest.importorskip("openvino")
    if "bfloat16" not in choose.precisions("openvino"):
        pytest.skip("this processor does not compute in bfloat16")
    engine = open_engine(exported, engine="openvino", precision="bfloat16")
    assert engine.words == "openvino, bfloat16, cpu"


def test_onnxruntime_does_not_promise_what_it_does_not_do(exported: Path) -> None:
    with pytest.raises(UserError, match="computes a file as it was written"):
        open_engine(exported, engine="onnxruntime", precision="bfloat16")
    with pytest.raises(UserError, match="not on 'cuda'"):
        open_engine(exported, engine="onnxruntime", device="cuda")


def test_threads_are_those_that_are_granted(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    given = []
    session = onnxruntime.InferenceSession

    def noted(path: str, options: Any, **rest: Any) -> Any:
        given.append(options.intra_op_num_threads)
        return session(path, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    monkeypatch.setattr("pellucid.engines.onnxruntime_engine.processors", lambda: 1)
    open_engine(exported, engine="onnxruntime")
    open_engine(exported, engine="onnxruntime", threads=2)
    assert given == [1, 2]


THREADS = """
import os, sys
from pathlib import Path
import numpy as np
from pellucid.engines.choose import runtime
from pellucid.granted import processors
name, path = sys.argv[1], Path(sys.argv[2])
__import__(name)
before = len(os.listdir("/proc/self/task"))
opened = runtime(name, path)
for _ in range(3):
    opened.logits(np.zeros((8, 32, 32, 3), np.uint8))
used = {
    "torch": lambda: sys.modules["torch"].get_num_threads(),
    "onnxruntime": lambda: 1 + len(os.listdir("/proc/self/task")) - before,
    "openvino": lambda: opened._compiled.get_property("INFERENCE_NUM_THREADS"),
}[name]()
print(processors(), used)
"""


@pytest.mark.skipif(not shutil.which("taskset") or 0 not in os.sched_getaffinity(0), reason="there is no taskset")
@pytest.mark.parametrize("name", list(choose.ENGINES))
def test_one_processor_is_one_thread(model: Path, exported: Path, name: str) -> None:
    pytest.importorskip(name)
    path = model if name == "torch" else exported
    free = {each: value for each, value in os.environ.items() if "NUM_THREADS" not in each}
    done = subprocess.run(
        ["taskset", "-c", "0", sys.executable, "-c", THREADS, name, str(path)],
        env=free, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "1"], done.stderr


def test_torch_takes_no_more_threads_than_a_container_grants(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        monkeypatch.setattr("pellucid.engines.torch_engine.processors", lambda: 3)
        open_engine(model)
        assert torch.get_num_threads() == 3
        torch.set_num_threads(2)  # as OMP_NUM_THREADS says, which may be less
        open_engine(model)
        assert torch.get_num_threads() == 2
        open_engine(model, threads=4)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


# What is remembered


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Which engines were timed, each time that some were; openvino is always the fastest."""
    pytest.importorskip("openvino")
    told: list[list[str]] = []

    def times(engines: list[Any]) -> list[list[float]]:
        told.append([engine.runtime.name for engine in engines])
        return [[1.0 if engine.runtime.name == "openvino" else 2.0] for engine in engines]

    monkeypatch.setattr(fastest, "time_in_turns", times)
    return told


def test_a_choice_is_remembered_for_the_machine_and_the_file(
    exported: Path, tmp_path: Path, timed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_engine(exported).chosen_from == "the fastest here: 2 times as fast as onnxruntime"
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported.read_bytes())
    assert open_engine(copy).chosen_from == "the fastest here, as measured before"
    other = tmp_path / "other.onnx"
    pl.export(saved(tmp_path / "other.safetensors", seed=1), other)
    assert len(timed) == 1
    open_engine(other)
    assert len(timed) == 2
    for room, change in ((fastest, "processors"), (provenance, "processor"), (provenance, "version_of")):
        with monkeypatch.context() as patch:
            patch.setattr(room, change, lambda *_: 7 if change == "processors" else "another")  # noqa: B023
            open_engine(exported)
    assert len(timed) == 5


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"engine": "another"}', '{"engine": ["openvino"]}', "\udcff"])
def test_a_damaged_note_is_measured_anew(exported: Path, cache: Path, timed: list[list[str]], text: str) -> None:
    open_engine(exported)
    (note,) = (cache / "engines").glob("*.json")
    note.write_bytes(text.encode(errors="surrogateescape"))
    assert open_engine(exported).runtime.name == "openvino"
    assert open_engine(exported).chosen_from == "the fastest here, as measured before"
    assert len(timed) == 2


def test_where_nothing_can_be_written_it_is_measured_each_time(
    exported: Path, tmp_path: Path, timed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "thesis.txt").write_text("not ours")
    for place in ("file/cache", "file", "others"):
        monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / place))
        assert open_engine(exported).runtime.name == "openvino"
    assert len(timed) == 3
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["thesis.txt"]


def test_what_was_the_fastest_and_cannot_any_more_is_passed_over(
    exported: Path, timed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_engine(exported)
    real = choose.runtime

    def broken(name: str, path: Path, **how: Any) -> Any:
        if name == "openvino":
            raise UserError("it is broken")
        return real(name, path, **how)

    monkeypatch.setattr(choose, "runtime", broken)
    chosen = open_engine(exported)
    assert chosen.runtime.name == "onnxruntime"
    assert chosen.chosen_from == "the fastest here: openvino cannot (it is broken)"
    assert timed == [["onnxruntime", "openvino"], ["onnxruntime"]]


def test_remembering_costs_a_start_next_to_nothing(exported: Path, timed: list[list[str]]) -> None:
    card = open_engine(exported).card
    took = []
    for _ in range(5):
        began = time.process_time()
        assert fastest.remembered(card, exported, ["onnxruntime", "openvino"], "None None auto") == "openvino"
        took.append(time.process_time() - began)
    assert min(took) < 0.02 and len(timed) == 1


# Damaged, foreign and edited files


def edited(exported: Path, path: Path, change: Any) -> Path:
    """A copy of an exported file whose card somebody changed by hand."""
    import onnx

    model = onnx.load(exported)
    entry = next(each for each in model.metadata_props if each.key == "pellucid_card")
    entry.value = change(entry.value)
    onnx.save(model, path)
    return path


def test_an_edited_card_is_refused(tmp_path: Path, exported: Path) -> None:
    path = edited(exported, tmp_path / "edited.onnx", lambda text: text.replace('"class 1"', '"class 9"'))
    with pytest.raises(UserError, match="does not reproduce its own proof"):
        open_engine(path)


def test_edited_weights_are_refused(tmp_path: Path, exported: Path) -> None:
    import onnx

    model = onnx.load(exported)
    largest = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    largest.raw_data = (np.frombuffer(largest.raw_data, np.float32) * np.float32(1.01)).tobytes()
    onnx.save(model, tmp_path / "edited.onnx")
    with pytest.raises(UserError, match="does not reproduce its own proof") as refused:
        open_engine(tmp_path / "edited.onnx", engine="onnxruntime")
    assert any(detail.startswith("logit of class") for detail in refused.value.details)


def test_an_onnx_of_others_is_told_to_have_no_card(tmp_path: Path, exported: Path) -> None:
    import onnx

    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "theirs.onnx")
    with pytest.raises(UserError, match="has no card: nothing says what goes in") as refused:
        open_engine(tmp_path / "theirs.onnx")
    assert "pellucid export" in refused.value.hint


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_told(tmp_path: Path, exported: Path, share: float) -> None:
    content = exported.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"damaged|has no card|cannot be opened"):
        open_engine(tmp_path / "cut.onnx", engine="onnxruntime")


def test_a_name_that_is_no_text_is_opened(tmp_path: Path, exported: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.onnx"))
    path.write_bytes(exported.read_bytes())
    assert open_engine(path, engine="onnxruntime").card.classes == ("class 0", "class 1", "class 2")


def test_a_file_of_whole_images_is_left_to_engines_that_resize_exactly(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pl.export(model, tmp_path / "whole.onnx", inside=True)
    chosen = open_engine(tmp_path / "whole.onnx")
    assert (chosen.runtime.name, chosen.chosen_from) == ("onnxruntime", "")
    assert open_engine(tmp_path / "whole.onnx", engine="openvino").runtime.name == "openvino"


def test_what_is_fastest_in_one_precision_is_not_remembered_for_another(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    if "bfloat16" not in choose.precisions("openvino"):
        pytest.skip("this processor does not compute in bfloat16")
    slow = {"onnxruntime": 1.0, "openvino": 3.0}
    monkeypatch.setattr(fastest, "time_in_turns", lambda engines: [[slow[each.runtime.name]] for each in engines])
    assert open_engine(exported, precision="bfloat16").words == "openvino, bfloat16, cpu"  # the only one that can
    assert open_engine(exported).runtime.name == "onnxruntime"
    assert open_engine(exported, precision="bfloat16").runtime.name == "openvino"
