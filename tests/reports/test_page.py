"""A classifier as a page: what is in the file, and what refuses to be. test_page_in_browser.py opens it."""

import gzip
import hashlib
import json
import os
import re
import sys
import tarfile
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.exports import web_runtime as runtimes
from pellucid.exports.web_runtime import PROGRAM, SCRIPT, WebRuntime, web_runtime
from pellucid.reports.page import page
from pellucid.runs.card import Card, Proof, Result
from pellucid.runs.proof import proof_pixels
from tests.brightness import card

HOSTILE = ("</script><img src=x onerror=alert(1)>", "<!--<script>", "{{ 7 * 7 }}", "\u2028' \"&amp; 猫", "50 %")
RUNTIME = WebRuntime("/* a % b */ const a = 1, b = 2, c = 3;export{a as InferenceSession,b as Tensor,c as env};"
                     "\n//# sourceMappingURL=x.map\n", b"\0asm program")  # fmt: skip


def card_of(classes: tuple[str, ...], **changes: Any) -> Card:
    shares = dict(zip(classes, np.linspace(0.1, 0.9, len(classes)).tolist(), strict=True))
    return card(classes=classes, proof=Proof(image="none", pixels=(), logits={}, probabilities=shares), **changes)


PLAIN = card_of(("dark", "bright"))


class Read(HTMLParser):
    """The elements of a page, and what is in its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[dict[str, str | None], str]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self.inside.append((dict(attributes), ""))

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] and self.elements[-1][0] in ("script", "style") and self.cdata_elem:
            attributes, before = self.inside[-1]
            self.inside[-1] = (attributes, before + data)
        else:
            self.words += data


def told(read: Read) -> Any:
    """What the page's script is told."""
    (text,) = (text for _, text in read.inside if text.startswith("globalThis.page = "))
    return json.loads(text.removeprefix("globalThis.page = ").removesuffix(";"))


def policy(read: Read) -> dict[str, str]:
    (meta,) = (each for tag, each in read.elements if each.get("http-equiv") == "Content-Security-Policy")
    return dict(rule.split(" ", 1) for rule in str(meta["content"]).split("; "))


def test_the_policy_forbids_every_connection_and_knows_each_script() -> None:
    read = Read(page(PLAIN, b"model", RUNTIME))
    rules = policy(read)
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'none'" and rules["img-src"] == "data:"
    assert "unsafe-inline" not in str(rules) and "'unsafe-eval'" not in str(rules)
    for attributes, text in read.inside:
        if attributes.get("type") == "text/plain":
            continue
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules["script-src"] + rules["style-src"]
    assert len(re.findall("'sha256-", rules["script-src"])) == 3


def test_the_page_loads_nothing() -> None:
    text = page(PLAIN, b"model", RUNTIME)
    assert "://" not in text
    for _, attributes in Read(text).elements:
        assert attributes.get("src") is None and (attributes.get("href") or "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_what_is_packed_is_the_model_the_runtime_and_the_image_of_the_proof() -> None:
    read = Read(page(PLAIN, b"the model's bytes", RUNTIME))
    packed = {each["id"].removeprefix("packed-"): b64decode(text) for each, text in read.inside if "id" in each}
    plain = {name: gzip.decompress(content) for name, content in packed.items()}
    assert plain["model"] == b"the model's bytes" and plain["runtime"] == RUNTIME.program
    image = proof_pixels(PLAIN.preprocessing, whole=True)[0]
    assert plain["proof"] == image.tobytes() and told(read)["extent"] == list(image.shape[:2])
    assert told(read)["sha256"] == {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}


def test_the_proof_is_that_of_the_card_in_the_order_of_its_classes() -> None:
    mine = card_of(("z", "a", "m"), threshold=None, sure_from=0.7)
    mine = mine.model_copy(
        update={"proof": mine.proof.model_copy(update={"probabilities": {"a": 0.2, "m": 0.3, "z": 0.5}})}
    )
    known = told(Read(page(mine, b"", RUNTIME)))
    assert known["proof"] == [0.5, 0.2, 0.3] and known["tolerance"] == 1e-3 and known["sure_from"] == 0.7


@pytest.mark.parametrize("number", [2, 5])
def test_names_of_classes_are_words_and_nothing_else(number: int) -> None:
    names = HOSTILE[:number]
    read = Read(page(card_of(names), b"", RUNTIME))
    assert [tag for tag, _ in read.elements if tag == "img"] == []
    assert len([tag for tag, _ in read.elements if tag == "script"]) == 6
    assert told(read)["classes"] == list(names)
    for _, text in read.inside:
        assert "</script" not in text and "<!--" not in text
    for name in names:
        assert name in read.words.replace("\u00a0", " ")


def test_the_runtime_stands_in_the_page_as_it_is_but_for_what_it_exports() -> None:
    read = Read(page(PLAIN, b"", RUNTIME))
    (script,) = (text for _, text in read.inside if "globalThis.ort" in text)
    assert script == (
        "/* a % b */ const a = 1, b = 2, c = 3;\nglobalThis.ort = { InferenceSession: a, Tensor: b, env: c };\n"
    )


def test_the_card_is_there_in_words() -> None:
    results = (Result(part="test", measure="accuracy", value=0.9, low=0.83, high=0.95, n=100),)
    words = " ".join(Read(page(card_of(("ants", "bees"), threshold=0.35, results=results), b"", RUNTIME)).words.split())
    words = words.replace("\u00a0", " ")
    for sentence in (
        "ants or bees?",
        "The model says bees where the probability of bees is at least 35.0 %, and ants otherwise.",
        "The model was right about 90 of 100 images.",
        "90.0 % [83.0, 95.0] n = 100",
        "this page sends nothing anywhere",
        "An image is turned upright, kept at its own resolution",
    ):
        assert sentence in words


def test_figures_of_images_that_chose_the_weights_say_so() -> None:
    results = (Result(part="validation", measure="accuracy", value=0.9, low=0.83, high=0.95, n=100),)
    words = " ".join(Read(page(card_of(("ants", "bees"), results=results), b"", RUNTIME)).words.split())
    assert "its validation images, by which its weights were chosen" in words
    unmeasured = " ".join(Read(page(card_of(("ants", "bees")), b"", RUNTIME)).words.split())
    assert "Nobody has measured here how often it is right" in unmeasured


# The runtime


def installed(folder: Path, *, script: bytes = b"another", program: bytes = b"one") -> Path:
    """A folder as npm fills it."""
    place = folder / "node_modules" / "onnxruntime-web" / "dist"
    place.mkdir(parents=True)
    (place / SCRIPT).write_bytes(script)
    (place / PROGRAM).write_bytes(program)
    return folder


def known(monkeypatch: pytest.MonkeyPatch, script: bytes = b"the script", program: bytes = b"the program") -> None:
    """As if these were the files that are known."""
    hashes = {SCRIPT: hashlib.sha256(script).hexdigest(), PROGRAM: hashlib.sha256(program).hexdigest()}
    monkeypatch.setattr(runtimes, "SHA256", hashes)


def test_another_runtime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its hash is another one") as refused:
        web_runtime(installed(tmp_path))
    assert "npm install onnxruntime-web@" in str(refused.value.hint)


@pytest.mark.parametrize(
    "inner", ["", "node_modules", "node_modules/onnxruntime-web", "node_modules/onnxruntime-web/dist"]
)
def test_the_runtime_is_found_wherever_in_an_installed_folder_one_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    known(monkeypatch)
    installed(tmp_path, script=b"the script", program=b"the program")
    assert web_runtime(tmp_path / inner) == WebRuntime("the script", b"the program")
    monkeypatch.chdir(tmp_path)
    assert web_runtime(fetch=False) == WebRuntime("the script", b"the program")


def test_one_changed_file_of_two_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch)
    with pytest.raises(UserError, match=re.escape(PROGRAM)):
        web_runtime(installed(tmp_path, script=b"the script", program=b"another program"))


