"""Files that hold a model with its card: which kind a file is, and the text of the card in it. Read without torch.

A kind is told by content, never by the name. How to compute a kind is the engines' business.
"""

import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from safetensors import safe_open

from pellucid.errors import UserError, of_system
from pellucid.names import kind_of, textual

CARD = "pellucid_card"  # the entry of a file's metadata
Container = Literal["safetensors", "onnx", "openvino"]
SUFFIXES: dict[Container, str] = {"safetensors": ".safetensors", "onnx": ".onnx", "openvino": ".xml"}
MODELS = "a run folder, a .safetensors, an .onnx or OpenVINO's .xml"  # what MODEL may be, in words

# How a ModelProto of ONNX begins: its version, then any of the fields that exporters write next (onnx.proto).
ONNX = re.compile(rb"\x08[\x03-\x14][\x12\x1a\x22\x28\x32\x3a\x42]")
METADATA, KEY, VALUE = 14, 1, 2  # numbers of the fields: ModelProto.metadata_props, StringStringEntryProto's
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # how a field is written (Protocol Buffers, "Encoding")
LONGEST = 1 << 26  # bytes of metadata that are read


def container_of(path: Path) -> Container:
    """The kind of a model's file; what is none of the others is taken for .safetensors, whose reader says more.

    Raises UserError for what is not there, or is no file.
    """
    match kind_of(path):
        case "nothing":
            raise UserError(f"{path} is not there", hint="`pellucid runs` lists what has been trained")
        case "folder" | "other":
            raise UserError(f"{path} is no file", hint=f"a model is {MODELS}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as cause:
        raise of_system(cause, str(path), doing="read") from cause
    if ONNX.match(head):
        return "onnx"
    return "openvino" if re.match(rb"\s*(<\?xml[^>]*>\s*)?<net\s", head) else "safetensors"


def card_text(path: Path, container: Container) -> str | None:
    """The card in the file as it was written, JSON; None where there is none.

    Raises SafetensorError, OSError or ValueError for a file that is damaged.
    """
    if container == "safetensors":
        with textual(path) as place, safe_open(place, framework="numpy") as file:
            return (file.metadata() or {}).get(CARD)
    if container == "onnx":
        with path.open("rb") as opened:
            return _metadata(opened).get(CARD)
    return _of_openvino(path)


def files_of(path: Path) -> list[Path]:
    """All files of which a model of this name consists: OpenVINO keeps weights in a second one."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def _of_openvino(path: Path) -> str | None:
    """OpenVINO keeps what is said of a model as <rt_info><pellucid_card value="..."/></rt_info>."""
    try:
        for _, element in xml.iterparse(path):
            if element.tag == CARD:
                return element.get("value")
    except xml.ParseError as cause:
        raise ValueError(str(cause)) from cause
    return None


def _metadata(file: BinaryIO) -> Mapping[str, str]:
    """The metadata of an ONNX file, for which only its outermost fields are looked at: no weights are read."""
    size = file.seek(0, 2)
    file.seek(0)
    found = {}
    while file.tell() < size:
        number, way = divmod(_varint(file), 8)
        if way == LENGTH:
            length = _varint(file)
            if file.tell() + length > size:
                raise ValueError("the file was cut short")
            if number == METADATA and length <= LONGEST:
                entry = dict(_fields(file.read(length)))
                found[entry.get(KEY, b"").decode()] = entry.get(VALUE, b"").decode()
            else:
                file.seek(length, 1)
        elif way == VARINT:
            _varint(file)
        elif way in (FIXED64, FIXED32):
            file.seek(8 if way == FIXED64 else 4, 1)
        else:
            raise ValueError(f"no field of an ONNX file begins with {way}")
    return found


def _fields(entry: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that has only texts."""
    file = BytesIO(entry)
    while file.tell() < len(entry):
        number, way = divmod(_varint(file), 8)
        if way != LENGTH:
            raise ValueError("the metadata is damaged")
        yield number, file.read(_varint(file))


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while shift < 64:
        byte = file.read(1)
        if not byte:
            raise ValueError("the file was cut short")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    raise ValueError("the file is damaged")
