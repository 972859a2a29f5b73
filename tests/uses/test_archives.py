"""Images in archives: which are read, as what, and what is refused in its place."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.uses import archives
from pellucid.uses.inputs import expand_inputs
from pellucid.uses.predict import Elsewhere, Failure, Prediction, predict_stream
from tests.brightness import classifier, save


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def picture(grey: int) -> bytes:
    return save(Path("one.png"), grey).read_bytes()


def said(*arguments: str, notes: list[str] | None = None) -> list[tuple[str | None, str]]:
    """Each image's name, and its class or its error."""
    heard = [] if notes is None else notes
    inputs = expand_inputs(arguments, standard_input=[], note=heard.append)
    results = predict_stream(classifier(Path("model")), inputs)
    return [(each.name, each.best if isinstance(each, Prediction) else each.error) for each in results]


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    kinds: dict[str, Callable[..., bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, each in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(each)
            archive.addfile(info, io.BytesIO(each))
    path.write_bytes(kinds.get(path.suffix, bytes)(content.getvalue()))
    return path


MEMBERS = {"b/2.png": 255, "b/1.png": 0, "a.png": 250}


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.tar.gz", "photos.TAR.bz2", "photos.tar.xz"])
def test_an_archive_gives_its_images_in_its_order_without_being_unpacked(name: str) -> None:
    members = {name: picture(grey) for name, grey in MEMBERS.items()}
    members |= {
        "notes.txt": b"hello",
        "b/.hidden.png": members["a.png"],
        "__MACOSX/a.png": b"",
        "b/no-suffix": members["a.png"],
    }
    (zipped if name.endswith(".zip") else tarred)(Path(name), members)
    before, notes = sorted(Path().iterdir()), list[str]()
    assert said(name, notes=notes) == [
        (f"{name}/b/2.png", "bright"),
        (f"{name}/b/1.png", "dark"),
        (f"{name}/a.png", "bright"),
        (f"{name}/b/no-suffix", "bright"),
    ]
    assert notes == [f"{name}: left out: 1 x .txt is no image; 1 x made by the system"]
    assert sorted({*Path().iterdir()} - {Path("model")}) == before
    assert said(f"{name}/b/1.png", f"{name}/b") == [
        (f"{name}/b/1.png", "dark"),
        *[(f"{name}/b/2.png", "bright"), (f"{name}/b/1.png", "dark"), (f"{name}/b/no-suffix", "bright")],
    ]
    assert said(f"{name}/gone.png") == [(f"{name}/gone.png", "there is no such image in the archive")]


def test_members_of_a_zip_that_may_not_be_read_fail_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    good = picture(255)
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile("bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.png", good)
        archive.writestr(link, "/etc/passwd")
        for name in ("/etc/x.png", "../x.png", "a/../../x.png", "C:\\x.png"):
            archive.writestr(name, good)
        archive.writestr("bomb.png", b"\0" * 5_000_000)
        archive.writestr("last.png", good)
    monkeypatch.setattr(archives, "LARGEST", 1_000_000)
    content = Path("bad.zip").read_bytes()
    outwards = "its name leads out of the archive"
    assert said("bad.zip") == [
        ("bad.zip/first.png", "bright"),
        ("bad.zip/link.png", "a link"),
        *[(f"bad.zip/{name}", outwards) for name in ("/etc/x.png", "../x.png", "a/../../x.png", "C:\\x.png")],
        ("bad.zip/bomb.png", "too large: 5,000,000 bytes"),
        ("bad.zip/last.png", "bright"),
    ]
    # What says of itself that it is small is not believed: no more than that is read, and its sum is then wrong.
    lying = content.replace((5_000_000).to_bytes(4, "little"), (5_000).to_bytes(4, "little"))
    assert lying != content
    Path("bad.zip").write_bytes(lying)
    assert ("bad.zip/bomb.png", "damaged in its archive") in said("bad.zip")


def test_an_encrypted_member_fails_and_others_do_not() -> None:
    zipped(Path("some.zip"), {"a.png": picture(0), "b.png": picture(255)})
    content = bytearray(Path("some.zip").read_bytes())
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # its flags, in the directory and in front of the member
        content[content.index(mark) + at] |= 1
    Path("some.zip").write_bytes(content)
    assert said("some.zip") == [("some.zip/a.png", "encrypted"), ("some.zip/b.png", "bright")]


@pytest.mark.parametrize("name", ["bad.tar", "bad.tar.gz"])
def test_members_of_a_tar_that_may_not_be_read_fail_in_their_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = picture(255)
    with tarfile.open(name, "w:gz" if name.endswith("gz") else "w") as archive:
        for kind, member in (
            (tarfile.SYMTYPE, "soft.png"),
            (tarfile.LNKTYPE, "hard.png"),
            (tarfile.FIFOTYPE, "pipe.png"),
        ):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for member, content in (("../x.png", good), ("bomb.png", b"\0" * 5_000_000), ("good.png", good)):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(archives, "LARGEST", 1_000_000)
    assert said(name) == [
        (f"{name}/soft.png", "a link"),
        (f"{name}/hard.png", "a link"),
        (f"{name}/pipe.png", "no plain file"),
        (f"{name}/../x.png", "its name leads out of the archive"),
        (f"{name}/bomb.png", "too large: 5,000,000 bytes"),
        (f"{name}/good.png", "bright"),
    ]


def test_a_header_that_claims_too_much_ends_the_archive_and_not_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST", 100_000)
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.XHDTYPE, 50_000_000
    tarred(Path("a.tar"), {"a.png": picture(0)})
    first = Path("a.tar").read_bytes()[:1024]
    Path("a.tar.gz").write_bytes(gzip.compress(first + info.tobuf() + b"\0" * 50_000_000))
    assert said("a.tar.gz") == [("a.tar.gz/a.png", "dark"), ("a.tar.gz", "no archive, or a damaged one")]


def test_an_archive_that_is_none_or_cut_short_is_told_where_that_shows() -> None:
    for name in ("none.zip", "none.tar", "none.tar.gz"):
        Path(name).write_bytes(b"no archive at all" * 100)
        assert said(name)[0] == (name, "no archive, or a damaged one")
    whole = tarred(Path("whole.tar.gz"), {f"{number}.png": picture(number) for number in range(100)}).read_bytes()
    Path("cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    *some, last = said("cut.tar.gz")
    assert 0 < len(some) < 100 and last == ("cut.tar.gz", "no archive, or a damaged one")
    zipped(Path("empty.zip"), {"notes.txt": b""})
    assert said("empty.zip") == [("empty.zip", "the archive holds no images (left out: 1 x .txt is no image)")]


def test_an_archive_is_read_no_further_than_needed() -> None:
    tarred(Path("many.tar.gz"), {f"{number}.png": picture(number % 256) for number in range(300)})
    inputs = expand_inputs(["many.tar.gz"], standard_input=[])
    taken: list[object] = []

    def counted():
        for each in inputs:
            taken.append(each)
            yield each

    stream = predict_stream(classifier(Path("model")), counted(), batch=4)
    next(stream)
    assert len(taken) <= 8 and not any(isinstance(each, Failure) for each in taken)
    assert isinstance(taken[0], Elsewhere)
    stream.close()
