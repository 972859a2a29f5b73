"""The command line: what is listed, how fast, how errors look, and the verbs that no other test calls."""

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.cli.main import VERBS, run
from tests.golden import check
from tests.pictures import make_classes


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(list(arguments))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_what_each_says_of_itself(verb: str) -> None:
    module, summary = VERBS[verb]
    assert getattr(importlib.import_module(f"pellucid.cli.{module}"), verb).__doc__.splitlines()[0] == summary


@pytest.mark.parametrize("arguments", [["--help"], ["structure", "resnet18"]])
def test_the_quickest_answers_import_no_records_either(arguments: list[str]) -> None:
    program = (
        "import sys; from pellucid.cli.main import run; code = run(sys.argv[1:]);"
        "assert code == 0, code; assert not {'pydantic', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("arguments", [["models"], ["train", "--help"]])
def test_quick_answers_import_no_torch(arguments: list[str]) -> None:
    program = (
        "import sys; from pellucid.cli.main import run; code = run(sys.argv[1:]);"
        "assert code == 0, code; assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unknown-verb", ["trian"]),
        ("unknown-flag", ["train", "photos", "--modle", "small"]),
        ("unknown-learning-flag", ["train", "photos", "--learning.rat", "1"]),
        ("not-a-number", ["train", "photos", "--epochs", "many"]),
        ("missing-data", ["train", "nowhere", "--model", "small"]),
        ("missing-argument", ["evaluate"]),
        ("unknown-flag-among-images", ["predict", "photos", "a.jpg", "--formt"]),
        ("missing-model", ["predict", "nowhere", "a.jpg"]),
        ("no-runs", ["runs"]),
        ("not-a-run", ["resume", "photos"]),
        ("unknown-network", ["structure", "resnet19"]),
        ("compared-as-json", ["structure", "resnet18", "--compare", "resnet34", "--format", "json"]),
        ("too-small", ["structure", "vgg11", "--size", "16"]),
        ("no-width", ["structure", "resnet18", "--width", "0"]),
        ("endless-width", ["structure", "resnet18", "--width", "inf"]),
        ("learning-value", ["train", "photos", "--learning.rate", "-1"]),
        ("augmentation-value", ["train", "photos", "--augmentation.flip", "often"]),
        ("require-without-number", ["evaluate", "nowhere", "--require", "accuracy"]),
    ],
)
def test_errors_say_what_where_and_what_next(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_classes(Path("photos"), images=3)
    code, out, error = told(capsys, *arguments)
    assert (code, out) == (2, "")
    check(f"cli/{name}", error)


def test_split_writes_a_manifest_that_train_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_classes(Path("photos"), images=10)
    code, out, _ = told(capsys, "split", "photos", "parts.json", "--train", "12", "--test", "rest")
    assert code == 0
    assert "grainy" in out and "written to parts.json" in out
    assert told(capsys, "split", "photos", "laid-out", "--train", "12", "--test", "rest", "--how", "copy")[0] == 0
    assert len(list(Path("laid-out/train").rglob("*.png"))) == 12
    assert len(list(Path("laid-out/test").rglob("*.png"))) == 8


@pytest.mark.parametrize(
    ("amounts", "told"),
    [
        ([], "The train part has few images of grainy (1) and smooth (8)"),
        (["--train", "rest"], "There is no validation and no test part"),
        (["--train", "rest", "--test", "0.2"], "In the train part, there are 4 times as many images of smooth"),
    ],
)
def test_split_speaks_of_images_and_of_no_training(
    amounts: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_classes(Path("photos"), images=11)
    for path in sorted(Path("photos/grainy").iterdir())[2:]:
        path.unlink()
    assert run(["split", "photos", "parts.json", *amounts]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert told in said
    assert not [word for word in ("learn", "epoch", "calibrat", "trained", "training") if word in said]


def test_train_evaluate_predict_and_look_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_classes(Path("photos"))
    flags = ["--model", "small", "--size", "32", "--epochs", "5", "--batch", "8", "--workers", "0"]
    code, out, error = told(capsys, "train", "photos", *flags, "--learning.clip", "5", "--options.width", "0.5")
    assert code == 0
    assert "accuracy" in out and "epoch 5 of 5" in error
    path = next(Path("runs").iterdir())
    assert (path / "report.html").stat().st_size < 5_000_000
    assert "clip = 5.0" in (path / "config.toml").read_text() and "width = 0.5" in (path / "config.toml").read_text()
    assert told(capsys, "runs")[0] == 0
    assert told(capsys, "verify", str(path))[0] == 0
    assert "27,114" in told(capsys, "structure", str(path))[1]
    assert "the whole network took" in told(capsys, "structure", str(path), "--time")[1]
    assert "dead" in told(capsys, "structure", str(path), "--image", "photos/smooth/000.png")[1]
    assert told(capsys, "evaluate", str(path), "photos", "--require", "log_loss=0.0000001")[0] == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO("photos/smooth/000.png\nphotos/grainy/000.png\n"))
    code, out, _ = told(capsys, "predict", str(path), "-", "--format", "json")
    assert code == 0
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["photos/smooth/000.png", "photos/grainy/000.png"]
    Path("photos/smooth/cut.png").write_bytes(b"\x89PNG")
    code, out, _ = told(capsys, "predict", str(path), "photos/smooth", "--format", "csv")
    assert code == 2
    lines = out.splitlines()
    assert lines[0].startswith("name,best,probability") and len(lines) == 18
    assert "cut.png" in lines[-1] and lines[-1].endswith("not an image")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet50", ["resnet50", "--batch", "10", "--classes", "1"]),
        ("inception_v3-all", ["inception_v3", "--all", "--auxiliary"]),
        ("compared", ["resnet18", "--compare", "resnet50"]),
        ("end-points", ["inception_v4", "--end-points"]),
    ],
)
def test_structure_fits_a_terminal(capsys: pytest.CaptureFixture[str], name: str, arguments: list[str]) -> None:
    code, out, _ = told(capsys, "structure", *arguments)
    assert code == 0
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 92
    check(f"structure/{name}", "\n".join(line.rstrip() for line in out.splitlines()))


@pytest.mark.parametrize(
    ("package", "arguments"), [("torch", ["structure", "small", "--time"]), ("torch", ["structure", "timm/x"])]
)
def test_an_extra_that_is_missing_is_named_with_the_command_that_installs_it(
    package: str, arguments: list[str]
) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None; from pellucid.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"error: {package} is not installed" in done.stderr and "pip install 'pellucid[train]'" in done.stderr


def test_a_terminal_of_no_columns_is_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert run(["verify", "nothing"]) == 2
    assert "nothing is not there" in capsys.readouterr().err
