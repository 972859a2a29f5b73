"""Which fonts of this machine have the letters of class names; what none has is written as a code, as terminals do."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from unicodedata import category, east_asian_width

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

FIRST = "DejaVu Sans"  # comes with matplotlib
INVISIBLE = ("Cf", "Cc", "Mn", "Zs")  # letters that a picture can do without


def families_for(texts: Iterable[str]) -> list[str]:
    """The families to write `texts` in: a letter is taken from the first that has it."""
    missing = set("".join(texts)) - _letters(findfont(FontProperties(family=FIRST)))
    families = [FIRST]
    for name, path in _others() if missing else ():
        if found := missing & _letters(path):
            families.append(name)
            missing -= found
        if not missing:
            break
    return families


def writable(text: str) -> str:
    """`text` with the letters that no font here has as codes: `\\u732b`."""
    had = set().union(*(_letters(path) for path in _files(families_for([text]))))
    return "".join(sign if sign in had or sign == "\n" else _code(sign) for sign in text)


def cells(text: str) -> int:
    """How wide `text` is, in letters of ordinary width: Chinese, Japanese and Korean ones are twice as wide."""
    return sum(2 if east_asian_width(sign) in "WF" else 0 if category(sign) in ("Mn", "Cf") else 1 for sign in text)


def _code(sign: str) -> str:
    return "" if category(sign) in INVISIBLE else sign.encode("ascii", "backslashreplace").decode()


def _files(families: list[str]) -> Iterator[str]:
    known = dict(_others())
    yield findfont(FontProperties(family=FIRST))
    yield from (known[name] for name in families[1:])


@cache
def _others() -> tuple[tuple[str, str], ...]:
    """Every upright font of ordinary weight, those of many languages first: by name and file."""
    found = {
        entry.name: entry.fname
        for entry in fontManager.ttflist
        if entry.style == "normal"
        and str(entry.weight) in ("400", "normal", "regular")
        and entry.name != FIRST
        and not entry.name.startswith("Last Resort")  # which has a box for every letter
    }
    return tuple(sorted(found.items(), key=lambda one: ("Noto" not in one[0], one[0])))


@cache
def _letters(path: str) -> frozenset[str]:
    if not Path(path).is_file():  # it was there when matplotlib last looked
        return frozenset()
    try:
        return frozenset(map(chr, get_font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
