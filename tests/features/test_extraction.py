"""Features and a head solved on them, of plain arguments: no training, no configuration."""

from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.features.extract import Extracted, FeatureCache, extraction
from pellucid.features.head import put_head, solve_head
from pellucid.images.loading import Images, Loader, prepare
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.interruption import Interrupted, Interruption
from pellucid.networks.cut import before_head, halves
from pellucid.networks.network import Network
from pellucid.networks.published import default_preprocessing
from tests.pictures import make_classes


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    photos = make_classes(tmp_path_factory.mktemp("data") / "photos")
    parts = split(read_samples(photos), train="rest", validation="0.2", test="0.2", seed=0)
    wanted = default_preprocessing("small", size=32)
    return Images(parts.part("train"), parts.classes, wanted, None, 0)


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    return pl.network("small", 2, size=32)


def extracted(net: Network, images: Images, folder: Path, *, train_from: str = "Logits") -> Extracted:
    cut = halves(net, train_from)
    assert cut is not None
    cache = FeatureCache(folder, limit=1 << 24, half=False)
    source = extraction(net, cut, images=images, cache=cache, device=torch.device("cpu"), precision="float32")
    run = source.run(images)
    while True:
        try:
            done, total = next(run)
            assert done <= total == len(images)
        except StopIteration as end:
            found: Extracted = end.value
            return found


@pytest.mark.parametrize("train_from", ["conv3", "Logits"])
def test_features_are_what_the_frozen_part_makes_of_each_image_and_are_cached(
    images: Images, net: Network, tmp_path: Path, train_from: str
) -> None:
    first = extracted(net, images, tmp_path, train_from=train_from)
    again = extracted(net, images, tmp_path, train_from=train_from)
    assert (first.computed, again.computed) == (len(images), 0)
    assert np.array_equal(first.features.view(0), again.features.view(0))
    cut = halves(net, train_from)
    assert cut is not None
    with torch.inference_mode():
        ((given, _, _),) = Loader(images, batch=len(images), workers=0)
        plain = cut.frozen.eval()(prepare(given, "cpu", images.preprocessing)).numpy()
    assert np.abs(first.features.view(0) - plain).max() < 1e-3 * plain.std()


def test_a_head_that_is_solved_on_features_is_the_networks(images: Images, net: Network, tmp_path: Path) -> None:
    assert before_head(net) is not None
    features = extracted(net, images, tmp_path).features
    solved = solve_head(features.view(0).reshape(len(features), -1), features.labels, classes=2)
    put_head(net, solved, one_logit=False)
    with torch.inference_mode():
        said = torch.cat([net.eval()(item[None]) for item, _, _ in (images[index] for index in range(len(images)))])
    assert (said.argmax(dim=1).numpy() == features.labels).mean() > 0.9


def test_a_stop_keeps_what_was_computed(images: Images, net: Network, tmp_path: Path) -> None:
    cut = before_head(net)
    assert cut is not None
    cache, interruption = FeatureCache(tmp_path, limit=1 << 24, half=False), Interruption()
    source = extraction(net, cut, images=images, cache=cache, device=torch.device("cpu"), precision="float32")
    with pytest.raises(Interrupted):
        for done, _ in source.run(images, interruption=interruption):
            interruption.asked = done > 0
    left = extracted(net, images, tmp_path)
    assert left.computed == max(0, len(images) - 32)  # one batch was kept