def test_without_runtime_and_npm_the_command_that_brings_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="which is not here") as refused:
        web_runtime()
    assert f"`npm install onnxruntime-web@{runtimes.VERSION}`" in str(refused.value.hint)


@pytest.mark.skipif(sys.platform == "win32", reason="npm is a shell script here")
@pytest.mark.parametrize("genuine", [True, False])
def test_what_npm_fetches_is_believed_by_its_hash_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, genuine: bool
) -> None:
    known(monkeypatch)
    made = installed(tmp_path / "made", script=b"the script" if genuine else b"another", program=b"the program")
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        archive.add(made / "node_modules" / "onnxruntime-web", "package")
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$1 $2" = "pack onnxruntime-web@{runtimes.VERSION}" ] && cp {tmp_path}/made.tgz .\n')
    npm.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    if not genuine:
        with pytest.raises(UserError, match="its hash is another one"):
            web_runtime()
        assert not (tmp_path / "cache").exists()
        return
    assert web_runtime() == WebRuntime("the script", b"the program")
    npm.unlink()
    assert web_runtime(fetch=False) == WebRuntime("the script", b"the program")  # cached


# The command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from tests.models import saved

    return saved(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a runtime that is taken for the known one."""
    known(monkeypatch, RUNTIME.script.encode(), RUNTIME.program)
    return installed(tmp_path / "web", script=RUNTIME.script.encode(), program=RUNTIME.program)


def test_a_command_writes_the_page(
    model: Path, runtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.html"
    assert command(["export", str(model), "--page", str(out), "--runtime", str(runtime)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "needs no network" in said and "proved: of the proof's image" in said
    assert told(Read(out.read_text(encoding="utf-8")))["classes"] == ["class 0", "class 1", "class 2"]


def test_a_file_that_was_exported_for_whole_images_is_embedded_as_it_is(
    model: Path, runtime: Path, tmp_path: Path
) -> None:
    pl.export(model, tmp_path / "model.onnx", inside=True)
    made = pl.write_page(tmp_path / "model.onnx", tmp_path / "model.html", runtime=runtime)
    assert made.bytes == (tmp_path / "model.html").stat().st_size
    read = Read((tmp_path / "model.html").read_text(encoding="utf-8"))
    (packed,) = (text for each, text in read.inside if each.get("id") == "packed-model")
    assert gzip.decompress(b64decode(packed)) == (tmp_path / "model.onnx").read_bytes()


def test_what_cannot_become_a_page_leaves_none(model: Path, runtime: Path, tmp_path: Path) -> None:
    pl.export(model, tmp_path / "prepared.onnx")
    out = tmp_path / "model.html"
    for given, name, why in (
        (tmp_path / "prepared.onnx", out, "takes prepared pixels"),
        (model, tmp_path / "model.pdf", "no name of a page"),
    ):
        with pytest.raises(UserError, match=why):
            pl.write_page(given, name, runtime=runtime)
    (runtime / "node_modules" / "onnxruntime-web" / "dist" / PROGRAM).write_bytes(b"another")
    with pytest.raises(UserError, match="its hash is another one"):
        pl.write_page(model, out, runtime=runtime)
    assert not list(tmp_path.glob("*.html")) and not list(tmp_path.glob("*.pdf"))


@pytest.mark.parametrize("flags", [[], ["--runtime", "there", "--out", "model.onnx"]])
def test_a_command_that_names_no_page_says_what_to_do(
    model: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["export", str(model), *flags]) == 2
    assert "--page model.html" in capsys.readouterr().err
