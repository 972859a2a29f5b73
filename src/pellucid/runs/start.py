"""Weights in a file, ours or others', put into a network, and how images must reach it with them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pellucid.errors import UserError
from pellucid.images.manifest import content_hash
from pellucid.images.preprocessing import Preprocessing
from pellucid.networks.loading import LoadReport, check_conventions, load_weights
from pellucid.networks.network import Network
from pellucid.networks.published import default_preprocessing, preprocessing_for
from pellucid.runs.card import Card, card_in
from pellucid.weights.files import weights_file

TAKEN = ("channels", "mean", "std", "background")  # of a card: its size and crops were a choice of that training


@dataclass(frozen=True)
class Start:
    """`preprocessing` is for the network's own size; `card` is the file's, where it is a model of ours."""

    report: LoadReport
    preprocessing: Preprocessing
    card: Card | None
    notes: tuple[str, ...]


def start_from(
    net: Network,
    source: Path,
    *,
    layout: str = "auto",
    until: str | None = None,
    head: bool = True,
    conventions: bool = True,
    said: Collection[str] = (),
) -> Start:
    """Load the file, or the run's model, `source` into `net`; see load_weights.

    A model of ours says by its card what its weights want to see; of other files the record of their source does,
    unless `said` names what somebody says of it. With `conventions`, weights that were trained by others than those
    that `net` is built by are refused: they would fit, and compute something else.
    """
    file = weights_file(source)
    card = card_in(file)
    if card and card.members:
        hint = f"name the model of one of its members: {card.members[0].name}, say"
        raise UserError(f"{source} is an ensemble, and a network begins with the weights of one", hint=hint)
    report = load_weights(net, source, layout=layout, until=until, head=head)
    if conventions:
        check_conventions(net, report)
        if card:
            _check_card(net, card, file)
    if card:
        wanted = default_preprocessing(net.name, size=net.size)
        wanted = wanted.model_copy(update={name: getattr(card.preprocessing, name) for name in TAKEN})
        return Start(report, wanted, card, report.notes)
    wanted, origin = preprocessing_for(net, report.layout, said)
    return Start(report, wanted, None, (*report.notes, _seen(wanted, report, origin)))


def hash_of(source: Path) -> str | None:
    """The sha256 of the file of weights that `source` stands for; None for a checkpoint of several."""
    file = weights_file(source)
    return content_hash(file) if file.is_file() else None


def _check_card(net: Network, card: Card, file: Path) -> None:
    theirs, ours = card.options.get("conventions"), net.options.get("conventions")
    if card.architecture == net.name and theirs != ours:
        raise UserError(
            f"{file} is a {net.name} by the conventions of {theirs}, and this one is built by those of {ours}",
            ["padding, epsilon or strides differ: it would compute something else"],
            hint=f"--conventions {theirs} (with train: --options.conventions {theirs})",
        )


def _seen(wanted: Preprocessing, report: LoadReport, origin: str) -> str:
    order = "red, green and blue" if wanted.channels == "RGB" else "blue, green and red"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (wanted.mean, wanted.std))
    seen = f"with weights of {report.layout} the network sees {order}, minus {mean} and then divided by {std}"
    return f"{seen} (according to {origin}); --input.mean, --input.std and --input.channels change that"
