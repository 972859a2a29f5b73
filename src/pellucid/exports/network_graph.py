"""A network of torch as a graph of ONNX: prepared pixels in, logits out; tried with several batches.

Two exporters of torch's are known. The older one follows the calls that a network makes; it writes every network of the
catalog in a second or two. Where it cannot, the newer one, which reads the code, may. Neither is believed: what the
graph says is compared with what the network says, here of noise, and by whoever exports with the proof and with images.
"""

import io
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from pellucid.errors import UserError, first_line
from pellucid.exports.quiet import quiet
from pellucid.images.preprocessing import Preprocessing, order

OPSET = 18
TRACED, TRIED = 2, (1, 2, 7)  # images: never traced with 1, which exporters take for a constant
SAME_TO = 1e-3  # of the logits' spread
INPUT, OUTPUT = "pixels", "logits"
LARGEST = 2**31 - 2**20  # bytes of a file: Protocol Buffers hold no more in one piece

Exporter = Callable[[nn.Module, Tensor], onnx.ModelProto]


class OfPixels(nn.Module):
    """A network that takes uint8 (N, size, size, 3), red first: scaling and the order of channels are its first layers.

    In the arithmetic of preprocessing.normalise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.order = order(preprocessing)
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[self.order].view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std)[self.order].view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).float()
        if self.order != [0, 1, 2]:
            images = images[:, self.order]
        said: Tensor = self.network((images / 255.0 - self.mean) / self.std)
        return said


def network_graph(network: nn.Module, preprocessing: Preprocessing) -> onnx.ModelProto:
    """`network`, in evaluation mode, as a checked graph: `pixels` uint8 (N, size, size, 3) to `logits` (N, outputs).

    N is free. Raises UserError with every exporter's reason where none writes a graph that says what the network says.
    """
    whole = OfPixels(network, preprocessing).eval().cpu()
    reasons = []
    for name, export in EXPORTERS.items():
        try:
            with quiet():
                graph = export(whole, _noise(TRACED, preprocessing.size))
            _check(graph, whole, preprocessing.size)
            return graph
        except Exception as cause:  # whatever torch, onnx or a network's own code comes upon
            reasons.append(f"{name}: {first_line(cause)}")
    raise UserError(
        "the network cannot be exported as ONNX",
        reasons,
        hint="its model file is computed by torch; a network of other layers may do",
    )


def _by_calls(network: nn.Module, images: Tensor) -> onnx.ModelProto:
    """By torch's older exporter, which follows the calls."""
    written = io.BytesIO()
    free = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    names = {"input_names": [INPUT], "output_names": [OUTPUT], "dynamic_axes": free}
    torch.onnx.export(network, (images,), written, dynamo=False, opset_version=OPSET, **names)
    return onnx.load_from_string(written.getvalue())


def _by_code(network: nn.Module, images: Tensor) -> onnx.ModelProto:
    """By torch's newer exporter, which reads the code."""
    made = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    graph: onnx.ModelProto = made.model_proto
    return graph


EXPORTERS: dict[str, Exporter] = {"by its calls": _by_calls, "by its code": _by_code}


def _check(graph: onnx.ModelProto, network: nn.Module, size: int) -> None:
    """Raises for a graph that is none, that has no free batch, or says something else of noise than the network."""
    content = graph.SerializeToString()
    if len(content) > LARGEST:
        raise ValueError(f"its {len(content):,} bytes are more than one ONNX file holds")
    onnx.checker.check_model(content, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for number in TRIED:
        images = _noise(number, size)
        with torch.inference_mode():
            expected = network(images).numpy()
        (given,) = session.run([OUTPUT], {INPUT: images.numpy()})
        if given.shape != expected.shape:
            raise ValueError(f"of {number} images it makes {given.shape}, and the network {expected.shape}")
        spread = max(float(np.ptp(expected)), float(np.abs(expected).max()), 1e-6)
        away = float(np.abs(given - expected).max()) / spread
        if not away <= SAME_TO:
            raise ValueError(f"of {number} images it says something else: {away:.2g} of the logits' spread away")


def _noise(number: int, size: int) -> Tensor:
    """So many images, the same each time."""
    random = np.random.default_rng(number)
    return torch.from_numpy(random.integers(0, 256, (number, size, size, 3), dtype=np.uint8))
