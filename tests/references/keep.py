"""Computing a reference with another library's network, and writing what is kept of it."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from tests.references.seeded import SEED, seeded_image, seeded_weights, write

import pellucid as pl
from pellucid.architectures.catalog import architecture
from pellucid.inspection.originals import Original
from pellucid.networks.table_network import TableNetwork


def keep(
    theirs: Original, take: Callable[[Mapping[str, np.ndarray]], None], library: str, name: str, *, size: int
) -> None:
    """Write LIBRARY_NAME.npz, of `theirs` after it took seeded weights."""
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.tensors().items()}
    made = seeded_weights(shapes, out_first=library == "paddle", seed=SEED)
    take({key: value.astype(np.float32) for key, value in made.items()})
    ours = pl.network(name, 7, size=size, auxiliary=bool(architecture(name).heads))
    assert isinstance(ours, TableNetwork)
    image = torch.from_numpy(seeded_image(size, seed=SEED)).float().permute(0, 3, 1, 2).contiguous()
    found = theirs.end_points(ours, image)
    maps = {key: value.permute(0, 2, 3, 1) if value.ndim == 4 else value for key, value in found.items()}
    write(f"{library}_{name}", shapes, size, {key: value.numpy() for key, value in maps.items()})
