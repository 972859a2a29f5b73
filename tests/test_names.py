"""Names that are no text, that a terminal lacks letters for, that no file can have: shown, found again, or refused."""

import csv
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pellucid.cli.main import VERBS
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.images.manifest import read_manifest, write_manifest
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.names import in_a_line, kind_of, path_of, shown
from pellucid.networks.build import network
from pellucid.runs import proof
from pellucid.runs.model_file import logits_of, save_model_file
from pellucid.uses.evaluate import evaluate
from tests.brightness import card, save
from tests.pictures import make_classes

NOT_UTF8 = os.fsdecode(b"b\xe9.png")
CAT = "猫\U0001f408.png"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of two classes, 猫 and dog, with random weights."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    net = network("small", 2, size=32, width=0.25)
    values = card(architecture="small", options=net.options, classes=("猫", "dog"), threshold=0.5)
    preprocessing = values.preprocessing.model_copy(update={"size": 32})
    given = {"classes": values.classes, "one_logit": False, "preprocessing": preprocessing, "temperature": 1.0}
    taken = proof.take(logits_of(net.eval(), preprocessing), **given)
    save_model_file(path, net, values.model_copy(update={"preprocessing": preprocessing, "proof": taken}))
    return path


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Streams:
    """Standard output and error as files of some encoding; what was written to them, as bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
        self.files = {name: io.BytesIO() for name in ("stdout", "stderr")}
        for name, file in self.files.items():
            monkeypatch.setattr(sys, name, io.TextIOWrapper(file, encoding=encoding, errors="strict", newline=""))
        self.encoding = encoding

    def out(self) -> str:
        sys.stdout.flush()
        return self.files["stdout"].getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii", "cp932", "utf-16"])
@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_no_name_ends_a_prediction_and_json_stays_json(
    model: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, form: str
) -> None:
    images = [save(Path("photos") / name, 9) for name in ("a.png", NOT_UTF8, CAT, "two\nlines\x1b[31m.png")]
    names = [shown(str(path)) for path in images]
    streams = Streams(monkeypatch, encoding)
    assert command(["predict", str(model), *map(str, images), "missing\udce9", "--format", form]) == 2
    if form == "json":
        told = [json.loads(line) for line in streams.out().splitlines()]
        assert [each["name"] for each in told] == [*names, "missing\\udce9"]
        assert {label for label, _ in told[0]["ranking"]} == {"猫", "dog"}
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(streams.out(), newline="")))
        assert len(rows) == 5 and rows[1]["name"] == names[1]
    else:
        assert len(streams.out().splitlines()) == 5
        assert "\\x1b" in streams.out() and "\\udce9" in streams.out()


def test_a_name_that_was_shown_escaped_leads_to_its_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(Path("photos") / NOT_UTF8, 9)
    assert command(["predict", str(model), "photos", "--format", "json"]) == 0
    name = json.loads(capsys.readouterr().out)["name"]
    assert name == "photos/b\\udce9.png"
    assert command(["predict", str(model), name]) == 0
    literal = save(Path("photos/b\\udce9.png"), 9)  # a file of this very name is meant first
    assert path_of(name) == literal
    assert path_of("photos/c\\udce9.png") == Path(os.fsdecode(b"photos/c\xe9.png"))


def test_images_and_classes_with_such_names_are_divided_and_measured(model: Path) -> None:
    for name in ("猫", "dog"):
        for number in range(3):
            save(Path("photos") / name / (str(number) + NOT_UTF8), 10 * number + 100 * (name == "dog"))
    parts = split(read_samples("photos"))
    write_manifest(parts, Path("parts.json"))
    read = read_manifest(Path("parts.json"))
    assert [file.path.is_file() for file in read.files] == [True] * 6
    assert [sample.path.is_file() for sample in read_samples("parts.json")] == [True] * 6
    result = evaluate(model, "photos")
    assert [result.location(judged).is_file() for judged in result.predictions] == [True] * 6
    assert type(result).from_json(result.to_json(), "it") == result


def test_a_training_on_such_names_is_evaluated_reported_and_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(os.fsdecode(b"phot\xe9s"))
    make_classes(place, images=8, names=("猫", "dog"))
    (place / "dog" / "000.png").rename(place / "dog" / NOT_UTF8)
    flags = ["--model", "small", "--size", "32", "--epochs", "1", "--batch", "8", "--workers", "0"]
    assert command(["train", str(place), *flags, "--options.width", "0.25"]) == 0
    [run] = Path("runs").iterdir()
    for verb in (["report", str(run)], ["runs"], ["evaluate", str(run)], ["verify", str(run)]):
        assert command(verb) == 0, verb
    assert command(["resume", str(run)]) == 2
    assert "has been trained to its end" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["cp932", "ascii"])
@pytest.mark.parametrize("verb", [["models"], ["structure", "resnet18"], ["structure", "resnet18", "--format", "json"]])
def test_tables_are_shown_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str, verb: list[str]) -> None:
    streams = Streams(monkeypatch, encoding)
    assert command(verb) == 0
    assert len(streams.out()) > 100


@given(st.text(st.characters(exclude_categories=[]), max_size=8))
def test_any_name_is_shown_as_text_in_one_line(name: str) -> None:
    assert shown(name).encode().decode() == shown(name)
    assert len(in_a_line(name).splitlines()) <= 1 and in_a_line(name).isprintable()


@given(st.binary(min_size=1, max_size=8).filter(lambda name: not set(name) & set(b"\0/\\")))
def test_any_file_name_is_found_again_as_it_was_shown(name: bytes) -> None:
    assert os.fsencode(path_of(shown(os.fsdecode(name)))) == os.fsencode(Path(os.fsdecode(name)))


def test_what_cannot_be_a_name_is_refused_with_what_to_do() -> None:
    for name, words in (("a" * 300, "too long"), ("a\0b", "NUL")):
        with pytest.raises(UserError, match=words):
            kind_of(name)
    Path("loop").symlink_to("loop")
    with pytest.raises(UserError, match="lead in a circle"):
        kind_of("loop")
    Path("gone").symlink_to("nowhere")
    assert (kind_of("gone"), kind_of("gone/deeper"), kind_of("."), kind_of("/dev/null")) == (
        "nothing",
        "nothing",
        "folder",
        "other",
    )


# Standard input and output


def test_paths_on_standard_input_are_answered_as_they_come(model: Path) -> None:
    from pellucid.uses.predict import load, predict_stream
    from pellucid.uses.standard_input import paths

    save(Path("a.png"), 9)
    there, ours = os.pipe()
    with os.fdopen(there) as stream:
        answers = predict_stream(load(model), (name for name in paths(stream)), batch=32)
        for name in (b"a.png\n", b"gone.png\r\n", b"\n   \n\xe9.png\n"):
            os.write(ours, name)
            began = time.monotonic()
            assert next(answers).name == os.fsdecode(name.strip())
            assert time.monotonic() - began < 5  # it waits for no other
        os.write(ours, b"a.png")  # the last without its line end
        os.close(ours)
        assert [answer.name for answer in answers] == ["a.png"]


@pytest.mark.parametrize("encoded", ["PNG", "JPEG", "GIF", "BMP", "utf-16"])
def test_an_image_on_standard_input_is_refused(encoded: str) -> None:
    from PIL import Image

    from pellucid.uses.standard_input import paths

    if encoded == "utf-16":
        Path("input").write_text("a.png\nb.png\n", encoding=encoded)
    else:
        Image.new("RGB", (9, 9)).save("input", encoded)
    with Path("input").open() as stream, pytest.raises(UserError, match="holds an image or other data"):
        list(paths(stream))
    with pytest.raises(UserError, match="closed"):
        list(paths(None))
    Path("input").write_bytes(b"\xef\xbb\xbfa.png\n")
    with Path("input").open() as stream:
        assert [name for name in paths(stream) if isinstance(name, str)] == ["a.png"]


@pytest.mark.parametrize("verb", [["models"], ["structure", "small"]])
def test_a_closed_output_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert command(verb) == 2
    assert "standard output is closed" in capsys.readouterr().err


def test_an_output_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", Path("/dev/full").open("w"))  # noqa: SIM115 - it cannot be closed in peace
    assert command(["models"]) == 2
    sys.stdout.detach()
    assert "no space is left" in capsys.readouterr().err


# Odd arguments

STRANGE = [
    "",
    " ",
    "~",
    ".",
    "folder/..",
    "a" * 300,
    "a/" * 2500,
    "a\0b",
    "\udce9",
    "猫",
    "*",
    "[",
    "-",
    "--",
    "=",
    "\n",
]
PLACES = ["empty", "folder", "image.png", "broken.json", "model.safetensors", "dangling", "loop", "pipe", "/dev/null"]
PLACES += ["pipe.csv", "pipe.safetensors", "pipe.png", "empty.csv", "folder.csv", "folder.safetensors", "image.png/x"]
OTHERS = {
    "split": ["parts.json"],
    "predict": ["image.png"],
    "adopt": ["--out", "new.safetensors", "--classes", "classes.txt"],
    "parity": ["--against", "torchvision"],
    "train": ["--model", "small", "--epochs", "1", "--size", "32"],
    "bench": ["--steps", "1", "--burn-in", "0"],
}


def furnish() -> None:
    """The current folder with one of each thing that a name can mean."""
    for name in ("folder", "folder.csv", "folder.safetensors"):
        Path(name).mkdir(exist_ok=True)
    save(Path("image.png"), 3)
    save(Path("photos/dark/a.png"), 3)
    for name in ("empty", "empty.csv", "empty.json"):
        Path(name).touch()
    Path("broken.json").write_bytes(b'{"\xff')
    Path("model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    Path("classes.txt").write_text("a\nb\n")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    for name in ("pipe", "pipe.csv", "pipe.safetensors", "pipe.png"):
        os.mkfifo(name)


def arguments(model: Path) -> st.SearchStrategy[list[str]]:
    odd = st.sampled_from([*STRANGE, *PLACES])
    any_of = st.one_of(odd, st.sampled_from(["small", "photos", str(model)]))
    others = [verb for verb in VERBS if verb not in ("demo", "models")]
    flags = ["--weights", "--labels", "--image", "--source", "--map", "--format", "--out", "--classes", "--part"]
    flag = st.tuples(st.sampled_from(flags), odd).map(list)
    return st.builds(
        lambda verb, first, given, more: [verb, *first, *(given or OTHERS.get(verb, [])), *more],
        st.sampled_from(others),
        st.lists(any_of, min_size=1, max_size=2),
        st.lists(odd, max_size=1),
        st.one_of(st.just([]), flag),
    )


def swept(given: list[str], capsys: Any) -> None:
    code = command(given)
    told = capsys.readouterr()
    assert code in (0, 2, 3), (given, told.err)
    assert "our fault" not in told.err, (given, told.err)
    if code == 2 and given[0] != "predict":
        assert told.err.strip(), given


def test_every_verb_refuses_what_it_can_do_nothing_with(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    furnish()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    # `train` reads data as `split` does; test_no_verb_fails_on_odd_arguments has every verb.
    for verb in ("structure", "bench", "split", "resume", "runs", "evaluate", "predict", "report", "verify"):
        for name in [*STRANGE, *PLACES]:
            swept([verb, name, *OTHERS.get(verb, [])], capsys)
    for name in [*STRANGE, *PLACES]:
        swept(["predict", str(model), name], capsys)
        swept(["evaluate", str(model), name], capsys)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_verb_fails_on_odd_arguments(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    furnish()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))

    @settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(arguments(model))
    def each(given: list[str]) -> None:
        swept(given, capsys)

    each()
