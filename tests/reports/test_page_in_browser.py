"""The page of a classifier in Chromium, opened from the disk: it proves itself, and answers as Pellucid does.

Skipped where Chromium or the runtime is absent: `npm install` onnxruntime-web here or in the folder $PELLUCID_NODE.
"""

import os
import re
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pellucid as pl
from headless_browser import Browser, browser, chromium
from pellucid.errors import UserError
from pellucid.exports.web_runtime import WebRuntime, web_runtime
from pellucid.reports.page import page
from tests.models import saved

pytest.importorskip("torch")
pytest.importorskip("onnx")
if chromium() is None:
    pytest.skip("Chromium is wanted", allow_module_level=True)

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def runtime() -> WebRuntime:
    try:
        return web_runtime(os.environ.get("PELLUCID_NODE"), fetch=False)
    except UserError as cause:
        pytest.skip(f"{cause.problem}: {cause.hint}")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), *CAMERA) as opened:
        yield opened


class Made:
    """A model that takes whole images, and its page."""

    def __init__(self, folder: Path, runtime: WebRuntime, **how: Any) -> None:
        self.file = folder / "model.onnx"
        pl.export(saved(folder / "model.safetensors", **how), self.file, inside=True)
        self.model = pl.load(folder / "model.safetensors")
        self.page = folder / "model.html"
        self.page.write_text(page(pl.load(self.file).card, self.file.read_bytes(), runtime), encoding="utf-8")

    def said(self, image: Path) -> Any:
        """What Pellucid says, by torch and Pillow: probabilities in the order of the classes."""
        (given,) = self.model.predict([image])
        shares = dict(given.ranking)
        return given, [shares[name] for name in self.model.classes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, runtime: WebRuntime) -> Made:
    return Made(tmp_path_factory.mktemp("model"), runtime, temperature=1.7, sure_from=0.5)


