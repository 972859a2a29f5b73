"""Paths on standard input, one a line, as they come: who sends them may wait for an answer before sending more."""

import codecs
import os
import sys
from collections.abc import Iterator
from select import select
from typing import TextIO

from pellucid.errors import UserError, of_system
from pellucid.uses.ahead import PAUSE, Pause

PATIENCE = 0.02  # seconds in which the next line must come, or those that came are answered
LONGEST = 1 << 20  # bytes of a line: what is longer is no path


def paths(stream: TextIO | None) -> Iterator[str | Pause]:
    """The lines of `stream` (standard input, None where it is closed), and a PAUSE wherever no more comes just now.

    Bytes that are no text are kept as os.fsdecode does it. Raises UserError where it holds no text at all.
    """
    if stream is None:
        raise UserError(
            "standard input is closed, so no paths can be read from it", hint="name the images instead of -"
        )
    for line in _lines(stream):
        if line is PAUSE:
            yield PAUSE
        elif line.strip():
            yield os.fsdecode(line.rstrip(b"\r\n"))


def _lines(stream: TextIO) -> Iterator[bytes | Pause]:
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # it is none of the system's
        for line in stream:
            yield os.fsencode(line)
            yield PAUSE
        return
    first, left = True, b""
    while True:
        if sys.platform == "win32" or not select([number], [], [], PATIENCE)[0]:
            yield PAUSE
        try:
            got = os.read(number, 1 << 16)
        except OSError as cause:
            raise of_system(cause, "standard input", doing="read") from cause
        if first:
            got, first = got.removeprefix(codecs.BOM_UTF8), False
        if b"\0" in got or len(left) > LONGEST:
            raise UserError(
                "standard input holds an image or other data, where paths are wanted, one a line",
                hint="save the image to a file and name that: pellucid predict MODEL FILE",
            )
        *lines, left = (left + got).split(b"\n")
        yield from lines
        if not got:
            yield left
            return
