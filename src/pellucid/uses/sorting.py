"""Copies of images in a folder for each class, by what the model says of them. Nothing that is there is replaced."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path, PurePath

from pellucid.errors import UserError, counted, of_system
from pellucid.images.decode import Unreadable
from pellucid.names import kind_of
from pellucid.records import scratch_name
from pellucid.uses.inputs import check_apart
from pellucid.uses.predict import Elsewhere, Failure, Prediction

UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')  # what some file systems do not have in a name
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # what Windows takes for others
LONGEST = 200  # bytes of a name


class Sorter:
    """Takes what was said of each image, and the image. `folder` is made, and in it one for each class there is."""

    def __init__(self, folder: Path, classes: Sequence[str], sources: Sequence[str]) -> None:
        """Raises UserError for a folder in one of `sources`: the copies would be among its images the next time."""
        kind = kind_of(folder)
        if kind not in ("nothing", "folder"):
            raise UserError(f"{folder} is no folder", hint="name a folder, or a place where there is nothing yet")
        check_apart(folder, sources, "the copies")
        self.folder = folder
        self.folder_of = dict(zip(classes, _folder_names(classes), strict=True))
        for name in self.folder_of.values():
            place = folder / name
            if place.is_symlink() or kind_of(place) not in ("nothing", "folder"):
                raise UserError(
                    f"{place} is {'a link' if place.is_symlink() else 'a file'}, and copies are put into folders alone",
                    hint="name a folder that is new or empty",
                )
        self.copied = self.left = 0
        self._numbers: Counter[Path] = Counter()  # of names that were taken already
        self._made: set[Path] = set()

    def take(self, predicted: Prediction | Failure, source: Path | Elsewhere | Failure) -> None:
        """Copy the image to the folder of its class; one that cannot be read is left where it is."""
        if isinstance(predicted, Failure) or isinstance(source, Failure):
            self.left += 1
            return
        place = self.folder / self.folder_of[predicted.best]
        name = _safe(PurePath(source.name).name if isinstance(source, Elsewhere) else source.name)
        try:
            if place not in self._made:
                place.mkdir(parents=True, exist_ok=True)
                self._made.add(place)
            scratch = place / scratch_name(name)
            try:
                with scratch.open("xb") as file:
                    if isinstance(source, Elsewhere):
                        shutil.copyfileobj(BytesIO(source.read()), file)
                    else:
                        with source.open("rb") as image:
                            shutil.copyfileobj(image, file)
                scratch.replace(self._reserved(place, name))
            finally:
                scratch.unlink(missing_ok=True)
        except Unreadable:  # it was there a moment ago
            self.left += 1
            return
        except OSError as cause:
            raise of_system(cause, str(place / name), doing="written") from cause
        self.copied += 1

    def finish(self) -> list[str]:
        """What is to be told."""
        left = f"; {counted(self.left, 'image')} left where they are, without a class" if self.left else ""
        return [f"{self.folder}: {counted(self.copied, 'copy', 'copies')}{left}"]

    def _reserved(self, place: Path, name: str) -> Path:
        """A name that nobody has, taken: `a.jpg`, and where that is there `a-2.jpg`."""
        path = PurePath(name)
        while True:
            number = self._numbers[place / name.casefold()]
            target = place / (f"{path.stem}-{number + 1}{path.suffix}" if number else name)
            self._numbers[place / name.casefold()] += 1
            with suppress(FileExistsError):
                target.touch(exist_ok=False)
                return target


def _folder_names(classes: Sequence[str]) -> list[str]:
    """What the folders of classes are called: as they are, where that can be a name, and all of them different."""
    taken: set[str] = set()
    names = []
    for name in classes:
        safe = _safe(name)
        chosen = next(
            each
            for number in range(1, len(classes) + 2)
            if (each := safe if number == 1 else f"{safe}-{number}").casefold() not in taken
        )
        taken.add(chosen.casefold())
        names.append(chosen)
    return names


def _safe(name: str) -> str:
    """`name` as every file system can have it, visible and no way out of its folder."""
    safe = UNSAFE.sub("_", name).rstrip(" .")
    while len(safe.encode("utf-8", "surrogateescape")) > LONGEST:
        path = PurePath(safe)
        safe = path.stem[:-1] + path.suffix if len(path.stem) > 1 else safe[:-1]
    if not safe or safe.startswith(".") or DEVICES.fullmatch(safe):
        safe = f"_{safe}"
    return safe
