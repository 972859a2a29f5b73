"""The model file: one .safetensors file that holds a network's weights and its card. Loading it replays the proof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pellucid.errors import UserError, first_line, listed
from pellucid.images.preprocessing import Input, Pixels, Preprocessing, averaged, normalise
from pellucid.names import textual
from pellucid.networks.build import network
from pellucid.networks.ensemble import Ensemble, Voice
from pellucid.networks.network import Network, check_vectors
from pellucid.records import write
from pellucid.runs.card import CHANGED, Card, Member, read_card, sealed, unreal
from pellucid.runs.containers import CARD
from pellucid.runs.proof import Logits, replay


@dataclass(frozen=True)
class ModelFile:
    """A card and the network it speaks of, in evaluation mode; for `replay` before anybody believes it."""

    card: Card
    network: nn.Module
    path: Path


def save_model_file(path: Path, network: nn.Module, card: Card) -> None:
    """Write weights and sealed card as one file, whole or not at all.

    Raises UserError where a weight, or what the network said for its proof, is no finite number: such a file would
    prove nothing, and none of its numbers could be written.
    """
    if isinstance(network, Network):
        check_vectors(network)
    tensors = plain_tensors(network.state_dict())
    if problems := [*_unreal(tensors), *unreal(card.proof)]:
        raise UserError(
            f"{path} is not written: its weights are no finite numbers, or give none",
            listed(problems, 3),
            hint="where training brought this about, a lower --rate; otherwise take other weights",
        )
    write(path, save(tensors, metadata={CARD: sealed(card).model_dump_json()}))


def load_model_file(path: Path) -> ModelFile:
    """Build the network that the card names, load the weights, replay the proof.

    Raises UserError for a file that is missing, damaged or no model file, or does not reproduce its proof.
    """
    found = read_model_file(path)
    replay(found.card, logits_of(found.network, found.card.preprocessing), str(path))
    return found


def read_model_file(path: Path) -> ModelFile:
    """As load_model_file, without the proof, for whoever replays it with what computes for it."""
    card = read_card(path)
    with textual(path) as place, safe_open(place, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
    net = _built(card, path)
    expected = net.state_dict()
    if wrong := sorted(
        {name for name in expected.keys() | tensors.keys() if _shape(expected, name) != _shape(tensors, name)}
    ):
        name = wrong[0]
        raise UserError(
            f"{path} does not hold the weights of {card.architecture} that its card speaks of",
            [f"{name}: {_shape(tensors, name)} in the file, {_shape(expected, name)} in the network"],
            hint=CHANGED,
        )
    if problems := _unreal(tensors):
        raise UserError(
            f"{path} holds weights that are no finite numbers: the training that made it had failed",
            listed(problems, 3),
            hint="take an earlier model, or train again with a lower --rate",
        )
    net.load_state_dict(tensors)
    return ModelFile(card, net.eval(), path)


def _built(card: Card, path: Path) -> nn.Module:
    """The network that the card names; UserError where no network can be made of what an edited card says."""
    try:
        if card.members:
            return joined(card.classes, card.members, [_of(member) for member in card.members])
        return _of(card)
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as cause:
        said = [f"{card.architecture}: {first_line(cause)}"]
        raise UserError(f"{path} speaks of a network that cannot be built", said, hint=CHANGED) from cause


def _of(card: Card | Member) -> Network:
    return network(card.architecture, 1 if card.one_logit else len(card.classes), **card.options)


def joined(classes: Sequence[str], members: Sequence[Member], networks: Sequence[nn.Module]) -> Ensemble:
    """The ensemble of `networks`, which `members` speak of, with its `classes` in this order."""
    voices = []
    for member in members:
        place = {name: index for index, name in enumerate(member.classes)}
        voices.append(Voice(tuple(place[name] for name in classes), member.temperature, member.one_logit))
    return Ensemble(networks, voices)


def logits_of(net: nn.Module, preprocessing: Preprocessing) -> Logits:
    """What a proof wants of `net`: numpy in, numpy out, in evaluation mode; the network's mode is put back after."""
    device = next(net.parameters()).device

    def logits(pixels: Pixels) -> Input:
        training = [module for module in net.modules() if module.training]
        net.eval()
        # A card is proved in full float32: some GPUs would round to 10 bits within a convolution.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            images = torch.from_numpy(normalise(pixels, preprocessing)).to(device)
            given: Input = averaged(net, images, preprocessing).float().cpu().numpy()
        for module in training:
            module.training = True
        return given

    return logits


def plain_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, sharing nothing."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def _unreal(tensors: Mapping[str, Tensor]) -> list[str]:
    """The tensors that hold NaN or infinity, in words."""
    odd = {name: int((~torch.isfinite(tensor)).sum()) for name, tensor in tensors.items()}
    return [
        f"{name}: {number:,} of {tensors[name].numel():,} are NaN or infinite" for name, number in odd.items() if number
    ]


def _shape(tensors: Mapping[str, Tensor], name: str) -> str:
    return "x".join(map(str, tensors[name].shape)) or "scalar" if name in tensors else "nothing"
