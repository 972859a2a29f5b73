"""What lies in a folder: its images, told by suffix or content, and what is left out of it and why.

Every real folder is read once. A link that leads back up, or to a folder that is read anyway, would make every cat a
dog too.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath

from pellucid.errors import UserError, counted, named, nearest
from pellucid.images.decode import told_by_content

# What Pillow reads and people keep photographs in.
PHOTOS = """
    .jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .tif .tiff .webp .avif .jp2 .j2k .ppm .pgm .pbm .pnm .tga .mpo .ico
"""
# Pictures of another kind, which are not read: what they are, and their suffixes.
OTHERS = {
    "HEIF": ".heic .heif .hif",
    "JPEG XL": ".jxl",
    "camera raw": """
        .dng .nef .nrw .cr2 .cr3 .crw .arw .sr2 .srf .orf .rw2 .raf .pef .srw .3fr .iiq .erf .mef .mos .kdc .dcr .rwl
        .x3f .raw
    """,
    "DICOM": ".dcm .dicom",
    "a medical volume": ".nii .mha .mhd .nrrd",
    "a microscope's file": ".svs .ndpi .scn .bif .vms .mrxs .czi .lif .lsm",
    "a video": ".mp4 .mov .avi .mkv .webm .m4v .wmv .mpg .mpeg .mts",
    "a drawing or document": ".psd .xcf .ai .eps .svg .pdf",
    "an archive": ".zip .tar .gz .tgz .7z .rar .bz2 .xz",
}
# Not opened to look what they are: there may be millions beside the images, and each has said it.
TEXTS = """
    .txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .md .rst .html .htm .log .ini .cfg .py .ipynb .m .mat .npy .npz
    .pkl .pickle .pt .pth .h5 .hdf5 .parquet .xlsx .xls .doc .docx .db .lock .url .sh .bat .exe .wav .mp3
"""
# Made by systems, not by people. Hidden files and folders are passed over as well.
SYSTEMS = """
    __macosx @eadir @tmp @recycle @recently-snapshot @sharebin #recycle #snapshot $recycle.bin recycler recycled
    lost+found __pycache__ thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini
