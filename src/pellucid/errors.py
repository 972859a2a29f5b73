"""What a person is told when something cannot be done, and the exit codes of the command line."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

DONE = 0
OUR_FAULT = 1
USER_FAULT = 2
REQUIREMENT_NOT_MET = 3


class UserError(Exception):
    """Something the user can put right: what is wrong, where, and what to do next.

    `problem` is one line in the user's words; `details` are lines listed under it; `hint` is the next step.
    """

    def __init__(self, problem: str, details: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.details = tuple(details)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.problem, *(f"  {detail}" for detail in self.details)]
        return "\n".join([*lines, f"hint: {self.hint}"] if self.hint else lines)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...], str]]:
        # Errors cross from worker processes by pickle, which would otherwise forget details and hint.
        return type(self), (self.problem, self.details, self.hint)


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