def photograph(width: int = 120, height: int = 90) -> Image.Image:
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def deep(levels: "np.ndarray[Any, Any]", path: Path) -> None:
    """A PNG of 16 bits per colour, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    photograph().save(path, exif=exif)


def clear(path: Path) -> None:
    image = photograph()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path)


KINDS: dict[str, Callable[[Path], None]] = {
    "plain.png": lambda path: photograph().save(path),
    "turned.png": turned,
    "turned.jpg": turned,
    "clear.png": clear,
    "grey.png": lambda path: photograph().convert("L").save(path),
    "palette.png": lambda path: photograph().convert("P").save(path),
    "deep.png": lambda path: deep(np.asarray(photograph()).astype(np.uint16) * 257, path),
    "inks.jpg": lambda path: photograph().convert("CMYK").save(path),
    "a.gif": lambda path: photograph().save(path),
    "a.webp": lambda path: photograph().save(path, lossless=True),
    "a.bmp": lambda path: photograph().save(path),
    "large.png": lambda path: photograph(1600, 1200).save(path),
    "tiny.png": lambda path: photograph(3, 2).save(path),
}


def test_the_page_says_what_pellucid_says_of_every_kind_of_image(tab: Browser, made: Made, tmp_path: Path) -> None:
    assert tab.open(made.page).startswith("✓ Proved")
    for name, write in KINDS.items():
        write(tmp_path / name)
        expected, shares = made.said(tmp_path / name)
        answer = tab.give(tmp_path / name)
        assert answer["best"] == expected.best and answer["sure"] == expected.sure, name
        assert np.abs(np.subtract(answer["probabilities"], shares)).max() < 1e-3, name
    assert tab.said == [] and [url for url in tab.requested if not url.startswith("file:")] == []


def test_grey_of_16_bits_loses_its_lower_half_and_no_more(tab: Browser, made: Made, tmp_path: Path) -> None:
    levels = np.asarray(photograph().convert("L")).astype(np.uint16) * 257
    Image.fromarray(levels + np.arange(120, dtype=np.uint16) % 100).save(tmp_path / "deep.png")
    _, shares = made.said(tmp_path / "deep.png")
    tab.open(made.page)
    assert np.abs(np.subtract(tab.give(tmp_path / "deep.png")["probabilities"], shares)).max() < 1e-2


def test_what_the_browser_cannot_decode_has_no_answer_and_a_reason(tab: Browser, made: Made, tmp_path: Path) -> None:
    photograph().save(tmp_path / "a.tif")
    photograph().save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    (tmp_path / "words.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("RGB", (1, 5)).save(tmp_path / "thin.png")
    tab.open(made.page)
    for name, why in {
        "a.tif": "cannot decode this TIFF file: save it as PNG or JPEG",
        "cut.jpg": "a JPEG file that is damaged or cut short",
        "words.png": "not an image that this browser can decode",
        "empty.png": "it is empty",
        "thin.png": "too small: 1 x 5 pixels",
    }.items():
        assert why in tab.give(tmp_path / name)["refused"]
        assert f"✗ {name} has no answer" in tab.text("told") and not tab.run("answer.offsetParent")


FILES = Path(pl.__file__).parent / "reports" / "templates" / "page_files.js"


def judged(tab: Browser, content: bytes) -> list[Any]:
    """Whether the page calls a file's content cut short, and how it is to be turned if it is a PNG."""
    data = b64encode(content).decode()
    given = f"const bytes = Uint8Array.from(atob('{data}'), (letter) => letter.charCodeAt(0));"
    answer: list[Any] = tab.run(
        f"(() => {{ {FILES.read_text(encoding='utf-8')}\n{given} return [isCut(bytes), turnOfPng(bytes)]; }})()"
    )
    return answer


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_file_that_was_cut_short_is_known_by_its_end(tab: Browser, kind: str) -> None:
    """Firefox shows what there is of one."""
    forms: list[dict[str, Any]] = [{}]
    if kind == "JPEG":
        small = BytesIO()
        photograph(16, 12).save(small, "JPEG")
        exif = b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + small.getvalue()  # a thumbnail with an end of its own
        forms += [{"progressive": True}, {"exif": exif}]
    for form in forms:
        file = BytesIO()
        photograph().save(file, kind, **form)
        whole = file.getvalue()
        assert not judged(tab, whole)[0] and not judged(tab, whole + b"what others append")[0]
        for share in (0.5, 0.7, 0.98):
            assert judged(tab, whole[: int(len(whole) * share)])[0]


@pytest.mark.parametrize("turn", range(1, 9))
def test_how_a_png_is_to_be_turned_is_read_from_it(tab: Browser, turn: int) -> None:
    """Firefox does not turn it, so that there it is refused."""
    file, exif = BytesIO(), Image.Exif()
    exif[0x112] = turn
    photograph().save(file, "PNG", exif=exif)
    assert judged(tab, file.getvalue()) == [False, turn]
    photograph().save(plain := BytesIO(), "PNG")
    assert judged(tab, plain.getvalue()) == [False, 1]


@pytest.mark.parametrize(
    "how",
    [
        {"one_logit": True, "threshold": 0.3, "temperature": 0.6, "sure_from": 0.6},
        {"crops": 3, "region": 38, "size": 32},
        {"channels": "BGR", "resize": (35, 50), "interpolation": "bicubic"},
        {"resize": None, "interpolation": None},
        {"classes": 14, "interpolation": "lanczos"},
    ],
    ids=["one logit", "several crops", "BGR", "native", "many classes"],
)
def test_every_kind_of_model_does(tab: Browser, runtime: WebRuntime, tmp_path: Path, how: dict[str, Any]) -> None:
    made = Made(tmp_path, runtime, **how)
    photograph().save(tmp_path / "a.png")
    expected, shares = made.said(tmp_path / "a.png")
    assert tab.open(made.page).startswith("✓ Proved")
    answer = tab.give(tmp_path / "a.png")
    assert answer["best"] == expected.best and answer["sure"] == expected.sure
    assert np.abs(np.subtract(answer["probabilities"], shares)).max() < 1e-3


