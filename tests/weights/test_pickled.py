"""A pickle of arrays is read; whatever else one asks for is refused by its name, and nothing of it is run."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid.weights.pickled import FOUND, NotPlain, arrays_of

HERE = Path(__file__).parents[1] / "references"


class Called:
    """Unpickled as people do, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "some.pdparams"
    path.write_bytes(content)
    return path


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_kind_of_number_are_read(protocol: int, tmp_path: Path) -> None:
    arrays = {
        code: np.arange(6).reshape(2, 3).astype(code) for code in ("f4", ">f4", "f2", "f8", "i8", "u1", "?", "c8")
    } | {
        "by column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "nothing": np.zeros((0, 3)),
        "one": np.array(7.0),
    }
    read = arrays_of(written(tmp_path, pickle.dumps({"deeper": [arrays]}, protocol=protocol)))["deeper"][0]
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype.newbyteorder("=") and np.array_equal(read[name], array), name


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_what_would_be_called_is_refused_by_its_name(protocol: int, tmp_path: Path) -> None:
    path = written(tmp_path, pickle.dumps({"weight": Called(tmp_path / "owned")}, protocol=protocol))
    with pytest.raises(NotPlain, match=r"open"):
        arrays_of(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "name", ["os system", "builtins eval", "builtins getattr", "numpy load", "numpy.core.multiarray fromfile"]
)
def test_no_other_name_is_found(name: str, tmp_path: Path) -> None:
    module, function = name.split()
    with pytest.raises(NotPlain, match=function):
        arrays_of(written(tmp_path, named(module, function) + b"(S'x'\ntR."))


@pytest.mark.parametrize("name", sorted(FOUND))
@pytest.mark.parametrize("state", [b"}S'_made'\nS'x'\ns", b"N}S'_made'\nS'x'\ns\x86", b"K\x01"])
def test_a_pickle_changes_no_stand_in(name: str, state: bytes, tmp_path: Path) -> None:
    module, _, function = name.rpartition(".")
    before = FOUND[name]._made
    with pytest.raises(NotPlain, match="a change of"):
        arrays_of(written(tmp_path, b"\x80\x02" + named(module, function) + state + b"b."))
    assert FOUND[name]._made is before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x02}",  # ends early
        b"\x80\x02" + named("collections", "OrderedDict") + b")\x81.",  # an instance of what is no class
        b"\x80\x02N" + b"r" + struct.pack("<I", 2**32 - 1) + b".",  # memory for four billion things
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",  # a text of a terabyte
        b"\x80\x02\x82\x01.",  # a registered extension
        b"\x80\x02" + named("numpy", "dtype") + b"\x8c\x02f4\x85R(K\x01tb.",  # a state that is cut
    ],
)
def test_a_damaged_pickle_is_told(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="damaged"):
        arrays_of(written(tmp_path, content))


@pytest.mark.parametrize("code", ["O", "V8", "U3", "M8[s]"])
def test_an_array_of_what_is_no_number_is_refused(code: str, tmp_path: Path) -> None:
    array = np.zeros(2, dtype=code)
    with pytest.raises(NotPlain, match="an array of"):
        arrays_of(written(tmp_path, pickle.dumps({"weight": array}, protocol=4)))


def test_a_reference_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotPlain, match="a reference to"):
        arrays_of(written(tmp_path, b"\x80\x02Pelsewhere\n."))


@pytest.mark.parametrize("version", [2, 4])
def test_what_paddle_saves_is_read(version: int) -> None:
    content = arrays_of(HERE / f"small_{version}.pdparams")
    assert any(isinstance(value, np.ndarray) for value in content.values())
