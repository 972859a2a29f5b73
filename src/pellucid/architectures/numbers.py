"""The numbers that the verbs about networks are asked for, each with what makes sense of it."""

from operator import index

from pellucid.errors import UserError

# The least and the most of each. The most is where a mistyped number begins, not what a machine can do.
LIMITS = {
    "size": (1, 65_536),  # pixels per side
    "batch": (1, 10**9),
    "classes": (1, 10**7),
    "steps": (1, 10**9),
    "burn_in": (0, 10**9),
    "repeats": (1, 10**6),
    "threads": (1, 1024),
    "seed": (0, 2**63 - 1),
}


def check_numbers(**given: int | None) -> None:
    """Refuse, by its name, a number that makes no sense; None was not asked for."""
    for name, value in given.items():
        if value is None:
            continue
        least, most = LIMITS[name]
        said = name.replace("_", "-")
        try:
            whole = index(value)
        except TypeError as cause:
            raise UserError(f"{said} is a whole number, not {value!r}") from cause
        if isinstance(value, bool) or whole < least:
            raise UserError(f"{said} is at least {least}{' pixel' * (name == 'size')}, not {value}")
        if whole > most:
            raise UserError(f"{said} is at most {most:,}, not {value}")
