"""The curves of a run as a picture of their own: the charts of its report, side by side in one SVG."""

import io
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import IO

from PIL import Image

from pellucid.errors import UserError
from pellucid.reports.charts import Chart, accuracy_chart, loss_chart
from pellucid.reports.history import check_every, history
from pellucid.reports.html import environment
from pellucid.reports.palette import LIGHT
from pellucid.runs.events import Event
from pellucid.runs.run_folder import RunFolder

NO_PIXELS = "pip install resvg-py; or name a file that ends with .svg, which needs nothing"
SHARP = 2  # pixels of a picture per unit of the drawing


class Curves:
    """What `curves` drew: `svg`, which a notebook shows; `charts`, of which it is made."""

    def __init__(self, svg: str, charts: Sequence[Chart]) -> None:
        self.svg, self.charts = svg, tuple(charts)

    def _repr_svg_(self) -> str:
        return self.svg

    def savefig(self, file: str | Path | IO[bytes], *, format: str | None = None) -> None:
        """Write it as svg, png, jpg or pdf, by `format` or the file's name; as pixels where it is no SVG."""
        kind = format or Path(str(file)).suffix.lower().removeprefix(".")
        content = self.svg.encode() if kind == "svg" else _pixels(self.svg, kind)
        if isinstance(file, str | Path):
            Path(file).write_bytes(content)
        else:
            file.write(content)


def curves(run: RunFolder | Sequence[Event], *, every: int | None = None) -> Curves:
    """Loss and accuracy by epoch, in training and validation; the band is validation's 95 % interval.

    The thin line is the mean loss of `every` so many batches; default: so many that it has at most 200 points.
    Raises UserError where no epoch was finished.
    """
    check_every(every)
    course = history(run.events() if isinstance(run, RunFolder) else run)
    if not course.laps:
        raise UserError("there is no curve to draw: no epoch was finished")
    charts = loss_chart(course, every=every), accuracy_chart(course, commonest=None)
    best = course.best
    heading = f"Best in epoch {best.epoch}: validation accuracy {best.accuracy}" if best else ""
    template = environment().get_template("curves.svg")
    return Curves(template.render(charts=charts, heading=heading, style=_style()).strip() + "\n", charts)


def _style() -> str:
    """The page's rules for charts, with the colours of its light side."""
    css = (resources.files("pellucid.reports") / "templates" / "charts.css").read_text(encoding="utf-8")
    return re.sub(r"var\(--([\w-]+)\)", lambda found: LIGHT[found[1]], css)


def _pixels(svg: str, kind: str) -> bytes:
    from matplotlib import get_data_path  # whose fonts are there on every machine

    try:
        import resvg_py
    except ModuleNotFoundError as cause:  # an installation from before it was needed
        raise UserError("pixels are made of curves by resvg, which is not installed", hint=NO_PIXELS) from cause

    fonts = Path(get_data_path()) / "fonts" / "ttf"
    png = resvg_py.svg_to_bytes(
        svg_string=svg, zoom=SHARP, skip_system_fonts=True, font_dirs=[str(fonts)], font_family="DejaVu Sans"
    )
    if kind == "png":
        return bytes(png)
    made = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(made, format={"jpg": "jpeg"}.get(kind, kind), resolution=72 * SHARP)
    return made.getvalue()
