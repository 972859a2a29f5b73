"""The colours of everything people look at, written once: CSS variables, matplotlib figures and rich styles read them.

Okabe and Ito's palette (2008, "Color Universal Design"), which colour-blind readers can tell apart. Green means right
and red wrong, and nothing else; the other colours belong to classes. Their vermillion is an orange to most eyes, so
wrong is a red of our own, which stays as far from the green for red-blind and green-blind eyes as the tests say. No
colour stands alone: right and wrong have a tick and a cross, and classes a mark and their name.
"""

from dataclasses import dataclass

BLUE, ORANGE, PURPLE, SKY = "#0072b2", "#e69f00", "#cc79a7", "#56b4e9"
GREEN, RED = "#009e73", "#d62839"
INK = "#1d2126"

RIGHT, WRONG = GREEN, RED
TICK, CROSS = "✓", "✗"

CLASS_COLOURS = (BLUE, ORANGE, PURPLE, SKY, INK)
CLASS_MARKS = "●■▲◆○□△◇"

# Both are too pale for small text on white; `-text` has 4.5 : 1 (WCAG AA) and more.
LIGHT = {
    "paper": "#ffffff",
    "raised": "#f5f6f8",
    "line": "#d9dde2",
    "ink": INK,
    "muted": "#59616b",
    "link": "#005a8e",
    "right": RIGHT,
    "right-text": "#006b4e",
    "wrong": WRONG,
    "wrong-text": "#b3000f",
    **{f"class-{index}": colour for index, colour in enumerate(CLASS_COLOURS)},
}
DARK = LIGHT | {
    "paper": "#14171b",
    "raised": "#1e2329",
    "line": "#394049",
    "ink": "#e8ebee",
    "muted": "#a3acb7",
    "link": "#7cc4f0",
    "right-text": "#35c99d",
    "wrong-text": "#ff6b6b",
    "class-0": "#3a9bd9",
    "class-4": "#e8ebee",
}


@dataclass(frozen=True)
class Look:
    """How a class looks wherever it appears."""

    colour: int  # index into CLASS_COLOURS
    mark: str


def look(index: int) -> Look:
    """The look of the class with this index: 40 classes differ in colour or mark before any repeats."""
    return Look(index % len(CLASS_COLOURS), CLASS_MARKS[index // len(CLASS_COLOURS) % len(CLASS_MARKS)])


def variables(colours: dict[str, str]) -> str:
    """`--paper: #ffffff; --ink: ...` for a stylesheet."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
