"""`structure` with its page: the network drawn, foldable, searchable, in one file that opens offline."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pellucid.uses.structure as counting
from pellucid.architectures.rows import EndPoint, LayerRow, Structure, Totals

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from pellucid.inspection.flow import Flow
    from pellucid.inspection.timing import Times


@dataclass(frozen=True)
class Drawn(Structure):
    """A structure that can show itself."""

    def to_html(
        self,
        photo: "Image.Image | None" = None,
        flows: "Sequence[Flow]" = (),
        times: "Times | None" = None,
    ) -> str:
        """One page: every end point drawn, with its costs as bars; receptive fields are shown over `photo`.

        `flows` adds what flows through for an image: figures and maps of each end point. `times` adds where the time
        goes.
        """
        from pellucid.reports.drawing import drawn
        from pellucid.reports.html import environment

        rows = iter(self.rows)
        shown = {flow.name: Shown(flow, tuple(_map(one) for one in flow.maps)) for flow in flows}
        blocks = []
        for end in self.ends:
            inside = [next(rows) for _ in range(end.layers)]
            took = sum(times.median(row.name) for row in inside) if times else 0.0
            blocks.append(Block(end, drawn(inside, batch=self.batch), tuple(inside), shown.get(end.name), took))
        template = environment().get_template("structure.html")
        most = Totals(
            *(
                max((getattr(end.totals, measure) or 0 for end in self.ends), default=0)
                for measure in ("parameters", "multiply_adds", "memory")
            )
        )
        return template.render(
            structure=self,
            blocks=blocks,
            most=most,
            photo=None if photo is None else _data(photo, self.size),
            times=times,
        )


@dataclass(frozen=True)
class Shown:
    """What flows at an end point, its maps as data addresses."""

    flow: "Flow"
    maps: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """An end point as the page shows it."""

    end: EndPoint
    drawing: str
    rows: tuple[LayerRow, ...]
    shown: Shown | None
    milliseconds: float


@wraps(counting.structure)
def structure(*arguments: Any, **settings: Any) -> Drawn:
    return Drawn(**vars(counting.structure(*arguments, **settings)))


def _map(levels: "npt.NDArray[np.uint8]") -> str:
    from PIL import Image

    out = BytesIO()
    Image.fromarray(levels).save(out, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"


def _data(photo: "Image.Image", size: int) -> str:
    """The middle of `photo`, as large as the network's input, as a data address."""
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    out = BytesIO()
    photo.crop((left, top, left + side, top + side)).resize((size, size)).save(out, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"