"""
SUFFIXES, NO_IMAGES = frozenset(PHOTOS.split()), frozenset(TEXTS.split())
KIND_OF = {suffix: kind for kind, suffixes in OTHERS.items() for suffix in suffixes.split()}
OFTEN_MISNAMED = ("HEIF", "JPEG XL")  # may be a JPEG all the same; raw files are TIFFs, with a small picture in front
CLUTTER = frozenset(
    {*SYSTEMS.split(), "icon\r", "system volume information", "network trash folder", "temporary items"}
)
A_RUN, OF_A_RUN = "config.toml", frozenset({"provenance.json", "split.json", "events.jsonl"})
MOST_REASONS = 8


@dataclass
class Folder:
    """A folder of a tree: the images that lie directly in it, its visible folders, and what else is there and why."""

    path: Path
    images: list[Path] = field(default_factory=list)
    folders: list["Folder"] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    is_run: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    def beneath(self) -> Iterator["Folder"]:
        """This folder and all in it, each after those that hold it."""
        waiting = deque([self])
        while waiting:
            here = waiting.popleft()
            yield here
            waiting.extend(here.folders)

    @cached_property
    def total(self) -> int:
        """How many images lie in it, at any depth."""
        return sum(len(folder.images) for folder in self.beneath())

    @cached_property
    def inner(self) -> list["Folder"]:
        """Its own folders that hold images, at any depth."""
        return [folder for folder in self.folders if folder.total]

    def all_images(self) -> list[Path]:
        """Every image in it, in string order."""
        return sorted((path for each in self.beneath() for path in each.images), key=lambda path: path.as_posix())

    def all_left_out(self) -> list[tuple[Path, str]]:
        return [one for each in self.beneath() for one in each.left_out]


def find_images(folder: Path) -> list[Path]:
    """Every image beneath `folder` in string order; hidden files and folders are left out."""
    return look_through(folder).all_images()


def images_beneath(root: Path, left_out: list[tuple[Path, str]]) -> Iterator[Path]:
    """What `find_images` gives, in the same order, as each folder is read: the first come before the last are looked
    for. `left_out` takes what is passed over, and why. Raises UserError in the place of what may not be read.
    """
    search = _Search(root, os.path.realpath(root), {_identity(root): root}, set())
    yield from _images_in(Folder(root), search, left_out)


def _images_in(here: Folder, search: "_Search", left_out: list[tuple[Path, str]]) -> Iterator[Path]:
    _scan(here, search)
    if here.is_run:
        left_out.append((here.path, "runs of pellucid"))
        return
    left_out += here.left_out
    # As strings, "a b.png" comes before "a/c.png".
    there = [(f"{folder.name}/", folder) for folder in here.folders] + [(path.name, path) for path in here.images]
    there.sort(key=lambda pair: pair[0], reverse=True)
    here.images, here.folders = [], []  # there may be millions, and none is wanted twice
    while there:
        _, each = there.pop()
        if isinstance(each, Folder):
            yield from _images_in(each, search, left_out)
        else:
            yield each


def look_through(root: Path, leave_out: Collection[str] = ()) -> Folder:
    """The tree of `root`. Runs of ours that lie in it are left out, and folders of `leave_out`: each is a name, at any
    level, or a path below `root`. Raises UserError for what may not be read, and for a folder that is not there.
    """
    top = Folder(root)
    search = _Search(root, os.path.realpath(root), {_identity(root): root}, {_plain(name) for name in leave_out})
    waiting = deque([top])
    while waiting:
        here = waiting.popleft()
        _scan(here, search)
        if here.is_run:
            here.images, here.folders, here.left_out = [], [], []
        waiting.extend(here.folders)
    _check_met(search, top)
    _without_runs(top)
    return top


def unwanted(below: Sequence[str], leave_out: Collection[str]) -> str:
    """The folder of `leave_out` in which a path lies, of which these are the names; empty where it lies in none."""
    names = {_plain(each) for each in leave_out}
    for depth, name in enumerate(below, start=1):
        if found := names & {name, "/".join(below[:depth])}:
            return min(found)
    return ""


def _plain(name: str) -> str:
    """`./seg_pred/` as seg_pred."""
    return PurePath(name).as_posix()


@dataclass
class _Search:
    """What is kept in mind while a tree is looked through."""

    root: Path
    real: str  # the root, without links
    seen: dict[tuple[int, int], Path]
    leave_out: set[str]
    met: set[str] = field(default_factory=set)  # those of them that are there

    def below(self, path: Path) -> tuple[str, ...]:
        return path.parts[len(self.root.parts) :]


def _check_met(search: _Search, top: Folder) -> None:
    """Every folder that was to be left out is there, or lies in one that is not read anyway."""
    for name in sorted(search.leave_out - search.met):
        inside = name != "." and ".." not in PurePath(name).parts
        if not (inside and (search.root / name).is_dir()):
            there = [PurePath(*search.below(each.path)).as_posix() for each in top.beneath() if each is not top]
            right = nearest(name, [*there, *(PurePath(each).name for each in there)])
            raise UserError(
                f"--leave-out {name!r}: {search.root} has no such folder",
                [f"it has {named(there)}"],
                hint=f"did you mean {right}?" if right else "a folder's name, or its path below the data",
            )


def _left_in(folder: Path, name: str) -> list[tuple[Path, str]]:
    """What is told of a folder that was to be left out: its images, where it may be read."""
    try:
        images = look_through(folder).all_images()
    except UserError:
        images = []
    return [(path, f"in {name}, as asked") for path in images] or [(folder, "a folder without images, as asked")]


def _scan(here: Folder, search: _Search) -> None:
    """Fill one folder; its own folders are added, and not looked into yet."""
    try:
        with os.scandir(here.path) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda each: each.name)
    except OSError as cause:
        raise UserError(f"{here.path} cannot be read: {cause.strerror}", hint="see who may read it: ls -ld") from cause
    names = {entry.name for entry in entries}
    here.is_run = A_RUN in names and bool(OF_A_RUN & names)
    for entry in entries:
        path = here.path / entry.name
        if entry.name.lower() in CLUTTER:
            here.left_out.append((path, "made by the system"))
        elif _is_folder(entry):
            below = search.below(path)
            not_wanted = unwanted(below, search.leave_out)
            search.met |= {not_wanted} - {""}
            if why := _again(entry, search):
                here.left_out.append((path, why))
            elif not_wanted:
                here.left_out += _left_in(path, PurePath(*below).as_posix())
            else:
                search.seen[_identity(path)] = path
                here.folders.append(Folder(path))
        elif why := no_image(path):
            here.left_out.append((path, why))
        else:
            here.images.append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _again(entry: os.DirEntry[str], search: _Search) -> str:
    """Why a folder is not read here: it holds what is being read, or is read elsewhere."""
    identity = _identity(Path(entry.path))
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if _within(search.real, target):
            return "a link that leads back up"
        below = Path(os.path.relpath(target, search.real)).parts
        passed_over = unwanted(below, search.leave_out) or any(
            name.startswith(".") or name.lower() in CLUTTER for name in below
        )
        if _within(target, search.real) and not passed_over:
            return f"a link to {Path(*below).as_posix()}, which is read where it lies"
    return f"the same folder as {search.seen[identity]}" if identity in search.seen else ""


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as cause:
        raise UserError(f"{path} cannot be read: {cause.strerror}") from cause
    return status.st_dev, status.st_ino


def no_image(path: Path) -> str:
    """Why a file is not taken for an image; empty where it is one, by its suffix or else by how it begins."""
    return why_no_image(path, lambda: _begins(path))


def why_no_image(path: PurePath, begins: Callable[[], bool]) -> str:
    """The same of what lies elsewhere: `begins` tells whether it begins as an image does, where its suffix does not."""
    suffix = suffix_of(path)
    if suffix in SUFFIXES:
        return ""
    kind = KIND_OF.get(suffix)
    if suffix not in NO_IMAGES and (kind is None or kind in OFTEN_MISNAMED) and begins():
        return ""
    if kind:
        return f"{suffix} ({kind}) is not read"
    if suffix in NO_IMAGES:
        return f"{suffix} is no image"
    return f"{suffix} is not known as an image" if suffix else "no suffix, and no image by its content"


def suffix_of(path: PurePath) -> str:
    """In small letters; a space or a dot behind it is nobody's intention."""
    return PurePath(path.name.rstrip(" .")).suffix.lower()


