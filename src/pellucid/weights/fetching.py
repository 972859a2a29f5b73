"""Published files over the network: fetched once, checked by hash, kept; and a clear word where that fails."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor

from pellucid.errors import UserError, first_line

TIMEOUT = 30.0  # seconds without a byte


def fetch(url: str, name: str) -> dict[str, Tensor]:
    """The tensors at `url`, whose file name ends with the beginning of its sha256; kept in torch's cache.

    Raises UserError where it cannot be fetched, and where what arrives is not what the name promises.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        quiet = StringIO()  # it would say where it puts them, some versions among the results
        with connections_end(TIMEOUT), redirect_stderr(quiet), redirect_stdout(quiet):
            tensors: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
                url, progress=False, check_hash=True, weights_only=True, map_location="cpu"
            )
    except OSError as cause:  # URLError is one
        raise unreachable(name, url, cause, cache) from cause
    except Exception as cause:  # a wrong hash, or a file in the cache that is no checkpoint
        raise UserError(
            f"the weights of {name} arrived damaged",
            [first_line(cause), f"cache: {cache}"],
            hint="remove the file from the cache and try again, or --weights FILE",
        ) from cause
    return tensors


def unreachable(name: str, where: str, cause: Exception, cache: Path | str) -> UserError:
    reason = first_line(cause)
    return UserError(
        f"the published weights of {name} cannot be fetched",
        [f"from {where}: {reason}", f"cache: {cache}"],
        hint="--weights FILE takes a file that you have, --mode scratch starts from random weights",
    )


@contextmanager
def connections_end(seconds: float) -> Iterator[None]:
    """Connections that are made within give up after `seconds` of silence: torch's client would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
