"""A graph in fewer bits: weights and maps as 8-bit integers, or everything in float16. By ONNX Runtime's own tools.

Whether that is worth anything, and what it costs, is measured by whoever exports: nothing here promises it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pellucid.exports.quiet import quiet
from pellucid.images.preprocessing import Pixels

PERCENTILE = 99.99  # of what a map holds: a single stray value must not make all others coarse


def int8(graph: onnx.ModelProto, images: Iterable[Pixels]) -> onnx.ModelProto:
    """The graph with 8-bit weights, a scale for each output channel, and 8-bit maps, whose ranges `images` show.

    Static: what the ranges are is measured now, on uint8 (size, size, 3) as the graph takes them, and fixed.
    """
    name = graph.graph.input[0].name
    with TemporaryDirectory(prefix="pellucid-") as folder, quiet():
        whole, ready, made = (str(Path(folder) / f"{step}.onnx") for step in ("whole", "ready", "made"))
        onnx.save(graph, whole)
        quant_pre_process(whole, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            made,
            _Reader({name: image[None]} for image in images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,  # with signed ones, processors lack the instruction
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
        return onnx.load(made)


def float16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in float16; its logits are float32 again."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        made: onnx.ModelProto = convert_float_to_float16(graph, keep_io_types=True)
    return made


class _Reader(CalibrationDataReader):
    """Images one by one, as ONNX Runtime asks for them."""

    def __init__(self, feeds: Iterator[dict[str, Any]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)
