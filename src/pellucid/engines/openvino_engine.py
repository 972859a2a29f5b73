"""An .onnx, or OpenVINO's own .xml, computed by OpenVINO on the processor.

Left alone, OpenVINO computes in bfloat16 wherever the processor can, and says nothing of it. So the precision is always
set, and always said.
"""

from pathlib import Path
from typing import Any

import openvino

from pellucid.engines.engine import Logits
from pellucid.errors import UserError, first_line
from pellucid.granted import processors
from pellucid.images.preprocessing import Pixels
from pellucid.names import shown
from pellucid.runs.containers import container_of

TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVino:
    """A compiled model, of batches of any size: compiled for one it is up to 8 % faster for one image, 3 % for 32, by
    benchmarks/engines.py.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, path: Path, *, precision: str = "float32", threads: int | None = None) -> None:
        self.precision = precision
        self._core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": TYPES[precision],
            "INFERENCE_NUM_THREADS": threads or processors(),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        weights = path.with_suffix(".bin")
        theirs = container_of(path) == "openvino"
        if theirs and not weights.is_file():
            raise UserError(f"{path} lacks its weights: {weights.name} is not beside it", hint="copy both files")
        try:
            if str(path) != shown(str(path)):
                raise RuntimeError("its name is no text: OpenVINO takes no other")
            self._compiled: Any = self._core.compile_model(self._core.read_model(str(path)), "CPU", settings)
        except Exception as cause:  # RuntimeError, and some of its own
            raise UserError(
                f"{path} cannot be opened by OpenVINO {openvino.__version__.partition('-')[0]}",
                [first_line(cause)],
                hint=f"use unchanged copies of it and of {weights.name}" if theirs else "--engine onnxruntime",
            ) from cause
        self._request = self._compiled.create_infer_request()

    def logits(self, pixels: Pixels) -> Logits:
        """What the file says of uint8 (N, size, size, 3), or of whole images where it prepares them itself."""
        given: Logits = self._request.infer([pixels], share_inputs=True)[0]
        return given


def open_file(path: Path, *, device: str, precision: str | None, threads: int | None) -> OpenVino:
    """The file, compiled for this processor."""
    if device not in ("auto", "cpu"):
        raise UserError(f"openvino computes on the processor here, not on {device!r}", hint="--device cpu")
    chosen = precision or "float32"
    if chosen not in precisions():
        raise UserError(
            f"this processor does not compute in {chosen} faster than in float32",
            hint=f"--precision {' or '.join(precisions())}",
        )
    return OpenVino(path, precision=chosen, threads=threads)


def precisions() -> tuple[str, ...]:
    """What this processor has instructions for, by OpenVINO's own word."""
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("float32", *(("bfloat16",) if "BF16" in able else ()))
