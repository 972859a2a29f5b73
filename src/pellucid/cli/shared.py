"""Flags that several verbs have, each with its help; those of a training and of data are fields of records (flags.py).

Without records, which `structure` has no need of.
"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pellucid.architectures.options import OPTIONS

Network = "A network: a name that `pellucid models` lists, timm/NAME, or your own as FILE.py:NAME."

Model = Annotated[
    Path,
    Parameter(help="The trained model: a run folder, a model file (.safetensors), or an exported one (.onnx)."),
]
Engine = Annotated[
    str,
    Parameter(
        help="What computes the model: torch for a .safetensors; onnxruntime or openvino for an exported one. auto: "
        "the fastest that is installed, which is measured once where there is a choice. Default: auto."
    ),
]
Computed = Annotated[
    Literal["float32", "tensorfloat32", "bfloat16", "float16"] | None,
    Parameter(
        help="In which numbers to compute: bfloat16 is faster where the processor has it, and less exact. Default: "
        "float32; on a GPU tensorfloat32."
    ),
]
Code = Annotated[
    str | None,
    Parameter(
        help="For a model of your own network: where its code is, FILE.py:NAME. Pellucid runs no code of yours unless "
        "you name it here; without it, such a model is refused. Default: none."
    ),
]
Size = Annotated[
    int | None, Parameter(help="Pixels per side of the image. Default: what the network was designed for.")
]
Classes = Annotated[
    int | None,
    Parameter(
        help="The number of classes, which are the outputs of the last layer. Default: 1000, or as many as a model "
        "file or your own network has."
    ),
]


def _option(name: str) -> Parameter:
    """The flag of an option of `train --options` at a verb that has only some of them."""
    return Parameter(help=f"For networks that `pellucid models` lists. {OPTIONS[name].about}")


Width = Annotated[float | None, _option("width")]
Auxiliary = Annotated[bool | None, _option("auxiliary")]
Conventions = Annotated[Literal["torch", "tensorflow"] | None, _option("conventions")]
Last = Annotated[str | None, _option("last")]
SpatialSqueeze = Annotated[bool | None, _option("spatial_squeeze")]
Layout = Annotated[
    str,
    Parameter(
        help="Which library's names the tensors in the weights file have: pellucid, torchvision, timm, tf-slim, "
        "keras or paddle. auto: recognised by the names. Default: auto."
    ),
]
Switch = Annotated[bool, Parameter(negative=(), show_default=False)]
Made = Annotated[Path, Parameter(help="The model file to write, called NAME.safetensors.")]
