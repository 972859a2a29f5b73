"""Run folders: whole or not at all, one training at a time, and a clear word for whatever is broken in them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w

from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.records import SCRATCH
from pellucid.runs.events import Failed, Noted, Started, Stopped, now
from pellucid.runs.lock import held
from pellucid.runs.run_folder import RunFolder, create_run, open_run
from pellucid.training.configure import configure
from pellucid.training.train import resume_events, train_events
from tests.pictures import make_classes

SMALL: dict[str, Any] = {"model": "small", "size": 32, "epochs": 2, "batch": 8, "workers": 0, "device": "cpu"}
SMALL |= {"optimizer": "sgd", "rate": 0.01, "options": {"width": 0.25}}


def interrupted(folder: Path, runs: Path, **changes: Any) -> RunFolder:
    """A run on the photographs in `folder` that was killed after its first epoch."""
    events = train_events(configure(folder, **SMALL | changes, runs=runs))
    for event in events:
        if event.event == "progress" and event.epoch == 2:
            break
    events.close()
    return next(RunFolder(path) for path in runs.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("runs")
    make_classes(place / "photos", images=8)
    run = interrupted(place / "photos", place / "runs")
    assert command(["evaluate", str(run.path)]) == 0
    shutil.copy(run.model, run.last)
    (run.path / "paired.json").write_text('{"probe":[true,false],"tuned":[true,true]}\n')
    return run


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of it, to break."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.path, "runs/broken")
    return RunFolder(Path("runs/broken"))


def made(folder: Path = Path("runs")) -> RunFolder:
    make_classes(Path("photos"), images=3) if not Path("photos").exists() else None
    return create_run(folder, "photos", config={}, provenance={}, split=split(read_samples("photos")))


STARTED: dict[str, Any] = {"time": now(), "run": "r", "epoch": 0, "epochs": 2, "train_images": 2, "parameters": 3}
STARTED |= {"validation_images": 1, "trained_parameters": 3, "device": "cpu", "precision": "float32", "workers": 0}
NO_WAY = "\u2028 \x85 \x1c \x0b \x0c \x1d \x1e \u2029"  # each ends a line for str.splitlines, and none for a file


# Events


def test_any_text_in_an_event_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = made()
    words = [NO_WAY, "two\nlines", "\x00", "\u732b\U0001f408"]
    events = [Noted(time=now(), words=word) for word in words]
    for event in events:
        run.note(event)
    assert run.events() == events
    run.note(Noted(time=now(), words="b\udce9.png"))  # as a name comes that is not UTF-8
    assert run.events()[-1].words == "b\\udce9.png"
    for line in (run.path / "events.jsonl").read_bytes().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("left", [1, 20, 0])
def test_a_line_that_was_cut_short_is_left_out_and_spoils_none_that_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.chdir(tmp_path)
    run, path = made(), Path("events.jsonl")
    first, torn = Noted(time=now(), words="é" * 20), Noted(time=now(), words="ü" * 20)
    run.note(first)
    run.note(torn)
    path = run.path / "events.jsonl"
    whole = path.read_bytes()
    cut = len(torn.model_dump_json().encode()) - left  # without its line end: 0 is the whole event
    path.write_bytes(whole[: len(first.model_dump_json().encode()) + 1 + cut])
    kept = [first] if left else [first, torn]
    assert run.events() == kept
    run.note(first)
    assert run.events() == [*kept, first]


def test_a_run_is_told_by_how_its_last_sitting_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = made()
    states = [run.state()]
    end = Stopped(time=now(), epoch=1, why="interrupted", best_epoch=None, seconds=1.0)
    for event in (Started(**STARTED), Failed(time=now(), epoch=0, problem="no\nspace"), Started(**STARTED), end):
        run.note(event)
        states.append(run.state())
        if isinstance(event, Failed):
            assert command(["runs"]) == 0
            told = capsys.readouterr()
            assert "failed" in told.out and "failed: no" in told.err
    assert states == ["unfinished", "unfinished", "failed", "unfinished", "interrupted"]
    with held(run.path):
        assert run.state() == "running"
    assert run.state() == "interrupted"


# Whole or not at all


def test_a_run_folder_appears_whole_and_what_a_dead_one_left_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_classes(Path("photos"), images=3)
    parts = split(read_samples("photos"))
    program = (
        "import os, sys; from pathlib import Path; from pellucid.runs import run_folder\n"
        "def killed(*_): os.kill(os.getpid(), 9)\n"
        "run_folder.write_manifest = killed\n"
        "from pellucid.images.manifest import Split\n"
        "empty = Split(root='.', rule='', seed=0, classes=(), files=())\n"
        "run_folder.create_run(Path('runs'), 'photos', config={}, provenance={}, split=empty)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -9
    [left] = Path("runs").iterdir()
    assert left.name.startswith(".")
    Path("runs/.mine-20260101-0101.12345678").mkdir()
    Path("runs/.mine-20260101-0101.12345678/thesis.txt").write_text("years of work")
    run = create_run(Path("runs"), "photos", config={}, provenance={}, split=parts)
    assert not left.exists()
    assert Path("runs/.mine-20260101-0101.12345678/thesis.txt").exists()
    assert {path.name for path in run.path.iterdir()} == {"config.toml", "provenance.json", "split.json"}
    other = create_run(Path("runs"), "photos", config={}, provenance={}, split=parts)
    assert other.path != run.path


def test_what_a_dead_writer_left_in_a_run_goes_when_it_is_opened_and_nothing_else(run: RunFolder) -> None:
    dead, mine = run.path / ".checkpoint.safetensors.0123abcd", run.path / ".notes.0123abcd"
    living = run.path / ".model.safetensors.0123abcd"
    for path in (dead, mine, living):
        path.write_text("half")
    program = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(living)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdout.readline()
    open_run(run.path)
    assert (dead.exists(), mine.exists(), living.exists()) == (False, True, True)
    holder.communicate(b"\n", timeout=60)


def test_a_place_where_no_run_can_be_made_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), str(tmp_path / "file" / "runs")):
        assert command(["train", str(tmp_path), "--runs", place, "--model", "small"]) == 2
        told = capsys.readouterr().err
        assert "--runs names another place" in told and "reading the data" not in told


# One training at a time


def test_a_run_that_is_being_trained_is_not_resumed(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys; from pathlib import Path; from pellucid.runs.lock import held\n"
        "with held(Path(sys.argv[1])): print(1, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdout.readline()
    assert command(["resume", str(run.path)]) == 2
    assert f"is being trained by process {holder.pid}" in capsys.readouterr().err
    assert run.state() == "running"
    holder.kill()
    holder.communicate(timeout=60)
    assert (run.path / "running.json").exists()  # it could not tidy up
    with held(run.path), pytest.raises(UserError, match="in this very process"), held(run.path):
        pass
    assert not (run.path / "running.json").exists()


def test_a_run_of_another_machine_is_not_believed_to_be_dead(run: RunFolder) -> None:
    (run.path / "running.json").write_text('{"pid": 7, "host": "a-machine-that-is-not-this"}')
    with pytest.raises(UserError, match="process 7 on a-machine-that-is-not-this") as refused, held(run.path):
        pass
    assert f"remove {run.path.resolve() / 'running.json'}" in str(refused.value)


# What changed between two sittings


def resumed(run: RunFolder) -> list[str]:
    """What is told when it goes on, up to its start."""
    words = []
    for event in resume_events(run.path):
        if isinstance(event, Noted):
            words.append(event.words)
        if event.event == "pixels_ready":
            break
    return words


def test_nothing_is_told_where_nothing_changed_and_threads_are_as_they_were(run: RunFolder) -> None:
    import torch

    threads = torch.get_num_threads()
    values = json.loads((run.path / "provenance.json").read_text())
    assert values["chosen"]["threads"] == threads
    values["chosen"]["threads"] = threads + 2
    (run.path / "provenance.json").write_text(json.dumps(values))
    assert resumed(run) == []
    assert torch.get_num_threads() == threads + 2
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rate = 0.01", "rate = 0.02", "learning.rate is 0.02, and was 0.01"),
        ("epochs = 2", "epochs = 3", "learning.epochs is 3, and was 2"),
        ('model = "small"', 'model = "resnet18"', "model is resnet18, and was small"),
        ("width = 0.25", "width = 0.5", "options.width is 0.5, and was 0.25"),
    ],
)
def test_an_edited_configuration_is_refused_setting_by_setting(run: RunFolder, old: str, new: str, told: str) -> None:
    config = run.path / "config.toml"
    assert config.read_text().count(old) == 1
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(UserError) as refused:
        resumed(run)
    assert refused.value.details == (told,)


def test_settings_that_cannot_change_the_result_may_be_edited(run: RunFolder) -> None:
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("workers = 0", "workers = 0\nthreads = 1") + "\n# a remark\n")
    assert [words.split(":")[0] for words in resumed(run)] == ["machine.threads is 1, and was None"]


def test_a_run_that_goes_on_holds_no_file_that_it_has_replaced(run: RunFolder) -> None:
    """What is mapped keeps its room on the disk, and a disk that was large enough for training is full."""
    events = resume_events(run.path)
    for event in events:
        if event.event == "progress":
            break
    assert "checkpoint.safetensors" not in Path("/proc/self/maps").read_text()
    events.close()


@pytest.mark.parametrize("verb", ["evaluate", "verify"])
def test_a_model_that_is_gone_is_told_with_what_can_be_used_instead(
    run: RunFolder, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.model.unlink()
    assert command([verb, str(run.path)]) == 2
    said = capsys.readouterr().err
    assert f"{run.model} is not there" in said and f"`pellucid verify {run.last}`" in said and "resume" not in said
    assert command(["verify", str(run.last)]) == 0


def test_no_folder_with_a_model_in_it_is_to_be_removed(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (run.path / "split.json").unlink()
    assert command(["report", str(run.path)]) == 2
    said = capsys.readouterr().err
    assert "remove" not in said and f"`pellucid verify {run.model}`" in said


@pytest.mark.parametrize("name", ["config.toml", "provenance.json", "split.json"])
def test_evaluating_a_run_that_lacks_a_file_names_it(
    run: RunFolder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.path / name).unlink()
    assert command(["evaluate", str(run.path)]) == 2
    assert name in capsys.readouterr().err


def test_data_that_says_otherwise_now_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_classes(Path("photos"), images=8)
    rows = [f"{path.as_posix()},{path.parent.name}" for path in sorted(Path("photos").rglob("*.png"))]
    Path("list.csv").write_text("\n".join(["path,label", *rows]))
    run = interrupted(Path("list.csv"), Path("runs"))
    assert resumed(run) == []
    swapped = rows[0].replace(",grainy", ",smooth")
    assert swapped != rows[0]
    Path("list.csv").write_text("\n".join(["path,label", swapped, *rows[1:]]))
    [words] = resumed(run)
    assert "1 image has another label" in words
    shutil.copy("photos/smooth/000.png", "photos/smooth/new.png")
    Path("list.csv").write_text("\n".join(["path,label", *rows, "photos/smooth/new.png,smooth"]))
    [words] = resumed(run)
    assert "17 images are listed, and were 16" in words
    Path("list.csv").unlink()
    [words] = resumed(run)
    assert "list.csv cannot be read again" in words


# Whatever is broken

READERS = {
    "config.toml": ("resume", "report"),
    "provenance.json": ("resume", "report"),
    "split.json": ("runs", "resume", "report", "evaluate"),
    "events.jsonl": ("runs", "report"),
    "checkpoint.safetensors": ("resume",),
    "model.safetensors": ("verify", "predict", "evaluate", "structure", "report"),
    "last.safetensors": ("verify-last",),
    "evaluation.json": ("runs", "report"),
    "paired.json": (),
    "checkpoint.json": (),
}


@pytest.mark.parametrize("damage", ["empty", "60 bytes", "half", "other"])
@pytest.mark.parametrize("name", READERS)
def test_every_verb_says_what_is_wrong_with_a_damaged_file_and_loses_nothing(
    run: RunFolder, trained: RunFolder, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    path = run.path / name
    whole = path.read_bytes()
    others = [b"[]", b'{"versions": [], "classes": 3}', b"\xff\xfe\x00\xd8", b"a = 1\n"]
    for broken in {"empty": [b""], "60 bytes": [whole[:60]], "half": [whole[: len(whole) // 2]]}.get(damage, others):
        path.write_bytes(broken)
        before = {file: file.read_bytes() for file in run.path.iterdir() if file.name not in ("report.html", name)}
        for verb in READERS[name]:
            given = {"runs": ["runs"], "verify-last": ["verify", str(run.last)]}.get(verb, [verb, str(run.path)])
            image = [str(next((trained.path.parents[1] / "photos").rglob("*.png")))] if verb == "predict" else []
            code = command([*given, *image])
            told = capsys.readouterr()
            assert code in (0, 2), told.err
            assert "our fault" not in told.err
            if code == 2:
                assert name in told.err, (verb, told.err)
                assert "hint" in told.err, (verb, told.err)
            if verb == "runs":
                assert "broken" in told.out and code == 0
            assert verb in ("runs", "evaluate", "report") or code == 2 or broken == whole, (verb, broken[:80], told)
            assert path.read_bytes() == broken
            assert all(file.read_bytes() == content for file, content in before.items() if file.name != "events.jsonl")


def test_a_broken_run_hides_no_other(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run.path, "runs/whole")
    for name in ("events.jsonl", "split.json", "evaluation.json"):
        shutil.copytree("runs/whole", f"runs/without-{name}")
        Path(f"runs/without-{name}", name).write_text("[}")
    shutil.copytree("runs/whole", "runs/no-split")
    Path("runs/no-split/split.json").unlink()
    shutil.copytree("runs/whole", "runs/no-config")
    Path("runs/no-config/config.toml").unlink()
    assert command(["runs"]) == 0
    told = capsys.readouterr()
    assert all(path.name in told.out for path in Path("runs").iterdir())
    assert told.out.count("damaged") == 3
    assert "runs/no-split has no split.json" in told.err


def test_no_scratch_file_is_left(trained: RunFolder) -> None:
    assert [path.name for path in trained.path.iterdir() if SCRATCH.fullmatch(path.name)] == []
    assert os.listdir(trained.path.parent) == [trained.path.name]  # noqa: PTH208


def test_a_stop_while_a_run_goes_on_says_where_it_stands(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.interruption import Interrupted
    from pellucid.training import train

    def stopped(*_: object, **__: object) -> Iterator[Any]:
        raise Interrupted
        yield

    monkeypatch.setattr(train, "with_features", stopped)
    *_, end = resume_events(run.path)
    assert isinstance(end, Stopped)
    assert (end.why, end.epoch, end.best_epoch) == ("interrupted", 1, 1) and end.seconds > 0
    assert run.left() == "interrupted"


def test_room_that_is_surely_too_little_is_told_before_training(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    before = run.events()
    assert command(["resume", str(run.path)]) == 2
    assert "1 KB free" in capsys.readouterr().err
    assert run.events() == before


# What may become the run's evaluation


def headline(run: RunFolder) -> tuple[str | None, int]:
    from pellucid.runs.evaluation import read_evaluation

    kept = read_evaluation(run)
    return kept.part, kept.n


def test_only_a_runs_own_images_in_full_become_its_evaluation(
    run: RunFolder, trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    from pellucid.runs.evaluation import keep_evaluation
    from pellucid.uses.evaluate import evaluate

    own, photos = headline(run), str(trained.path.parents[1] / "photos")
    assert own[0] == "test"
    page = run.report_path.read_bytes()
    for given in (["--part", "train"], ["--part", "validation"], [photos]):
        assert command(["evaluate", str(run.path), *given]) == 0
        told = capsys.readouterr()
        assert ("not kept as the run's evaluation" in told.err) == (given[0] == "--part")
        assert (headline(run), run.report_path.read_bytes()) == (own, page)
    assert command(["evaluate", str(run.last)]) == 0  # the last weights are not the run's
    assert "is not the best model of a run" in capsys.readouterr().err
    assert keep_evaluation(evaluate(run.path).model_copy(update={"model": str(run.last)}))
    run.evaluation_path.unlink()
    for same in ([str(run.path), "--part", "test"], [str(run.model)]):
        assert command(["evaluate", *same]) == 0
        assert headline(run) == own
        run.evaluation_path.unlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_that_may_only_be_read_is_measured_all_the_same(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.path.chmod(0o500)
    try:
        assert command(["evaluate", str(run.path)]) == 2
    finally:
        run.path.chmod(0o700)
    told = capsys.readouterr()
    assert "accuracy" in told.out and "permission is denied" in told.err


# The seal


CHANGES: dict[str, Any] = {
    "threshold": 0.7,
    "sure_from": 0.99,
    "temperature": 1.00001,
    "classes": ["smooth", "grainy"],
    "one_logit": True,
    "architecture": "small ",
    "options": {},
    "precision": "int8",
    "inside": True,
    "members": [
        {
            "name": "one",
            "sha256": "",
            "architecture": "small",
            "options": {},
            "classes": ["grainy", "smooth"],
            "one_logit": False,
            "temperature": 1.0,
        }
    ],
}


def edited(path: Path, change: Any) -> None:
    """The model with its card changed, as somebody could do with an editor of safetensors' header."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    card = json.loads(header["__metadata__"]["pellucid_card"])
    change(card)
    header["__metadata__"]["pellucid_card"] = json.dumps(card)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


