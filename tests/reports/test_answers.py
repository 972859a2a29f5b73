"""Files of answers: written line by line, never half a line, and gone on with as if nothing had happened."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.reports.answers import Answers, kind_for
from pellucid.uses.predict import Failure, Prediction, name_of
from tests.brightness import save

FACTS = {"model": "a", "batch": 4}
NAMES = ["a.png", 'with "quotes", and\na line end.png', "b\udce9.png", "gone.png", "é.png", "z.png"]


def predicted(name: str) -> Prediction | Failure:
    if name == "gone.png":
        return Failure(name=name, error='not "there",\nor anywhere')
    return Prediction(name=name, best="bees", probability=2 / 3, sure=True, ranking=(("bees", 2 / 3), ("ants", 1 / 3)))


def written(path: Path, names: list[str], *, resume: bool = False) -> Answers:
    answers = Answers(path, kind_for(path, None), FACTS, resume=resume)
    for name in answers.left([Path(name) for name in names], answers.done, name_of):
        answers.take(predicted(str(name)))
    return answers


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_that_was_cut_anywhere_becomes_the_undisturbed_one(kind: str, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    undisturbed = tmp_path / f"undisturbed.{kind}"
    said = written(undisturbed, NAMES).finish()
    assert said == [f"{undisturbed}: 6 answers, 1 of them without a class"]
    left = written(tmp_path / f"left.{kind}", NAMES)
    left.close()
    lines = tmp_path / (".left.parquet.rows" if kind == "parquet" else f"left.{kind}")
    note, content = (tmp_path / f".left.{kind}.resume").read_bytes(), lines.read_bytes()
    for length in range(0, len(content) + 1, 3):
        lines.write_bytes(content[:length])
        (tmp_path / f".left.{kind}.resume").write_bytes(note)
        answers = written(tmp_path / f"left.{kind}", NAMES, resume=True)
        assert answers.finish()[0].endswith("6 answers, 1 of them without a class")
        assert (tmp_path / f"left.{kind}").read_bytes() == undisturbed.read_bytes(), length
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        (tmp_path / f"left.{kind}").unlink()


def test_the_kinds_hold_the_same(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    for kind in ("csv", "jsonl", "parquet"):
        written(tmp_path / f"answers.{kind}", NAMES).finish()
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    objects = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    table = pandas.read_parquet(tmp_path / "answers.parquet")
    shown = ["a.png", NAMES[1], "b\\udce9.png", "gone.png", "é.png", "z.png"]
    assert [row["name"] for row in rows] == [each["name"] for each in objects] == list(table["name"]) == shown
    assert [float(row["probability"] or 0) for row in rows] == list(table["probability"].fillna(0))
    assert table["probability"][0] == 2 / 3 and table["error"][3] == objects[3]["error"] == rows[3]["error"]


def test_what_is_there_is_neither_replaced_nor_gone_on_with_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("mine\n")
    with pytest.raises(UserError, match="is there already"):
        Answers(path, "csv", FACTS, resume=False)
    with pytest.raises(UserError, match="did not write it"):
        Answers(path, "csv", FACTS, resume=True)
    assert path.read_text() == "mine\n"
    path.unlink()
    written(path, NAMES[:3]).close()
    before = path.read_bytes()
    with pytest.raises(UserError, match="is there already") as refused:
        Answers(path, "csv", FACTS, resume=False)
    assert refused.value.hint.startswith("--resume goes on with it")
    with pytest.raises(UserError, match="begun otherwise") as refused:
        Answers(path, "csv", FACTS | {"model": "b"}, resume=True)
    assert refused.value.details == ("model: a, now b",)
    with pytest.raises(UserError, match="begun otherwise"):
        Answers(path, "json", FACTS, resume=True)
    for names, words in ((["a.png", "other.png", *NAMES], "images are others"), (NAMES[:2], "now there are 2")):
        answers = Answers(path, "csv", FACTS, resume=True)
        with pytest.raises(UserError, match=words):
            list(answers.left([Path(name) for name in names], answers.done, name_of))
        answers.close()
    assert path.read_bytes() == before


def test_a_file_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    answers = written(tmp_path / "answers.csv", NAMES[:2])
    with pytest.raises(UserError, match="another process is writing"):
        Answers(tmp_path / "answers.csv", "csv", FACTS, resume=True)
    answers.close()


def test_a_disk_that_is_full_leaves_whole_lines_and_is_gone_on_with(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "answers.csv"
    written(tmp_path / "whole.csv", NAMES).finish()
    answers = written(path, NAMES[:2])
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, hard))
    try:
        with pytest.raises(UserError, match="larger than is allowed"):
            answers.take(predicted(NAMES[2]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    answers.close()
    assert path.read_bytes() == before
    written(path, NAMES, resume=True).finish()
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_name_that_says_no_kind_is_refused() -> None:
    assert kind_for(Path("a.txt"), "csv") == "csv"
    for name, said in (("a.txt", None), ("a", None), ("a.csv", "text")):
        with pytest.raises(UserError, match="cannot be written"):
            kind_for(Path(name), said)


PREDICT = """
import sys, time
from pellucid.cli.main import run
from pellucid.uses import predict
from tests.brightness import classifier
from pathlib import Path

class Slow(type(classifier(Path("m")).engine)):
    words, chosen_from = "slow", ""
    def logits_of_pixels(self, pixels):
        time.sleep(0.02)
        return super().logits_of_pixels(pixels)

def load(path, **_):
    opened = classifier(Path(path))
    opened.engine.__class__ = Slow
    return opened

predict.load = load
sys.exit(run(["predict", "m", "photos", "--batch", "3", *sys.argv[1:]]))
"""


def test_a_process_that_is_killed_at_any_moment_is_gone_on_with_to_the_same_file(tmp_path: Path) -> None:
    for number in range(60):
        save(tmp_path / "photos" / f"{number:02}.png", 4 * number)
    (tmp_path / "photos" / "30.png").write_text("no picture")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def begun(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PREDICT, *arguments]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)

    assert begun("--out", "whole.csv").wait(60) == 2
    undisturbed = (tmp_path / "whole.csv").read_bytes()
    killed, path = 0, tmp_path / "answers.csv"
    for lines in (0, 1, 2, 11, 29, 32, 50):
        process = begun("--out", "answers.csv", "--resume")
        while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") > lines):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        killed += process.wait(60) == -signal.SIGKILL
        if path.exists():
            assert undisturbed.startswith(path.read_bytes())
    assert killed == 7
    last = begun("--out", "answers.csv", "--resume")
    assert last.wait(60) == 2
    assert b"60 answers, 1 of them without a class" in last.stderr.read()
    assert path.read_bytes() == undisturbed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "--resume is for a file"),
        (["--format", "parquet"], "--format parquet is for a file"),
        (["--out", "a.txt"], "a.txt cannot be written as what its name says"),
        (["--out", "a.csv", "--resume", "--grid", "a.png"], "--grid is for all images"),
    ],
)
def test_what_makes_no_sense_together_is_refused_before_anything_is_read(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", "model.onnx", "photos", *arguments]) == 2
    assert words in capsys.readouterr().err
