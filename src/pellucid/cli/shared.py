"""Flags that several verbs have, each with its help; those of a training and of data are fields of records (flags.py).

Without records, which `structure` has no need of.
"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

HERE = "of a network that is defined here"

Model = Annotated[Path, Parameter(help="A run folder or a model file (.safetensors).")]
Code = Annotated[
    str | None,
    Parameter(help="Where the code of one's own network is: FILE.py:NAME. It is run only when it is named."),
]
Size = Annotated[int | None, Parameter(help="Pixels per side; default: what the network was designed for.")]
Classes = Annotated[
    int | None,
    Parameter(help="Outputs of the last layer; default: 1000, or those that a model file or one's own network has."),
]
Width = Annotated[float | None, Parameter(help=f"A factor on every convolution's channels, {HERE}; default: 1.")]
Auxiliary = Annotated[bool | None, Parameter(help=f"With its auxiliary heads, {HERE} and has some.")]
Conventions = Annotated[
    Literal["torch", "tensorflow"] | None,
    Parameter(
        help="How maps are padded and averaged in a network that is defined here: as torch (default) or as TensorFlow "
        "does."
    ),
]
Layout = Annotated[str, Parameter(help="Whose names the tensors in the weights file have.")]
Switch = Annotated[bool, Parameter(negative=())]
Made = Annotated[Path, Parameter(help="The .safetensors to write.")]