def _begins(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would never answer
            return False
        with path.open("rb") as file:
            return told_by_content(file.read(32))
    except (OSError, ValueError):
        return False


def _without_runs(top: Folder) -> None:
    """Leave out runs of ours, and folders that hold nothing but them."""
    for here in reversed(list(top.beneath())):  # inner ones first
        runs = [folder for folder in here.folders if folder.is_run]
        if runs:
            here.folders = [folder for folder in here.folders if not folder.is_run]
            here.left_out += [(folder.path, "runs of pellucid") for folder in runs]
            here.is_run = here is not top and not here.folders and not here.images


def left_out_words(left_out: Iterable[tuple[Path, str]]) -> str:
    """How many of what are left out, in one line; empty where nothing is."""
    reasons = Counter(reason for _, reason in left_out)
    listed = [f"{number:,} x {reason}" for reason, number in reasons.most_common(MOST_REASONS)]
    if more := len(reasons) - len(listed):
        listed.append(f"and {counted(more, 'more reason')}")
    return f"left out: {'; '.join(listed)}" if listed else ""


def how_to_convert(left_out: Iterable[tuple[Path, str]]) -> str:
    """What to do about pictures that are not read; empty where there are none."""
    kinds = {KIND_OF.get(suffix_of(path)) for path, _ in left_out}
    if "an archive" in kinds:
        return "unpack the archives"
    if "a video" in kinds:
        return "take single images out of the videos"
    return "save them as JPEG or PNG" if kinds - {None} else ""
