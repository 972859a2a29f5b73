"""What a file is, told by its content: its suffix only says what somebody called it.

Whatever is no file of weights is refused by what it looks like, with what to do about it. No torch here.
"""

import bz2
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any
from zipfile import BadZipFile, ZipFile

from pellucid.errors import UserError, listed, of_system

FORMATS = ".safetensors, .pth, .npz, .h5, .keras, .pdparams or a TensorFlow checkpoint"
SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".bin", ".ckpt", ".npz", ".h5", ".hdf5", ".keras", ".pdparams")
AGAIN = "get it again, or use an unchanged copy"
LONGEST_LIST = 10**8  # bytes of JSON that are read
HEAD = 4096  # bytes by which a file is known
# What a small file may say that it holds. Weights do not shrink a hundredfold; what does was made to fill a memory.
GROWTH, ALWAYS_FINE = 100, 2**30

HDF5 = b"\x89HDF\r\n\x1a\n"
TABLE = bytes.fromhex("57fb808b247547db")  # how each checkpoint of TensorFlow ends: it is a table of LevelDB
TORCH = bytes.fromhex("6cfc9c46f9206aa85019")  # the number with which torch.save began until 1.6
TEXT_PICKLE = re.compile(rb"\(d|\(l|\(i|[}\]]q|c[\w.]+\r?\n[\w.]+\r?\n")

TAR_AT, TAR = 257, b"ustar"
UNTAR = "tar -xf unpacks it; then name the file of weights in it"

