"""Decoding: every kind of file becomes the picture that a person would see, or is refused by name with the reason."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import UserError
from pellucid.images.decode import Unreadable, open_image
from tests.golden import check

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def pixels(content: bytes, **options: object) -> np.ndarray:
    image = open_image(content, **options)  # type: ignore[arg-type]
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    ("orientation", "seen"),
    [  # how a viewer shows the stored picture: Exif 2.32, table 6, 0x0112
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),  # over the other diagonal
        (8, lambda a: np.rot90(a)),
    ],
)
def test_a_picture_is_turned_as_its_exif_says(orientation, seen):
    stored = COLOURS[:12]
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(pixels(encoded(Image.fromarray(stored), "PNG", exif=exif)), seen(stored))


def test_a_damaged_exif_block_leaves_the_picture_as_it_lies():
    content = encoded(Image.fromarray(COLOURS), "PNG")
    bad = b"eXIf" + b"MM\0*\xff\xff\xff\xff"
    chunk = struct.pack(">I", len(bad) - 4) + bad + struct.pack(">I", zlib.crc32(bad))
    assert np.array_equal(pixels(content[:33] + chunk + content[33:]), COLOURS)


def test_cmyk_becomes_the_colours_that_the_inks_leave():
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:, 4:, 0] = 255  # cyan takes the red away
    shown = pixels(encoded(Image.fromarray(inks, mode="CMYK"), "TIFF"))
    assert shown[0, 0].tolist() == [255, 255, 255] and shown[0, 7].tolist() == [0, 255, 255]
    jpeg = pixels(encoded(Image.fromarray(inks, mode="CMYK"), "JPEG", quality=95))
    assert abs(jpeg.astype(int) - shown).max() <= 24


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_scaled_not_clipped(kind):
    grey = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    shown = pixels(encoded(Image.fromarray(grey), kind))
    assert np.array_equal(shown[:, :, 0], RAMP) and np.array_equal(shown[:, :, 0], shown[:, :, 2])


def test_a_dark_picture_of_sixteen_bits_stays_dark():
    grey = np.full((16, 16), 257 * 3, np.uint16)
    assert np.array_equal(np.unique(pixels(encoded(Image.fromarray(grey), "PNG"))), [3])


@pytest.mark.parametrize(("highest", "level"), [(1.0, 0.5), (255.0, 127.5), (65535.0, 32767.5)])
def test_floats_are_taken_on_the_scale_that_holds_them(highest, level):
    grey = np.full((4, 4), level, np.float32)
    grey[0, 0] = highest
    shown = pixels(encoded(Image.fromarray(grey), "TIFF"))
    assert shown[0, 0, 0] == 255 and shown[1, 1, 0] in (127, 128)


def test_sixteen_bits_of_colour_keep_their_higher_bits():
    rows = b"".join(b"\0" + b"".join(struct.pack(">3H", 256 * x, 65535, 255) for x in range(4)) for _ in range(4))
    shown = pixels(png(struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0), rows))
    assert shown[0].tolist() == [[0, 255, 0], [1, 255, 0], [2, 255, 0], [3, 255, 0]]


def png(header: bytes, rows: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 30)])
def test_what_is_transparent_shows_the_background(background):
    half = np.dstack([COLOURS, np.full((16, 16), 255, np.uint8)])
    half[:, :8, 3] = 0
    half[:, 8:12, 3] = 51  # a fifth
    shown = pixels(encoded(Image.fromarray(half), "PNG"), background=background)
    assert np.array_equal(shown[:, :8], np.broadcast_to(np.uint8(background), (16, 8, 3)))
    fifth = 0.2 * COLOURS[:, 8:12] + 0.8 * np.array(background)
    assert np.abs(shown[:, 8:12] - fifth).max() <= 1
    assert np.array_equal(shown[:, 12:], COLOURS[:, 12:])


def test_grey_with_alpha_and_a_palette_with_a_clear_colour_show_the_background_too():
    grey = Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (16, 16), 0)])
    assert np.unique(pixels(encoded(grey, "PNG"), background=(9, 9, 9))).tolist() == [9]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 0)
    shown = pixels(encoded(palette, "PNG", transparency=0), background=(1, 2, 3))
    assert shown[0, 0].tolist() == [1, 2, 3] and shown[1, 1].tolist() == [0, 0, 255]


def test_one_bit_and_grey_are_three_equal_channels():
    bits = Image.fromarray(RAMP > 127)
    assert np.array_equal(pixels(encoded(bits, "PNG")), np.dstack([np.where(RAMP > 127, 255, 0)] * 3))
    assert np.array_equal(pixels(encoded(Image.fromarray(RAMP), "PNG")), np.dstack([RAMP] * 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(content)[4, 4].tolist() == [255, 0, 0]


def test_the_content_says_what_a_file_is_not_its_name(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(encoded(Image.fromarray(COLOURS), "PNG"))
    assert np.array_equal(np.asarray(open_image(tmp_path / "photo.jpg")), COLOURS)


def test_what_is_in_memory_is_taken_like_a_file():
    assert np.array_equal(np.asarray(open_image(COLOURS)), COLOURS)
    assert np.array_equal(np.asarray(open_image(Image.fromarray(COLOURS))), COLOURS)


REFUSED = {
    "empty.png": lambda: b"",
    "text.png": lambda: b"this is no picture",
    "page.jpg": lambda: b"<html><body>404 not found</body></html>",
    "document.pdf.jpg": lambda: b"%PDF-1.7\n1 0 obj\n",
    "drawing.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "cut.jpg": lambda: encoded(Image.fromarray(COLOURS).resize((200, 200)), "JPEG")[:-600],
    "cut.png": lambda: encoded(Image.fromarray(COLOURS), "PNG")[:-40],
    "flipped-bits.png": lambda: encoded(Image.fromarray(COLOURS), "PNG").replace(b"IDATx", b"IDATy"),
    "cut.gif": lambda: encoded(Image.fromarray(COLOURS).quantize(), "GIF")[:-60],
    "cut.webp": lambda: encoded(Image.fromarray(COLOURS), "WEBP")[:-40],
    "cut.tif": lambda: encoded(Image.fromarray(COLOURS), "TIFF")[:-200],
    "cut.bmp": lambda: encoded(Image.fromarray(COLOURS), "BMP")[:-200],
    "cut.jp2": lambda: encoded(Image.fromarray(COLOURS), "JPEG2000")[:-20],
    "four-bytes.jpg": lambda: b"\xff\xd8\xff\xe0",
    "one-pixel.png": lambda: encoded(Image.new("RGB", (1, 1)), "PNG"),
    "one-row.png": lambda: encoded(Image.new("RGB", (64, 1)), "PNG"),
    "bomb.png": lambda: png(struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0), b"\0" * 100),
    "large.png": lambda: png(struct.pack(">IIBBBBB", 14_000, 14_000, 1, 0, 0, 0, 0), b"\0" * 100),
    "not-a-number.tif": lambda: encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"),
    "negative.tif": lambda: encoded(Image.fromarray(np.full((4, 4), -40, np.int32)), "TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_by_name_with_the_reason(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(REFUSED[name]())
    with pytest.raises(Unreadable) as caught:
        open_image(Path(name))
    check(f"decode/{name}", str(caught.value))
    with pytest.raises(Unreadable):  # bytes without a name are judged alike
        open_image(REFUSED[name]())


def test_places_without_a_file_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder.png").mkdir()
    os.mkfifo("pipe.png")
    for name in ("folder.png", "pipe.png", "gone.png", "nul\0.png"):
        with pytest.raises(Unreadable) as caught:
            open_image(Path(name))
        check(f"decode/{name.replace(chr(0), '')}", str(caught.value).replace("\0", "?"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    photo = tmp_path / "a.png"
    photo.write_bytes(encoded(Image.fromarray(COLOURS), "PNG"))
    photo.chmod(0)
    with pytest.raises(Unreadable, match="may not be read"):
        open_image(photo)


def test_permission_denied_is_told_whoever_asks(tmp_path, monkeypatch):
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    photo = tmp_path / "a.png"
    photo.write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(Unreadable, match=r"a\.png: may not be read \(permission denied\)"):
        open_image(photo)


@pytest.mark.parametrize("thing", [7, None, np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_things_that_are_no_picture_are_refused(thing):
    with pytest.raises(UserError):
        open_image(thing)


@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"]),
    cut=st.floats(0, 1, exclude_max=True),
    noise=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_any_damage_gives_a_picture_or_a_named_refusal(kind, cut, noise):
    content = bytearray(encoded(Image.fromarray(COLOURS), kind))
    for place, value in noise:
        content[int(place * len(content))] = value
    for candidate in (bytes(content), bytes(content[: int(cut * len(content))])):
        try:
            image = open_image(candidate, name="picture")
        except Unreadable as error:
            assert error.name == "picture" and error.reason
        else:
            assert image.mode == "RGB" and min(image.size) >= 2


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_are_too_strange(content):
    try:
        assert open_image(content).mode == "RGB"
    except Unreadable as error:
        assert error.reason


@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"]),
    lost=st.integers(20, 120),
)
@settings(max_examples=60, deadline=None)
def test_a_file_that_ends_early_is_never_taken_for_whole(kind, lost):
    content = encoded(Image.fromarray(COLOURS), kind)
    with pytest.raises(Unreadable):
        open_image(content[: max(4, len(content) - lost)])
