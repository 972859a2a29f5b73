"""Names of files as people, terminals and records can have them: any name is shown, and its file is found again.

A file's name may hold bytes that are no text, which Python keeps as lone surrogates; and a terminal may lack letters
that a name has. Whatever we write shows both escaped (`\\udce9` for the byte E9, `\\u732b` for a letter), and a name in
which bytes were shown so leads to its file again.
"""

import codecs
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Literal

from pellucid.errors import UserError, of_system

ESCAPES = "pellucid.escapes"  # the name of the way in which letters that an encoding lacks are written
BYTE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
Kind = Literal["file", "folder", "other", "nothing"]


def shown(name: str) -> str:
    """`name` as text that every encoding of Unicode has: a byte that is no text as `\\udcXX`."""
    return name.encode("utf-8", "backslashreplace").decode()


def in_a_line(name: str) -> str:
    """`name` without line ends and other signs that would command a terminal: those as `\\n`, `\\x1b`."""
    return "".join(
        sign if sign.isprintable() or sign == " " else sign.encode("unicode_escape").decode() for sign in shown(name)
    )


def path_of(name: str | os.PathLike[str]) -> Path:
    """The path that `name` means: where no file has this very name, `\\udcXX` in it stands for the byte XX."""
    if BYTE.search(str(name)) and not os.path.lexists(name):
        return Path(BYTE.sub(lambda found: chr(int(found[1], 16)), str(name)))
    return Path(name)


def below(path: Path, root: Path) -> str:
    """What records call `path`: where it lies below `root`, with forward slashes."""
    return shown(Path(os.path.relpath(path, root)).as_posix())


@contextmanager
def textual(path: Path) -> Iterator[str]:
    """A name of the file at `path` that is text, for libraries that take no other."""
    if str(path) == shown(str(path)) or sys.platform == "win32":
        yield str(path)
        return
    number = os.open(path, os.O_RDONLY)
    try:
        yield f"/dev/fd/{number}"
    finally:
        os.close(number)


def kind_of(path: Path | str) -> Kind:
    """What is at `path`; a link is what it leads to. UserError where that cannot be told.

    Path.exists and its kin raise OSError for a name that is too long and for a folder that may not be looked into.
    """
    if "\0" in str(path):
        raise UserError(f"{str(path)!r} cannot be a name: it holds a NUL character", hint="remove that character")
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a string may be given, and "" is no path
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except OSError as cause:
        raise of_system(cause, str(path)) from cause
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def forgive_streams() -> None:
    """Let standard output and error write what their encoding lacks as an escape, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ESCAPES)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """As JSON escapes letters, so that a line of JSON stays one: beyond 16 bits in two halves."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(f"\\u{code:04x}" for code in codes), error.end


codecs.register_error(ESCAPES, _escaped)


def is_own(network: str) -> bool:
    """Whether a network's name is an import path: mynet.py:MyNet, package.module:function."""
    return ":" in network and not network.startswith("timm/")


def to_resume(run: Path, network: object) -> str:
    """The command that goes on with a run: one's own network has to be named again."""
    code = f" --model-code {quote(network)}" if isinstance(network, str) and is_own(network) else ""
    return f"pellucid resume {run}{code}"
