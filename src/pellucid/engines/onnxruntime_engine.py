"""An .onnx computed by ONNX Runtime, on the processor."""

import re
from pathlib import Path

import onnxruntime

from pellucid.engines.engine import Logits
from pellucid.errors import UserError, counted, first_line
from pellucid.granted import processors
from pellucid.images.preprocessing import Pixels
from pellucid.names import textual

QUIET = 3  # ONNX Runtime's level of logging: errors, no warnings


class OnnxRuntime:
    """A session. It computes in float32, but for what the file itself has in float16 or int8."""

    name = "onnxruntime"
    device = "cpu"

    def __init__(self, path: Path, *, precision: str = "float32", threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or processors()
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        self.precision = precision
        with textual(path) as place:
            try:
                self._session = onnxruntime.InferenceSession(place, options, providers=["CPUExecutionProvider"])
            except Exception as cause:  # its own kinds of errors have no common one
                raise UserError(
                    f"{path} cannot be opened by ONNX Runtime {onnxruntime.__version__}",
                    [first_line(cause)],
                    hint="the file is damaged, or wants a newer ONNX Runtime: pip install -U onnxruntime",
                ) from cause
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def logits(self, pixels: Pixels) -> Logits:
        """What the file says of uint8 (N, size, size, 3), or of whole images where it prepares them itself."""
        try:
            given: Logits = self._session.run([self._output], {self._input: pixels})[0]
        except Exception as cause:
            if not re.search(r"bfc_arena|[Ff]ailed to allocate|bad_alloc", str(cause)):
                raise
            images = counted(len(pixels), "image")
            raise UserError(f"there is too little memory for {images} at once", hint="--batch 1 takes least") from cause
        return given


def open_file(path: Path, *, device: str, precision: str | None, threads: int | None) -> OnnxRuntime:
    """A session of the file."""
    if device not in ("auto", "cpu"):
        raise UserError(
            f"onnxruntime computes on the processor here, not on {device!r}", hint="--device cpu, or a .safetensors"
        )
    if precision not in (None, "float32"):
        raise UserError(
            f"onnxruntime computes a file as it was written, not in {precision}",
            hint="`pellucid export --fp16` or `--int8` writes one of another precision",
        )
    return OnnxRuntime(path, threads=threads)


def precisions() -> tuple[str, ...]:
    """What can be asked for."""
    return ("float32",)
