"""Where a split is written: a manifest that replaces nothing but a manifest, or a folder of its files."""

import shutil
from pathlib import Path
from typing import Literal

from pellucid.errors import UserError, counted, listed, of_system
from pellucid.images.amounts import PARTS
from pellucid.images.folders import CLUTTER
from pellucid.images.manifest import Split, read_manifest
from pellucid.images.samples import Samples
from pellucid.images.scratch import followed, new_folder
from pellucid.names import kind_of

How = Literal["manifest", "copy", "link"]
LONGEST = 255  # bytes of a name, in most file systems
FOLDERS = ("class-folders", "split-folders", "file-names")  # kinds of data in which a new folder would be read too


def check_place(out: Path, how: How, samples: Samples) -> None:
    """Raises UserError where writing to `out` would replace something, or add to the data."""
    if how == "manifest":
        _check_manifest(out)
        return
    _check_empty(out)
    try:
        root, place = followed(samples.root), followed(out)
    except OSError as cause:
        raise of_system(cause, str(out), doing="written") from cause
    if samples.kind in FOLDERS and place.is_relative_to(root):
        raise UserError(
            f"{out} lies in {samples.root}, and would be read as images of it from then on",
            hint=f"name a folder beside it: {root.with_name(f'{root.name}-split')}",
        )


def _check_manifest(out: Path) -> None:
    kind = kind_of(out)
    if kind == "folder":
        raise UserError(f"{out} is a folder", hint=f"name a file: {out / 'split.json'}; or --how copy writes a folder")
    if out.suffix.lower() != ".json":
        raise UserError(f"{out} is no name of a manifest", hint=f"{out}.json; or --how copy writes a folder")
    if kind == "nothing":
        return
    if (out.parent / "config.toml").is_file() and out.name == "split.json":
        raise UserError(f"{out} is what its run was trained with", hint="name another file")
    try:
        read_manifest(out)
    except UserError as cause:
        raise UserError(f"{out} is there, and is no manifest that may be replaced", hint="name another file") from cause


def _check_empty(out: Path) -> None:
    kind = kind_of(out)
    if kind != "nothing" and (kind != "folder" or any(out.iterdir())):
        raise UserError(f"{out} is not empty", hint="name a new folder")


def place(parts: Split, out: Path, how: Literal["copy", "link"]) -> None:
    """Lay the files out as OUT/train/CLASS/NAME and so on. `out` must not hold anything; it appears whole or not.

    Raises UserError for classes that can be no folder's name: what a table calls "../x" must not lead elsewhere.
    """
    _check_empty(out)
    if strange := [name for name in parts.classes if not _can_be_folder(name)]:
        raise UserError(
            f"{out} cannot have a folder for each class",
            listed([f"{name!r} can be no folder's name" for name in strange]),
            hint="--map gives classes other names, and --how manifest needs no folders",
        )
    try:
        with new_folder(out, holds=PARTS) as scratch:
            _fill(scratch, parts, how)
    except OSError as cause:
        lost = [parts.below(file) for file in parts.files if not file.path.is_file()]
        if lost:
            raise UserError(f"{counted(len(lost), 'file')} not to be found", listed(lost)) from cause
        raise of_system(cause, str(out), doing="written") from cause


def _fill(folder: Path, parts: Split, how: Literal["copy", "link"]) -> None:
    taken: set[str] = set()
    for file in parts.files:
        target = folder / _unused(f"{file.part}/{file.label}/{file.path.name}", taken, file.content)
        target.parent.mkdir(parents=True, exist_ok=True)
        if how == "copy":
            shutil.copyfile(file.path, target)
        else:
            target.symlink_to(file.path.resolve(strict=True))


def _can_be_folder(name: str) -> bool:
    """Whether a folder of this name lies where it is made, and is read again, as hidden ones are not."""
    parted = any(sign in name for sign in "/\\\0")
    passed_over = name.startswith(".") or name.lower() in CLUTTER
    return bool(name) and not parted and not passed_over and len(name.encode("utf-8", "replace")) <= LONGEST


def _unused(name: str, taken: set[str], sha256: str) -> str:
    """Files of one name from two folders both keep it, the later with its content's hash; `a.png` and `A.png` are one,
    as some file systems have it.
    """
    if name.casefold() in taken:
        path = Path(name)
        name = path.with_name(f"{path.stem}-{sha256[:12]}-{len(taken)}{path.suffix}").as_posix()
    taken.add(name.casefold())
    return name