def test_the_answer_is_shown_with_its_doubt_and_its_bars(tab: Browser, runtime: WebRuntime, tmp_path: Path) -> None:
    made = Made(tmp_path, runtime, classes=14, sure_from=0.99)
    photograph().save(tmp_path / "a.png")
    expected, shares = made.said(tmp_path / "a.png")
    tab.open(made.page)
    tab.give(tmp_path / "a.png")
    assert tab.text("said").strip() == expected.best
    assert tab.text("probability") == f"{100 * max(shares):.1f}\u00a0%"
    assert tab.text("sureness") == "Not sure" and "Only from 99.0\u00a0% on" in tab.text("sentence")
    assert "a.png: 120 x 90 pixels" in tab.text("caption")
    count = "document.querySelectorAll('#bars li').length"
    assert tab.run(count) == 10
    tab.run("document.getElementById('all').click()")
    assert tab.run(count) == 14
    first = tab.run("document.querySelector('#bars .share').textContent")
    assert first == f"{100 * max(shares):.1f}\u00a0%"


# A page that is not what was written


def refused(tab: Browser, place: Path, text: str) -> str:
    place.write_text(text, encoding="utf-8")
    said = tab.open(place)
    assert not tab.run("document.getElementById('door').offsetParent")
    return said


def test_a_model_whose_answers_are_others_is_refused(
    tab: Browser, made: Made, runtime: WebRuntime, tmp_path: Path
) -> None:
    """As if it had been embedded with another model's card, by whoever keeps all hashes right."""
    saved(tmp_path / "other.safetensors", seed=1)
    pl.export(tmp_path / "other.safetensors", tmp_path / "other.onnx", inside=True)
    text = page(pl.load(made.file).card, (tmp_path / "other.onnx").read_bytes(), runtime)
    assert "something else of the proof's image" in refused(tab, tmp_path / "page.html", text)


def test_a_model_that_was_edited_in_the_page_is_refused(tab: Browser, made: Made, tmp_path: Path) -> None:
    text = made.page.read_text(encoding="utf-8")
    at = text.index('id="packed-model">') + 5000
    edited = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    assert "the model in this page was changed" in refused(tab, tmp_path / "page.html", edited)


@pytest.mark.parametrize(
    "before, after", [('"threshold": null', '"threshold": 0.1'), ("const FEW = 10", "const FEW = 11")]
)
def test_a_script_that_was_edited_does_not_run(
    tab: Browser, made: Made, tmp_path: Path, before: str, after: str
) -> None:
    text = made.page.read_text(encoding="utf-8")
    assert text.count(before) == 1
    (tmp_path / "page.html").write_text(text.replace(before, after), encoding="utf-8")
    tab.send("Page.navigate", url=(tmp_path / "page.html").as_uri())
    said = tab.run(
        "new Promise((resolve) => setTimeout(() => resolve(document.getElementById('proof').textContent), 900))"
    )
    assert "✓" not in said and not tab.run("document.getElementById('door').offsetParent")
    assert [each for each in tab.said if "Content Security Policy" in each]


