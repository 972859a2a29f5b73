"""Images in zip and tar archives, read where they lie: nothing is unpacked to the disk, and no member is trusted.

A member is called ARCHIVE/NAME. What a folder would leave out is left out; what looks like an image and may not be read
(a link, a name that leads out of the archive, one that is encrypted or too large) is a Failure in its place.
"""

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePath
from threading import Lock
from typing import IO, Any

from pellucid.images.decode import Unreadable, told_by_content
from pellucid.images.folders import CLUTTER, why_no_image
from pellucid.names import shown
from pellucid.uses.predict import Elsewhere, Failure

ZIPS = (".zip",)
PLAIN = ".tar"
TARS: dict[str, Any] = {  # how a file called so is opened
    PLAIN: open,
    **dict.fromkeys((".tar.gz", ".tgz"), gzip.open),
    **dict.fromkeys((".tar.bz2", ".tbz2"), bz2.open),
    **dict.fromkeys((".tar.xz", ".txz"), lzma.open),
}
LARGEST = 1 << 28  # bytes of a member: what claims more is no photograph
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError, MemoryError),
)
OUTWARDS = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")


class Member(Elsewhere):
    """An image in an archive; `content` reads it."""

    def __init__(self, name: str, content: Callable[[], bytes]) -> None:
        self.name = name
        self._content = content

    def read(self) -> bytes:
        try:
            content = self._content()
        except MemoryError as cause:
            raise Unreadable(self.name, "too large for this machine's memory") from cause
        except DAMAGE as cause:
            raise Unreadable(self.name, "damaged in its archive") from cause
        if not content:
            raise Unreadable(self.name, "empty")
        return content


def is_archive(path: Path) -> bool:
    """Whether it is a file that is called like one."""
    try:
        return path.name.lower().endswith((*ZIPS, *TARS)) and path.is_file()
    except (OSError, ValueError):  # a name that none can have
        return False


def images_in(archive: Path, left_out: list[tuple[Path, str]], *, within: str = "") -> Iterator[Member | Failure]:
    """The images of an archive, in its order, as it is read; of the member or folder `within` alone, if one is named.

    `left_out` takes what is passed over, and why. An archive that is damaged is a Failure, where that shows.
    """
    members = _of_zip if archive.name.lower().endswith(ZIPS) else _of_tar
    try:
        for member, why, content in members(archive):
            if within and member != within and not member.startswith(f"{within}/"):
                continue
            name, path = f"{archive}/{shown(member)}", PurePath(member)
            if any(part.startswith(".") and part not in (".", "..") for part in path.parts):
                continue
            if any(part.lower() in CLUTTER for part in path.parts):
                left_out.append((archive / member, "made by the system"))
            elif reason := why_no_image(path, partial(_begins, content)):
                left_out.append((archive / member, reason))
            elif why or OUTWARDS.search(member):
                yield Failure(name=name, error=why or "its name leads out of the archive")
            else:
                yield Member(name, content)
    except DAMAGE as cause:
        said = "no archive, or a damaged one"
        if isinstance(cause, OSError) and cause.strerror:
            said = f"cannot be read ({cause.strerror})"
        yield Failure(name=str(archive), error=said)


def _begins(content: Callable[[], bytes]) -> bool:
    try:
        return told_by_content(content()[:32])
    except DAMAGE:
        return False


Found = Iterator[tuple[str, str, Callable[[], bytes]]]  # a member's name, why it may not be read, and how it is


def _of_zip(archive: Path) -> Found:
    opened = zipfile.ZipFile(archive)  # its members keep it open, as long as one of them is wanted
    alone = Lock()  # it counts who reads, and threads that count at once could close it
    for info in opened.infolist():
        if info.is_dir():
            continue
        why = ""
        if stat.S_ISLNK(info.external_attr >> 16):
            why = "a link"
        elif info.flag_bits & 1:
            why = "encrypted"
        elif info.file_size > LARGEST:
            why = f"too large: {info.file_size:,} bytes"
        yield info.filename, why, bytes if why else partial(_of_member, opened, info, alone)


def _of_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, alone: Lock) -> bytes:
    with alone, opened.open(info) as file:  # it gives no more than the size it claims
        return file.read(LARGEST)


def _of_tar(archive: Path) -> Found:
    suffix = max((each for each in TARS if archive.name.lower().endswith(each)), key=len)
    with TARS[suffix](archive, "rb") as file, tarfile.open(fileobj=_Bounded(file), mode="r:") as opened:  # type: ignore[call-overload]
        while (info := opened.next()) is not None:
            opened.members = []  # type: ignore[attr-defined]  # it would keep them all
            if info.isdir():
                continue
            why = ""
            if info.issym() or info.islnk():
                why = "a link"
            elif not info.isreg() or info.issparse():
                why = "no plain file"
            elif info.size > LARGEST:
                why = f"too large: {info.size:,} bytes"
            content: Callable[[], bytes] = bytes
            if not why and suffix == PLAIN:
                content = partial(_piece, archive, info.offset_data, info.size)
            elif not why:  # what is compressed is read once, from its begin to its end
                content = partial(bytes, _now(opened, info))
            yield info.name, why, content


def _now(opened: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    """The content of a member that is a plain file."""
    file = opened.extractfile(info)
    assert file is not None
    content: bytes = file.read()
    if len(content) < info.size:
        raise EOFError
    return content


def _piece(archive: Path, offset: int, size: int) -> bytes:
    with archive.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content


class _Bounded:
    """A file that gives no more at once than a member may have: headers claim sizes too."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > LARGEST + tarfile.RECORDSIZE:
            raise tarfile.ReadError("a header that is too large")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
