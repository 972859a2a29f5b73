"""A program that runs command lines and says which lines on stdout and stderr were not pellucid's own.

    python -m tests.strangers LIST.json   # [["train", "photos"], ["evaluate", "RUN"], ...], in the current folder

A line is ours where pellucid, or what it draws tables and bars with, wrote it through sys.stdout or sys.stderr.
Anything else that reaches the two files is a stranger's: a library's print, a warning, a log, what C writes, what a
process says that was started. Prints an object a command, see `watch`.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

OURS = ("pellucid",)
TOOLS = ("rich", "tests", "cyclopts", "contextlib", "runpy", "__main__", "json", "threading", "io", "codecs")
HEAVY = (
    *("torch", "torch._dynamo", "torch._inductor", "sympy", "torchvision", "timm", "lightning_fabric", "onnx"),
    *("scipy", "sklearn", "pandas", "matplotlib", "skimage", "h5py", "tensorflow", "keras", "huggingface_hub"),
    *("jinja2", "numpy", "pydantic"),
)


class Watched:
    """A stream that remembers what was written, and by whom."""

    def __init__(self, stream: Any, said: list[tuple[str, str]]) -> None:
        self.stream, self.said = stream, said

    def write(self, text: str) -> int:
        self.said.append((text, writer(sys._getframe(1))))
        return int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def writer(frame: FrameType | None) -> str:
    """The innermost package that is no mere tool of whoever calls it."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in TOOLS:
            return package
        frame = frame.f_back
    return "nobody"


@contextmanager
def kept(number: int) -> Iterator[Callable[[], str]]:
    """What reaches a file of the system within."""
    before = os.dup(number)
    with tempfile.TemporaryFile() as file:

        def text() -> str:
            file.seek(0)
            return file.read().decode("utf-8", "replace")

        os.dup2(file.fileno(), number)
        try:
            yield text
        finally:
            os.dup2(before, number)
            os.close(before)


def watch(command: list[str]) -> dict[str, Any]:
    """Run one command line: its exit code, its first word, what was not ours, and what it has imported by now."""
    from pellucid.cli.main import main as pellucid

    said: list[tuple[str, str]] = []
    streams, code = (sys.stdout, sys.stderr), None
    with kept(1) as out, kept(2) as error:
        sys.stdout, sys.stderr = Watched(streams[0], said), Watched(streams[1], said)
        try:
            pellucid(command)
        except SystemExit as end:
            code = end.code
        finally:
            for stream in streams:
                stream.flush()
            sys.stdout, sys.stderr = streams
        raw = out() + error()
    known = {line.strip() for line in "".join(text for text, _ in said).split("\n")}
    strange = [f"{by} wrote {text.strip()!r}" for text, by in said if by not in OURS and text.strip()]
    strange += [f"past Python came {line.strip()!r}" for line in raw.split("\n") if line.strip() not in known]
    first = next((text.strip() for text, _ in said if text.strip()), "")
    modules = sorted(name for name in HEAVY if name in sys.modules)
    return {"verb": command[0], "code": code, "first": first, "strange": strange, "modules": modules}


if __name__ == "__main__":
    for command in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        run = next(iter(sorted(Path("runs").glob("*"))), "")
        print(json.dumps(watch([str(run) if word == "RUN" else word for word in command])), flush=True)