# What compresses a file: how it begins, who unpacks it in a shell, and here.
COMPRESSED: tuple[tuple[bytes, str, Callable[[Path], Any] | None], ...] = (
    (b"\x1f\x8b", "gzip", gzip.open),
    (b"BZh", "bzip2", bz2.open),
    (b"\xfd7zXZ", "xz", lzma.open),
    (b"\x28\xb5\x2f\xfd", "zstd", None),
)
# How files of others begin, after `skip` bytes: what each is, and what to do.
OTHERS = (
    (0, b"GGUF", "a model of a language", "an image network's weights are wanted"),
    (4, b"TFL3", "a TensorFlow Lite model", "its weights have lost their names: take the file that it was made from"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it, and name the file of weights in it"),
    (0, b"Rar!", "a rar archive", "unpack it, and name the file of weights in it"),
    (TAR_AT, TAR, "a tar archive", UNTAR),
    (0, b"\xff\xd8\xff", "a photograph", "--weights takes a network's weights"),
    (0, b"\x89PNG", "a picture", "--weights takes a network's weights"),
    (0, b"%PDF", "a PDF document", "--weights takes a network's weights"),
    (0, b"\x93NUMPY", "a single NumPy array", "numpy.savez keeps many, by name"),
    (0, b"MATLAB", "a file of MATLAB", "save the arrays by their names as an .npz"),
    (0, b"\x08\x01\x12", "a SavedModel of TensorFlow", "in Keras: model.save_weights('model.weights.h5')"),
)
# What content does not tell: by suffix.
CALLED = {
    ".onnx": ("an ONNX model", "take the file of weights that it was made from: ONNX renames and folds them"),
    ".pdopt": ("an optimizer's state of Paddle", "the weights are in the .pdparams beside it"),
    ".pdiparams": ("a Paddle model for inference", "its tensors have no names: take the .pdparams"),
    ".pdmodel": ("a Paddle model's graph", "the weights are in a .pdparams"),
    ".caffemodel": ("a model of Caffe", "save its arrays by name as an .npz"),
    ".pb": ("a graph of TensorFlow", "take the checkpoint that it was made from"),
    ".msgpack": ("a file of Flax", "save its arrays by name as an .npz"),
    ".mlmodel": ("a Core ML model", "take the file of weights that it was made from"),
}


@dataclass(frozen=True)
class Named:
    """A file as its content tells: `kind` is what reads it, `words` what a person calls it."""

    kind: str
    words: str


def recognise(path: Path) -> Named:
    """What reads `path`. Raises UserError for what is no file of weights, with what it looks like."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            size = file.seek(0, 2)
            file.seek(max(0, size - len(TABLE)))
            tail = file.read()
    except OSError as cause:
        raise of_system(cause, str(path), doing="read") from cause
    if not size:
        raise UserError(f"{path} is empty", hint="the download or the copy failed: get it again")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(path)
    if found := _tensors(head, tail):
        return found
    for sign, program, unpacked in COMPRESSED:
        if head.startswith(sign):
            raise _compressed(path, program, unpacked)
    for skip, sign, words, hint in OTHERS:
        if head[skip:].startswith(sign):
            raise _no_weights(path, words, hint)
    if re.match(rb"\x08[\x03-\x14][\x12\x1a\x22\x28\x32\x3a\x42]", head):
        raise _no_weights(path, *CALLED[".onnx"])
    if (text := _text(head)) is not None:
        return _written(path, text)
    words, hint = CALLED.get(path.suffix.lower(), ("", ""))
    if words:
        raise _no_weights(path, words, hint)
    if ".data-" in path.suffix:
        raise _no_weights(path, "a part of a TensorFlow checkpoint", "its .index must lie beside it")
    raise UserError(
        f"{path} is none of the formats that are known here, or it is damaged",
        [f"it begins with {head[:8].hex(' ')}"],
        hint=f"--weights takes {FORMATS}",
    )


def _tensors(head: bytes, tail: bytes) -> Named | None:
    """The formats of one piece."""
    if any(head[at : at + 8] == HDF5 for at in (0, 512, 1024, 2048)):
        return Named("hdf5", "an HDF5 file of Keras")
    if TORCH in head[:32]:
        return Named("torch", "a file of torch")
    if re.match(rb"\x80[\x02-\x05]", head) or TEXT_PICKLE.match(head):
        return Named("pickle", "a pickle")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 10**8:
        return Named("safetensors", "a .safetensors file")
    return Named("tensorflow", "a TensorFlow checkpoint") if tail == TABLE else None


def _compressed(path: Path, program: str, unpacked: Callable[[Path], Any] | None) -> UserError:
    """What to do with a compressed file: one, or an archive of several, as its beginning tells."""
    begins = b""
    if unpacked:
        with suppress(OSError, EOFError, ValueError, zlib.error, lzma.LZMAError), unpacked(path) as file:
            begins = file.read(TAR_AT + len(TAR))
    if begins.endswith(TAR) or re.search(r"\.(tar\.\w+|t[gbxz]\w+)$", path.name.lower()):
        return _no_weights(path, f"a tar archive, compressed by {program}", UNTAR)
    out = re.sub(r"\.(gz|bz2|xz|zst|zip)$", "", path.name)
    out = out if out != path.name else f"{path.stem}.unpacked{path.suffix}"
    return _no_weights(
        path, f"compressed by {program}", f"{program} -dc < {quote(str(path))} > {quote(out)} unpacks it"
    )


def _zipped(path: Path) -> Named:
    """The formats that are zip archives; each member is of one name, and does not unpack to a multiple of the file."""
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    except (BadZipFile, OSError, ValueError, NotImplementedError) as cause:
        raise UserError(f"{path} is a zip file that was cut short, or is damaged", [str(cause)], hint=AGAIN) from cause
    names = [member.filename for member in members]
    if twice := sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
        raise UserError(f"{path} holds two members of one name", listed(twice, 3), hint=AGAIN)
    check_growth(path, sum(member.file_size for member in members))
    bare = {name.partition("/")[2] for name in names}
    if {"config.json", "model.weights.h5"} <= set(names):
        return Named("keras", "a .keras file")
    if "constants.pkl" in bare or any(name.startswith("code/") for name in bare):
        hint = f'python -c "import torch; torch.save(torch.jit.load({str(path)!r}).state_dict(), {"weights.pth"!r})"'
        raise _no_weights(path, "a TorchScript program", f"it would be run; where you trust it: {hint}")
    if "archive_format" in bare:
        hint = f"where you trust it: torch.save(torch.export.load({str(path)!r}).state_dict, 'weights.pth')"
        raise _no_weights(path, "a program that torch has exported", hint)
    if "data.pkl" in bare or "data.pkl" in names:
        return Named("torch", "a file of torch")
    if any(name.endswith(".npy") for name in names):
        return Named("npz", "an .npz")
    raise _no_weights(
        path,
        f"a zip archive of other things ({', '.join(names[:3]) or 'nothing'}{', ...' if names[3:] else ''})",
        "unzip it, and name the file of weights in it",
    )


def _text(head: bytes) -> str | None:
    """The beginning of a text; None where it is none."""
    if re.search(rb"[\0-\x08\x0e-\x1f]", head):
        return None
    try:
        return head.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError as cause:  # the last character may have been cut
        return head[: cause.start].decode("utf-8", "replace").lstrip() if cause.start > HEAD - 4 else None


def _written(path: Path, text: str) -> Named:
    """Text is no weights, but for the list of a model's parts that lies beside them."""
    if text.startswith("version https://git-lfs"):
        raise _no_weights(path, "a pointer of Git LFS, not the file itself", "git lfs pull, in its folder, fetches it")
    if re.match(r"<(!doctype|html|\?xml|head|body)", text, re.IGNORECASE):
        raise _no_weights(path, "a web page", "what was downloaded is a page about the file, or an error: get the file")
    if text.startswith(("{", "[")):
        if parts_of(path):
            return Named("parts", "a list of parts")
        raise _no_weights(path, "JSON text", f"is it a server's error, or a configuration? It says: {_begins(text)}")
    raise _no_weights(path, f"a text that begins with {_begins(text)!r}", f"--weights takes {FORMATS}")


def _begins(text: str) -> str:
    return " ".join(text[:60].split())


def check_index(path: Path) -> None:
    """UserError where the index of a TensorFlow checkpoint is none: it was cut short, or is another's."""
    try:
        whole = path.read_bytes().endswith(TABLE)
    except OSError as cause:
        raise of_system(cause, str(path), doing="read") from cause
    if not whole:
        raise UserError(f"{path} is no index of a TensorFlow checkpoint, or it was cut short", hint=AGAIN)


def parts_of(path: Path) -> dict[str, str]:
    """The file that holds each tensor, of a list such as model.safetensors.index.json; {} where `path` is none."""
    try:
        if path.stat().st_size > LONGEST_LIST:
            return {}
        found = json.loads(path.read_bytes()).get("weight_map")
    except (ValueError, AttributeError, RecursionError, OSError):
        return {}
    plain = isinstance(found, dict) and all(isinstance(part, str) for part in found.values())
    return found if plain else {}


def check_growth(path: Path, size: int) -> None:
    """UserError where a file says that it holds `size` bytes, and is far too small for it."""
    if size > ALWAYS_FINE and size > GROWTH * path.stat().st_size:
        raise UserError(
            f"{path} has {path.stat().st_size:,} bytes and says that it holds {size:,}",
            hint="it is damaged, or was made to fill a memory: get it again from whom you trust",
        )


def _no_weights(path: Path, words: str, hint: str) -> UserError:
    return UserError(f"{path} holds no weights that can be read: it is {words}", hint=hint)
