"""An exported graph as OpenVINO's own pair of files, .xml and .bin, with the card among what is said of the model."""

from pathlib import Path

import onnx
import openvino

from pellucid.runs.containers import CARD


def write(content: bytes, path: Path) -> None:
    """Write `path`, an .xml, and the .bin beside it: the same graph in float32, never made smaller by the way."""
    source = path.with_suffix(".onnx")
    source.write_bytes(content)
    try:
        model = openvino.Core().read_model(str(source))
        for entry in onnx.load(str(source), load_external_data=False).metadata_props:
            if entry.key == CARD:
                model.set_rt_info(entry.value, CARD)
        openvino.save_model(model, str(path), compress_to_fp16=False)
    finally:
        source.unlink()
