"""Running a network without a trace: modes, attributes, buffers and everybody's random numbers are as before."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

HOLDERS = (dict, list, set, deque)  # what a module keeps things in; put back with what they held


@contextmanager
def kept_randomness() -> Iterator[None]:
    """The states of torch's (on every device in use), NumPy's and Python's random numbers are as before, afterwards."""
    python, arrays, processor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(processor)
        if cards is not None:
            torch.cuda.set_rng_state_all(cards)


@contextmanager
def undisturbed(*networks: nn.Module) -> Iterator[None]:
    """Whatever happens inside, the networks are as before, afterwards, and so are random numbers.

    That is each part's own mode, what is set on it, the hooks on it and the values of its buffers. Parameters that are
    written into are not put back.
    """
    values = [(tensor, tensor.clone()) for part in _parts(networks) for tensor in _values(part)]
    with kept_randomness(), kept_attributes(*networks):
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in values:
                    if not torch.equal(tensor, value):
                        tensor.copy_(value)


@contextmanager
def kept_attributes(*networks: nn.Module) -> Iterator[None]:
    """What is set on the networks' parts is afterwards as before: attributes and modes; no tensor's values."""
    parts = _parts(networks)
    scripted = [part for part in parts if isinstance(part, torch.jit.ScriptModule)]  # which keep things elsewhere
    modes = [(part, part.training) for part in scripted]
    held = [(part, dict(vars(part)), _inside(vars(part))) for part in parts if part not in scripted]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for part, attributes, contents in held:
            vars(part).clear()
            vars(part).update(attributes)
            for holder, content in contents:
                _refill(holder, content)


def _parts(networks: Sequence[nn.Module]) -> list[nn.Module]:
    return list({id(part): part for net in networks for part in net.modules()}.values())


def _inside(attributes: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The holders among a module's attributes, each with a copy of what it holds."""
    return [(value, value.copy()) for value in attributes.values() if isinstance(value, HOLDERS)]


def _refill(holder: Any, content: Any) -> None:
    """The same object with the same content: handles of hooks know it by identity."""
    if isinstance(holder, dict):
        same = len(holder) == len(content) and all(
            one == other and holder[one] is content[other] for one, other in zip(holder, content, strict=True)
        )
    else:
        same = holder == content if isinstance(holder, set) else [*map(id, holder)] == [*map(id, content)]
    if same:
        return
    holder.clear()
    holder.extend(content) if isinstance(holder, list | deque) else holder.update(content)


def _values(part: nn.Module) -> Iterator[Tensor]:
    """The tensors that a run may write into: buffers, and those that are kept without being registered."""
    loose = () if isinstance(part, torch.jit.ScriptModule) else vars(part).values()
    for tensor in (*part.buffers(recurse=False), *loose):
        if not isinstance(tensor, Tensor) or isinstance(tensor, nn.Parameter) or is_lazy(tensor) or tensor.is_meta:
            continue
        yield tensor
