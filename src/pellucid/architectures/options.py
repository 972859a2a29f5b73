"""What can be set of a network that is defined here, besides its size: the names, their types and what they do.

Torch-free, so that the command line can list and check them at once; a test compares them with what builds networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

from pellucid.errors import UserError, nearest


@dataclass(frozen=True)
class Option:
    """One setting; `kind` is float, bool, str or a Literal of the words that it may be."""

    kind: Any
    about: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it may be; () where it is no choice."""
        return get_args(self.kind)


OPTIONS: Mapping[str, Option] = {
    "width": Option(float, "A factor on the number of channels of every convolution: 0.5 halves it. Default: 1."),
    "dropout": Option(
        float,
        "The share of the features before the head that training sets to 0, drawn anew for each image: from 0 to "
        "below 1. Default: what the network was published with.",
    ),
    "auxiliary": Option(
        bool,
        "Add the network's auxiliary heads, extra classifiers halfway through that help training. Not every network "
        "has them.",
    ),
    "conventions": Option(
        Literal["torch", "tensorflow"],
        "Pad, average and normalise feature maps as torch or as tensorflow does. Give the one that the weights were "
        "trained with. Default: torch.",
    ),
    "initialisation": Option(
        Literal["he", "tf-slim", "torch"],
        "How random weights are drawn: as He et al. 2015, as TF-Slim does, or as torch does. Default: he.",
    ),
    "head_initialisation": Option(
        Literal["uniform", "torch"],
        "How the random weights of the head (the last layer) are drawn. uniform: between -1/sqrt(n) and 1/sqrt(n), all "
        "equally likely, where n is how many features the head gets. torch: the same, and its bias too. Default: as "
        "all other weights.",
    ),
    "norm_decay": Option(
        float,
        "The share of a batch normalisation's running mean and variance that stays after each batch; the rest comes "
        "from the batch. The nearer to 1, the more batches count. Default: 0.9.",
    ),
    "last": Option(
        str,
        "The end point after which the network ends; its head is put there, so that the network is shorter. Default: "
        "none, the whole network.",
    ),
    "spatial_squeeze": Option(
        bool,
        "Give the output of N images the shape (N, classes). Otherwise it has the shape (N, classes, 1, 1), and the "
        "network cannot be trained. Default: yes.",
    ),
}
# Those that decide what there is to count, and not only how it begins or is trained.
COUNTED = ("width", "auxiliary", "conventions", "last", "spatial_squeeze")
TIMM = "timm/"  # before the name of one of timm's, where networks are called by their names
OF_TIMM = ("dropout",)  # what can be set of a network of timm
TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


def check_names(network: str, options: Iterable[str], known: Sequence[str] = tuple(OPTIONS)) -> None:
    """Refuse options that are none of those `known`."""
    for option in options:
        if option not in known:
            right = nearest(option, known)
            raise UserError(
                f"{network} has no option {option!r}",
                [f"it has {', '.join(known)}"],
                hint=f"did you mean {right}?" if right else "",
            )


def check_options(network: str, options: Mapping[str, Any], known: Sequence[str] = tuple(OPTIONS)) -> None:
    """Refuse options that are none of those `known`, and a share of activations to drop that is none."""
    check_names(network, options, known)
    dropout = options.get("dropout")
    if dropout is not None and not 0 <= dropout < 1:
        raise UserError(f"dropout is at least 0 and below 1, not {dropout:g}", hint="0.5 drops every second activation")


def typed(network: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a network that is defined here, as their types: a shell and a recipe may say numbers as text.

    Raises UserError for those that it does not have, and for values that are of another type.
    """
    check_names(network, options)
    return {name: _typed(name, value, OPTIONS[name]) for name, value in options.items()}


def _typed(name: str, value: Any, option: Option) -> Any:
    if option.words:
        if value in option.words:
            return value
        said = {word.replace("-", "_"): word for word in option.words}.get(str(value).replace("-", "_"))
        right = nearest(str(value), option.words)
        hint = f"did you mean {right}?" if right else f"there are {', '.join(option.words)}"
        return said or _refuse(f"there is no {name} {value!r}", hint)
    if option.kind is str:
        return value if isinstance(value, str) else _refuse(f"{name} is a word, not {value!r}")
    told = text_as(option.kind, value)
    if told is None:
        wanted = "a number" if option.kind is float else "true or false"
        return _refuse(f"{name} is {wanted}, not {value!r}")
    return told


def text_as(kind: type, value: Any) -> Any:
    """`value`, or what a text says, as a bool, int or float; None where it is none."""
    if kind is bool:
        return value if isinstance(value, bool) else TRUTHS.get(value.lower()) if isinstance(value, str) else None
    if isinstance(value, bool):
        return None
    try:
        return kind(value)
    except (TypeError, ValueError):
        return None


def _refuse(problem: str, hint: str = "") -> NoReturn:
    raise UserError(problem, hint=hint)
