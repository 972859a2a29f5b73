"""What a person is told when something cannot be done, and the exit codes of the command line.

Ctrl-C ends a command with USER_FAULT, wherever it strikes.
"""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pellucid.spelling import spelled

DONE = 0
OUR_FAULT = 1
USER_FAULT = 2
REQUIREMENT_NOT_MET = 3


class UserError(Exception):
    """Something the user can put right: what is wrong, where, and what to do next.

    `problem` is one line in the user's words; `details` are lines listed under it; `hint` is the next step. They name
    settings as flags; str() names them as whoever reads it gives them: `spelling`.
    """

    def __init__(self, problem: str, details: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.details = tuple(details)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.problem, *(f"  {detail}" for detail in self.details)]
        return spelled("\n".join([*lines, f"hint: {self.hint}"] if self.hint else lines))

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...], str]]:
        # Errors cross from worker processes by pickle, which would otherwise forget details and hint.
        return type(self), (self.problem, self.details, self.hint)


ELSEWHERE = "name a place elsewhere"
SYSTEM = {  # what the system says: in our words, and what to do
    errno.ENOSPC: ("no space is left on its disk", "free some space there, or name a place on another disk"),
    errno.EDQUOT: ("your share of its disk is used up", "free some space there, or name a place on another disk"),
    errno.EFBIG: ("the file would be larger than is allowed there", ELSEWHERE),
    errno.EROFS: ("its disk can only be read", "name a place that can be written to, or copy it to one"),
    errno.EACCES: ("permission is denied", "give yourself permission (chmod), or name a place elsewhere"),
    errno.EPERM: ("permission is denied", "give yourself permission (chmod), or name a place elsewhere"),
    errno.ENAMETOOLONG: ("the name is too long", "give it a shorter name"),
    errno.ENOENT: ("it is not there", "look for a misspelt name"),
    errno.ENOTDIR: ("a part of its path is no folder", "look for a misspelt name"),
    errno.EISDIR: ("it is a folder, where a file is wanted", "name a file"),
    errno.EEXIST: ("it is there already", ELSEWHERE),
    errno.ENOTEMPTY: ("it is a folder that is not empty", ELSEWHERE),
    errno.ELOOP: ("its links lead in a circle", "remove one of the links"),
    errno.EIO: ("its disk reports an error", "look after the disk, then try again"),
    errno.ESTALE: ("it has gone from the server that held it", "try again"),
    errno.EBUSY: ("something else is using it", "try again when it is free"),
    errno.ETXTBSY: ("something else is using it", "try again when it is free"),
    errno.EMFILE: ("too many files are open", "raise the limit: ulimit -n 4096"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs, then try again"),
    errno.ENOMEM: ("no memory is left", "close other programs, or choose a smaller --batch"),
    errno.EAGAIN: ("the system lacks what it takes just now", "close other programs, then try again"),
}


def of_system(cause: OSError, what: str = "", *, doing: str = "used", hint: str = "") -> UserError:
    """What the system refused, as the user's error; `what` could not be `doing` (read, written, ...).

    Without `what`, the file that the system named. `hint` where there is a better one than the general.
    """
    named = " -> ".join(
        os.fsdecode(name) for name in (cause.filename, cause.filename2) if isinstance(name, str | bytes)
    )
    said, advice = SYSTEM.get(cause.errno or 0, (cause.strerror or str(cause) or type(cause).__name__, ""))
    return UserError(f"{what or named or 'a file'} cannot be {doing}: {said}", hint=hint or advice)


def of_missing(cause: ModuleNotFoundError) -> UserError | None:
    """What was to be imported and is not installed, as the user's error; None for what no extra of ours has."""
    from importlib.metadata import requires  # which most never need

    package = (cause.name or "").partition(".")[0]
    for requirement in requires("pellucid") or ():
        found = re.match(r"([\w-]+).*\bextra == ['\"](\w+)['\"]", requirement)
        if found and found[1].replace("-", "_").lower() == package.lower():
            return UserError(
                f"{package} is not installed, and this needs it", hint=f"pip install 'pellucid[{found[2]}]'"
            )
    return None


def first_line(cause: BaseException) -> str:
    """What an error of another library says, in its first line; its kind where it says nothing."""
    return next((line.strip() for line in str(cause).split("\n") if line.strip()), type(cause).__name__)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to `word`, or None where nothing is close."""
    lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), lower, n=1, cutoff=0.5)
    return lower[close[0]] if close else None


def counted(number: int, thing: str, things: str = "", *, verb: tuple[str, str] = ("", "")) -> str:
    """`1 image`, `1,200 images`; with a `verb` as ("is", "are"), that in its number too: `3 images are`."""
    one = number == 1
    said = f"{number:,} {thing if one else things or thing + 's'}"
    return f"{said} {verb[not one]}".rstrip()


def listed(names: Sequence[str], most: int = 10) -> list[str]:
    """`names` as details of an error, cut after `most` with a count of the rest."""
    shown = list(names[:most])
    return [*shown, f"... and {len(names) - most} more"] if len(names) > most else shown


def named(names: Sequence[str], most: int = 8) -> str:
    """`a`, `a and b`, `a, b and c` in a sentence; of more than `most` the first, and how many more there are."""
    shown = [*names[:most], f"{len(names) - most:,} more"] if len(names) > most else list(names)
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))) if shown else "nothing"
