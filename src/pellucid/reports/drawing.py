"""A network drawn as SVG: one box per layer, branches side by side as in the papers' figures, from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from pellucid.architectures.rows import LayerRow

WIDTH, HEIGHT, APART, BELOW, RAIL = 152, 44, 14, 18, 12  # of boxes and between them, in SVG units
SIDE_BY_SIDE = ("Branch_", "Fan_", "mixed")  # what a joint of branches, or its branches, are called

SHORTCUTS = ("shortcut", "downsample")  # what is projected beside a residual unit is called
SIGN_RADIUS = 8
SIGN = f'<circle r="{SIGN_RADIUS}" class="sum"/><text y="4" class="name">+</text>'

STYLES = {
    "convolution": "conv",
    "depthwise convolution": "conv",
    "grouped convolution": "conv",
    "linear": "linear",
    "max pooling": "pool",
    "average pooling": "pool",
    "global average pooling": "pool",
}


@dataclass
class _Node:
    """A named part: parts in order, and what it computes by itself, once for each time that it was called."""

    name: str
    rows: list[LayerRow] = field(default_factory=list)
    parts: "dict[str, _Node]" = field(default_factory=dict)


@dataclass(frozen=True)
class _Picture:
    """SVG within `width` x `height`; what enters and leaves does so in the middle, at `middle`."""

    width: float
    height: float
    body: str

    @property
    def middle(self) -> float:
        return self.width / 2


def drawn(rows: Sequence[LayerRow], *, batch: int) -> Markup:
    """The rows of one end point, for so many images, as one SVG with a box for each."""
    root = _Node("")
    for row in rows:
        node = root
        for part in row.name.split("/"):
            node = node.parts.setdefault(part, _Node(part))
        node.rows.append(row)
    while len(root.parts) == 1 and not root.rows and (only := next(iter(root.parts.values()))).parts:
        root = only
    picture = _picture(root, batch)
    size = f'width="{picture.width + 4:g}" height="{picture.height + 4:g}"'
    box = f'viewBox="-2 -2 {picture.width + 4:g} {picture.height + 4:g}"'
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" {size} {box} role="img">{picture.body}</svg>'
    )


def _picture(node: _Node, batch: int) -> _Picture:
    own = [_box(row, batch) for row in node.rows]
    if not node.parts:
        return own[0] if len(own) == 1 else _below(own)
    parts = _parts(node, batch)
    return _below([parts, *own]) if own else parts


def _parts(node: _Node, batch: int) -> _Picture:
    """All that a part consists of, arranged as its name says."""
    sums = {name: part.rows[0] for name, part in node.parts.items() if part.rows and part.rows[0].kind == "addition"}
    pictures = {name: _picture(part, batch) for name, part in node.parts.items() if name not in sums}
    plus = "".join(_plus(row) for row in sums.values()) or SIGN
    if len(pictures) > 1 and all(name.startswith("Branch_") for name in pictures):
        return _beside([*pictures.values()])
    if node.name.startswith("Fan_"):
        return _beside([*pictures.values()])
    shortcut = next((pictures.pop(name) for name in SHORTCUTS if name in pictures), None)
    if shortcut is not None:
        return _beside([_below([*pictures.values()]) if pictures else _Picture(8, 0, ""), shortcut], sign=plus)
    if sums or node.name.startswith(("unit_", "block", "Block")):
        return _beside([_below([*pictures.values()]), _Picture(8, 0, "")], sign=plus)
    return _below([*pictures.values()])


def _box(row: LayerRow, batch: int) -> _Picture:
    name = row.name.rpartition("/")[2]
    words = _words(row, batch)
    return _Picture(
        WIDTH,
        HEIGHT,
        f'<g class="box {STYLES.get(row.kind, "other")}" tabindex="0"{_seen(row)}>{_title(row)}'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{WIDTH / 2}" y="18" class="name">{escape(_cut(name, 20))}</text>'
        f'<text x="{WIDTH / 2}" y="34">{escape(_cut(words, 25))}</text></g>',
    )


def _plus(row: LayerRow) -> str:
    """A sum, as the sign where its terms meet."""
    return f'<g class="box" tabindex="0"{_seen(row)}>{_title(row)}{SIGN}</g>'


def _seen(row: LayerRow) -> str:
    return "" if row.field is None else f' data-field="{row.field[0]} {row.field[1]}"'


def _title(row: LayerRow) -> str:
    """All that is known of a layer, for whoever points at it."""
    parts = [f"{row.name}: {row.kind}"]
    if row.output:
        parts.append(f"output {'x'.join(map(str, row.output))}")
    if row.weight:
        parts.append(f"weight {'x'.join(map(str, row.weight))}")
    if row.parameters:
        parts.append(f"{row.parameters:,} parameters")
    if row.multiply_adds != 0:
        known = "an unknown number of" if row.multiply_adds is None else f"{row.multiply_adds:,}"
        parts.append(f"{known} multiply-adds")
    if row.field is not None:
        parts.append(f"sees {row.field[0]} x {row.field[1]} pixels of the input")
    return f"<title>{escape('; '.join(parts))}</title>"


def _words(row: LayerRow, batch: int) -> str:
    """What leaves for one image, where the images come first."""
    shape = row.output[1:] if row.output[:1] == (batch,) else row.output
    cells = f"{shape[1]} x {shape[2]} x {shape[0]}" if len(shape) == 3 else " x ".join(map(str, shape))
    return f"→ {cells}" if cells else row.kind


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _below(pictures: Sequence[_Picture]) -> _Picture:
    """One under the other, joined by lines."""
    width, top, body = max(picture.width for picture in pictures), 0.0, ""
    for index, picture in enumerate(pictures):
        if index:
            body += _line(width / 2, top, width / 2, top + BELOW, arrow=True)
            top += BELOW
        body += _at(picture, width / 2 - picture.middle, top)
        top += picture.height
    return _Picture(width, top, body)


def _beside(pictures: Sequence[_Picture], *, sign: str = "") -> _Picture:
    """Side by side between two rails: what comes in goes to each, what leaves is joined, or added."""
    width = sum(picture.width for picture in pictures) + APART * (len(pictures) - 1)
    height = max(picture.height for picture in pictures)
    left, middles, body = 0.0, [], ""
    for picture in pictures:
        middle = left + picture.middle
        middles.append(middle)
        body += _line(middle, 0, middle, RAIL, arrow=picture.height > 0) + _at(picture, left, RAIL)
        body += _line(middle, RAIL + picture.height, middle, 2 * RAIL + height)
        left += picture.width + APART
    bottom = height + 2 * RAIL
    body += _line(middles[0], 0, middles[-1], 0) + _line(middles[0], bottom, middles[-1], bottom)
    if sign:
        body += f'<g transform="translate({width / 2:g} {bottom:g})">{sign}</g>'
    return _Picture(width, bottom + (SIGN_RADIUS if sign else 0), body)


def _at(picture: _Picture, left: float, top: float) -> str:
    return f'<g transform="translate({left:g} {top:g})">{picture.body}</g>' if picture.body else ""


def _line(x1: float, y1: float, x2: float, y2: float, *, arrow: bool = False) -> str:
    head = f'<path d="M{x2 - 3:g} {y2 - 5:g}L{x2:g} {y2:g}L{x2 + 3:g} {y2 - 5:g}"/>' if arrow else ""
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>{head}'
