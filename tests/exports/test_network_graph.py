"""A network as a graph of ONNX: checked against the network itself, for every network that there is."""

from typing import Any

import numpy as np
import pytest

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.errors import UserError
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

FAMILIES = [
    *("mobilenetv2_100", "efficientnet_b0", "convnext_atto", "vit_tiny_patch16_224", "regnetx_002", "densenet121"),
    *("mobilenetv3_small_100", "swin_tiny_patch4_window7_224", "resnext50_32x4d", "xception41"),
]


def prepared(size: int, **changes: Any) -> Preprocessing:
    fields = {"resize": None, "interpolation": None, "size": size, "background": (0, 0, 0)}
    return Preprocessing(**fields | {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} | changes)


def compared(name: str, size: int | None = None, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    """What torch says of five new images, normalised by hand, and what the graph says."""
    from pellucid.exports.network_graph import network_graph
    from pellucid.networks.build import network

    torch.manual_seed(1)
    net = network(name, 7, size=size).eval()
    preprocessing = prepared(net.size, **changes)
    graph = network_graph(net, preprocessing)
    pixels = np.random.default_rng(99).integers(0, 256, (5, net.size, net.size, 3), dtype=np.uint8)
    seen = ((pixels / 255 - preprocessing.mean) / preprocessing.std)[..., :: -1 if "channels" in changes else 1]
    with torch.inference_mode():
        theirs = net(torch.from_numpy(seen.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    (ours,) = ort.InferenceSession(graph.SerializeToString()).run(["logits"], {"pixels": pixels})
    return theirs, ours


def assert_same(theirs: np.ndarray, ours: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-4 * max(np.ptp(theirs), np.abs(theirs).max())


@pytest.mark.parametrize(("name", "size"), [("small", 32), ("resnet18", 64), ("inception_v1", 64), ("vgg11_bn", 32)])
def test_a_graph_says_what_its_network_says(name: str, size: int) -> None:
    assert_same(*compared(name, size))


def test_the_order_of_channels_is_the_networks() -> None:
    assert_same(*compared("small", 32, channels="BGR", mean=(0.1, 0.5, 0.9)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_of_the_catalog_is_exported(name: str) -> None:
    assert_same(*compared(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_ten_families_of_timm_are_exported(name: str) -> None:
    pytest.importorskip("timm")
    assert_same(*compared(f"timm/{name}"))


def test_a_network_that_no_exporter_writes_says_why() -> None:
    from pellucid.exports.network_graph import network_graph

    class Odd(torch.nn.Module):
        def forward(self, images: Any) -> Any:
            return torch.linalg.eigvals(images[:, 0].mean(0)).real[None].repeat(len(images), 1)

    with pytest.raises(UserError, match="cannot be exported as ONNX") as refused:
        network_graph(Odd(), prepared(8))
    assert [detail.partition(":")[0] for detail in refused.value.details] == ["by its calls", "by its code"]


def test_a_network_whose_answer_depends_on_the_batch_is_no_graph() -> None:
    """The older exporter takes the number of images for a constant; what it wrote must not be believed."""
    from pellucid.exports.network_graph import network_graph

    class Counting(torch.nn.Module):
        def forward(self, images: Any) -> Any:
            return images.mean((2, 3)) * float(len(images))

    with pytest.raises(UserError, match="cannot be exported") as refused:
        network_graph(Counting(), prepared(8))
    assert "it says something else" in refused.value.details[0]