def test_a_browser_that_falsifies_pixels_is_refused(tab: Browser, made: Made) -> None:
    """As some do to protect their users from being recognised."""
    script = (
        "const read = CanvasRenderingContext2D.prototype.getImageData;"
        "CanvasRenderingContext2D.prototype.getImageData = function (...where) { const given = read.apply(this, where);"
        "for (let at = 0; at < given.data.length; at += 4) given.data[at] ^= 16; return given; }"
    )
    added = tab.send("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    try:
        assert "changes the pixels of images" in tab.open(made.page)
    finally:
        tab.send("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def test_the_page_can_send_nothing(tab: Browser, made: Made) -> None:
    tab.open(made.page)
    for attempt in ("fetch('data:,x')", "fetch('https://example.org/')", "import('data:text/javascript,1')"):
        assert tab.run(f"{attempt}.then(() => 'sent', () => 'forbidden')") == "forbidden"
    assert tab.run("navigator.sendBeacon('https://example.org/', 'x'); 1") == 1
    assert [each for each in tab.said if "connect-src 'none'" in each]


def test_names_of_classes_are_shown_and_never_run(tab: Browser, runtime: WebRuntime, tmp_path: Path) -> None:
    made = Made(tmp_path, runtime)
    names = ("</script><img src=x onerror=\"document.title='run'\">", "<b>bold</b>", "{{ 7 * 7 }}")
    before = pl.load(made.file).card
    proof = before.proof.model_copy(
        update={"probabilities": dict(zip(names, before.proof.probabilities.values(), strict=True))}
    )
    card = before.model_copy(update={"classes": names, "proof": proof})
    made.page.write_text(page(card, made.file.read_bytes(), runtime), encoding="utf-8")
    photograph().save(tmp_path / "a.png")
    assert tab.open(made.page).startswith("✓ Proved")
    assert tab.give(tmp_path / "a.png")["best"] in names
    shown = tab.run("[...document.querySelectorAll('#bars .name')].map((each) => each.textContent)")
    assert sorted(re.sub(r"^.\u00a0", "", each) for each in shown) == sorted(names)
    assert tab.run("document.title") != "run" and tab.run("document.querySelectorAll('img, b').length") == 0


# Other ways in


def test_an_image_is_dropped_or_pasted(tab: Browser, made: Made, tmp_path: Path) -> None:
    photograph().save(tmp_path / "a.png")
    tab.open(made.page)
    before = tab.give(tmp_path / "a.png")["probabilities"]
    for kind, carrier in (("DragEvent", "drop"), ("ClipboardEvent", "paste")):
        field = "dataTransfer" if kind == "DragEvent" else "clipboardData"
        after = tab.run(
            "(async () => { const canvas = document.querySelector('#picture canvas');"
            "const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));"
            "const carried = new DataTransfer(); "
            "carried.items.add(new File([blob], 'given.png', { type: 'image/png' }));"
            "const answered = new Promise((resolve) => document.addEventListener('pellucid:answer',"
            "(event) => resolve(event.detail), { once: true }));"
            f"document.body.dispatchEvent(new {kind}('{carrier}', {{ bubbles: true, {field}: carried }}));"
            "return answered; })()"
        )
        assert after["name"] == "given.png" and after["probabilities"] == before


def test_the_camera_starts_by_a_click_and_stops_with_its_image(tab: Browser, made: Made) -> None:
    tab.open(made.page)
    assert tab.run("document.getElementById('video').srcObject") is None
    answer = tab.run(
        "(async () => { document.getElementById('camera').click(); const video = document.getElementById('video');"
        "while (!video.videoWidth || video.currentTime === 0) await new Promise((resolve) => setTimeout(resolve, 50));"
        "const track = video.srcObject.getTracks()[0];"
        "const answered = new Promise((resolve) => document.addEventListener('pellucid:answer',"
        "(event) => resolve(event.detail), { once: true }));"
        "document.getElementById('shoot').click(); const detail = await answered;"
        "return { ...detail, state: track.readyState, hidden: document.getElementById('live').hidden }; })()"
    )
    assert answer["name"] == "the camera's image" and abs(sum(answer["probabilities"]) - 1) < 1e-5
    assert answer["state"] == "ended" and answer["hidden"]


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(tab: Browser, made: Made, tmp_path: Path, width: int) -> None:
    photograph(1600, 1200).save(tmp_path / "a.png")
    tab.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
    try:
        tab.open(made.page)
        tab.give(tmp_path / "a.png")
        assert tab.run("document.documentElement.scrollWidth") <= width
    finally:
        tab.send("Emulation.clearDeviceMetricsOverride")