@pytest.mark.parametrize("field", [*CHANGES, "preprocessing"])
def test_no_edited_field_that_changes_an_answer_is_proved(
    run: RunFolder, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    from pellucid.runs.card import TOLD, Card

    assert {*CHANGES, "preprocessing", *TOLD} == set(Card.model_fields)
    new = {field: CHANGES.get(field)}
    if field == "preprocessing":
        new[field] = {**run.card().preprocessing.model_dump(), "mean": [0.486, 0.456, 0.406]}
    edited(run.model, lambda card: card.update(new))
    assert command(["verify", str(run.path)]) == 2
    told = capsys.readouterr()
    assert "proved:" not in told.out
    assert f"{field}: it was changed after the model was saved" in told.err


def test_what_is_said_beside_the_answer_may_be_edited_and_old_files_say_what_is_not_proved(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(run.model, lambda card: card["provenance"].update(note="from my desk"))
    assert command(["verify", str(run.path)]) == 0
    assert "not proved" not in capsys.readouterr().out
    edited(run.model, lambda card: (card["proof"].pop("sealed"), card.update(threshold=0.7)))
    assert command(["verify", str(run.path)]) == 0
    assert "not proved: threshold, sure_from" in capsys.readouterr().out


# Any odd value in any record

ODD: list[Any] = [None, -1, 0, 1e308, "x", "", [], {}, True, "../../x", [1], {"a": 1}, 3.5, 10**30, "2026"]


def test_a_model_file_from_before_the_proof_was_called_so_is_read(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(run.model, lambda card: card.update(probe=card.pop("proof")))
    assert command(["verify", str(run.model)]) == 0
    assert "proved:" in capsys.readouterr().out


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    inside = value.items() if isinstance(value, dict) else list(enumerate(value))[:3] if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, (*place, key))


def spoiled(value: Any, random: Random) -> Any:
    """`value` with something odd somewhere in it, or something missing."""
    *above, last = random.choice([place for place in places(value) if place])
    inner = value
    for key in above:
        inner = inner[key]
    if random.random() < 0.1:
        del inner[last]
    else:
        inner[last] = random.choice(ODD)
    return value


def spoil(run: RunFolder, random: Random) -> str:
    name = random.choice(["evaluation.json", "split.json", "provenance.json", "events.jsonl", "config.toml", "card"])
    path = run.path / name
    if name == "card":

        def change(card: dict[str, Any]) -> None:
            card["proof"].pop("sealed")
            spoiled(card, random)

        edited(run.model, change)
    elif name == "events.jsonl":
        lines = path.read_text().split("\n")
        number = random.randrange(len(lines) - 1)
        lines[number] = json.dumps(spoiled(json.loads(lines[number]), random))
        path.write_text("\n".join(lines))
    elif name == "config.toml":
        with suppress(TypeError, ValueError):  # TOML has no word for it
            path.write_text(tomli_w.dumps(spoiled(run.config(), random)))
    else:
        path.write_text(json.dumps(spoiled(json.loads(path.read_text()), random)))
    return name


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_no_odd_value_in_a_record_is_our_fault(
    run: RunFolder, trained: RunFolder, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    name, image = spoil(run, Random(seed)), str(next((trained.path.parents[1] / "photos").rglob("*.png")))
    for verb in ("report", "evaluate", "verify", "predict", "structure", "runs", "resume"):
        given = [verb, "runs"] if verb == "runs" else [verb, str(run.path), *([image] if verb == "predict" else [])]
        code = command(given)
        told = capsys.readouterr()
        assert code in (0, 2) and "our fault" not in told.err, (verb, name, told.err)
