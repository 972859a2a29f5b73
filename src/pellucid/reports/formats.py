"""What a picture may be called, and hold: to be known before matplotlib is loaded, which draws it."""

from pathlib import Path

from pellucid.errors import UserError

FORMATS = (".png", ".pdf", ".svg", ".jpg")  # that pictures are written in
MOST = 400  # images in a grid: of more, nobody sees any


def check_format(path: Path) -> None:
    """Raises UserError for a name that is none of a picture."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path} is no name for a picture", hint=f"call it something{', '.join(FORMATS)}")


def check_most(most: int) -> None:
    """Raises UserError for a number of images that no grid shows."""
    if not 1 <= most <= MOST:
        raise UserError(f"a grid shows 1 to {MOST} images, not {most}", hint="several grids show more")
