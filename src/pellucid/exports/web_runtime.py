"""What computes a model in a browser: two files of onnxruntime-web, of one version, known by their hashes.

Taken from a folder that npm has filled, from the cache, or fetched by npm itself: what is not those very files is
refused, whoever brings it.
"""

import hashlib
import shutil
import subprocess
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from pellucid.errors import UserError, first_line
from pellucid.images.store import cache_folder, claim
from pellucid.names import kind_of, path_of
from pellucid.records import write

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SCRIPT, PROGRAM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    PROGRAM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
INSTALL = f"`npm install {PACKAGE}@{VERSION}` in this folder puts it where it is found: then try again"
SHELF = "web"  # of the cache
PATIENCE = 600  # seconds for npm


@dataclass(frozen=True)
class WebRuntime:
    """`script`: a module of JavaScript. `program`: WebAssembly, of one thread, for processors with SIMD."""

    script: str
    program: bytes


def web_runtime(folder: str | PathLike[str] | None = None, *, fetch: bool = True) -> WebRuntime:
    """The runtime in `folder`: a package, the node_modules it lies in, or what holds those.

    Without one: from ./node_modules, from the cache, or, with `fetch`, by npm, into the cache. Raises UserError where
    none of them has this very version.
    """
    if folder is not None:
        given = path_of(folder)
        if (found := _in(given)) is None:
            raise UserError(
                f"{given} holds no {PACKAGE}", [f"looked for {SCRIPT} in it, in dist, in node_modules"], hint=INSTALL
            )
        return _read(found)
    refused = []
    for place in (Path(), cache_folder(None) / SHELF / VERSION):
        if (found := _in(place)) is not None:
            try:
                return _read(found)
            except UserError as cause:
                refused.append(cause.problem)
    if not fetch or (npm := shutil.which("npm")) is None:
        raise UserError(f"a page needs {PACKAGE} {VERSION}, which is not here", refused, hint=INSTALL)
    return _fetched(npm)


def _in(folder: Path) -> Path | None:
    """Where in `folder` the files lie."""
    package = Path(PACKAGE, "dist")
    places = (folder, folder / "dist", folder / package, folder / "node_modules" / package)
    return next((place for place in places if kind_of(place / SCRIPT) == "file"), None)


def _read(folder: Path) -> WebRuntime:
    """Both files, if they are those that are known."""
    content = {}
    for name, known in SHA256.items():
        try:
            content[name] = (folder / name).read_bytes()
        except OSError as cause:
            raise UserError(f"{folder / name} cannot be read", [first_line(cause)], hint=INSTALL) from cause
        if hashlib.sha256(content[name]).hexdigest() != known:
            raise UserError(
                f"{folder / name} is not the file of {PACKAGE} {VERSION}: its hash is another one",
                ["a page holds the runtime that this version of pellucid was tried with, and no other"],
                hint=INSTALL,
            )
    return WebRuntime(content[SCRIPT].decode(), content[PROGRAM])


def _fetched(npm: str) -> WebRuntime:
    """By npm, from wherever it gets its packages; cached where that can be."""
    with TemporaryDirectory() as scratch:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE, cwd=scratch)
            archive = next(Path(scratch).glob("*.tgz"))
            _unpack(archive, Path(scratch))
        except subprocess.CalledProcessError as cause:
            said = (cause.stderr or cause.stdout).strip().splitlines()[:3]
            raise UserError(f"npm could not fetch {PACKAGE} {VERSION}", said, hint=INSTALL) from cause
        except (OSError, StopIteration, subprocess.TimeoutExpired, tarfile.TarError, KeyError) as cause:
            raise UserError(f"npm could not fetch {PACKAGE} {VERSION}", [first_line(cause)], hint=INSTALL) from cause
        made = _read(Path(scratch))
    with suppress(UserError, OSError):  # where nothing can be cached, it is fetched again
        claim(cache_folder(None))
        # What is looked for comes last: an interrupted pair is none.
        write(cache_folder(None) / SHELF / VERSION / PROGRAM, made.program)
        write(cache_folder(None) / SHELF / VERSION / SCRIPT, made.script)
    return made


def _unpack(archive: Path, folder: Path) -> None:
    """The two files, and no name that the archive chooses."""
    with tarfile.open(archive) as opened:
        for name in SHA256:
            member = opened.extractfile(f"package/dist/{name}")
            if member is None:
                raise KeyError(name)
            (folder / name).write_bytes(member.read())
