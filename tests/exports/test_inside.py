"""A file with its preprocessing inside makes of any image what Pillow and our own preprocessing make of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.images.decode import open_image
from pellucid.images.preprocessing import INTERPOLATIONS, Preprocessing, averaged, crop
from pellucid.runs.card import Card
from tests.brightness import card
from tests.shared import shared

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

CLASSES = ("cat", "dog", "owl")
# Of the means of red, green and blue in each quarter of an image, to a logit of each class.
WEIGHTS = np.random.default_rng(0).normal(0, 8 / 255, (12, 3)).astype(np.float32)


def prepared(**changes: Any) -> Preprocessing:
    fields = {"resize": 32, "interpolation": "bilinear", "size": 24, "background": (0, 0, 0)}
    return Preprocessing(**fields | {"mean": (0, 0, 0), "std": (1, 1, 1)} | changes)


def carded(preprocessing: Preprocessing, **changes: Any) -> Card:
    return card(**{"classes": CLASSES, "preprocessing": preprocessing} | changes)


def core(size: int, outputs: int = 3) -> Any:
    """A network of three layers: means of quarters of uint8 `pixels` (N, size, size, 3), then `logits` (N, outputs)."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "quarters"], ["split"]),
        helper.make_node("ReduceMean", ["split", "within"], ["means"], keepdims=0),
        helper.make_node("Reshape", ["means", "flat"], ["features"]),
        helper.make_node("Gemm", ["features", "weights"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1, 2, size // 2, 2, size // 2, 3]), "quarters"),
        numpy_helper.from_array(np.array([2, 4]), "within"),
        numpy_helper.from_array(np.array([-1, 12]), "flat"),
        numpy_helper.from_array(WEIGHTS[:, :outputs], "weights"),
    ]
    given = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", size, size, 3])
    said = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])
    graph = helper.make_graph(nodes, "core", [given], [said], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def by_hand(pixels: np.ndarray, outputs: int = 3) -> np.ndarray:
    """What `core` says, (N, outputs), of (N, size, size, 3)."""
    half = pixels.shape[1] // 2
    means = pixels.reshape(-1, 2, half, 2, half, 3).astype(np.float64).mean(axis=(2, 4))
    return means.reshape(-1, 12) @ WEIGHTS[:, :outputs]


def softmax(logits: np.ndarray) -> np.ndarray:
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def answered(graph: Any, images: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(graph.SerializeToString()).run(["probabilities"], {"image": images})[0]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cropper(preprocessing: Preprocessing) -> Any:
    """The pixels alone, as a graph of their own: `image` (N, height, width, 3) to `crop`."""
    from pellucid.exports.expressions import Value, Writing
    from pellucid.exports.resizing import cropped

    writing = Writing("")
    made = cropped(Value(writing, "image", np.dtype(np.uint8)), preprocessing).to(np.uint8, name="crop")
    seen = preprocessing.seen
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])
    output = helper.make_tensor_value_info(made.name, TensorProto.UINT8, ["batch", seen, seen, 3])
    graph = helper.make_graph(writing.nodes, "crop", [image], [output], list(writing.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def pixels_of(model: Any, images: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model.SerializeToString()).run(["crop"], {"image": images})[0].astype(int)


def away(preprocessing: Preprocessing, image: np.ndarray) -> np.ndarray:
    """By how many levels the graph's pixels differ from ours."""
    (made,) = pixels_of(cropper(preprocessing), image[None])
    return np.abs(made - crop(Image.fromarray(image), preprocessing))


SIDES = st.one_of(st.integers(2, 60), st.integers(2, 700))
RESIZES = st.one_of(st.integers(1, 150), st.tuples(st.integers(1, 150), st.integers(1, 150)))


@settings(max_examples=120, deadline=None)
@given(
    height=SIDES,
    width=SIDES,
    resize=RESIZES,
    seen=st.integers(1, 160),
    interpolation=st.sampled_from(sorted(INTERPOLATIONS)),
    seed=st.integers(0, 9),
)
def test_pixels_are_pillows(
    height: int, width: int, resize: int | tuple[int, int], seen: int, interpolation: str, seed: int
) -> None:
    """To the level on the processors that we know; one level is what another's arithmetic may take."""
    difference = away(prepared(resize=resize, interpolation=interpolation, size=seen), noise(height, width, seed))
    assert difference.max() <= 1 and (difference > 0).mean() <= 0.001


@settings(max_examples=30, deadline=None)
@given(height=SIDES, width=SIDES, seen=st.integers(1, 160))
def test_an_image_at_its_native_resolution_is_cut_and_no_more(height: int, width: int, seen: int) -> None:
    assert away(prepared(resize=None, interpolation=None, size=seen), noise(height, width)).max() == 0


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(
    ("height", "width", "resize"),
    [(5000, 37, 8), (37, 5000, 8), (3000, 4000, 256), (2, 2, (97, 211)), (9, 12, 6), (8, 12, (6, 6)), (224, 224, 224)],
    ids=str,
)
def test_edges_of_windows_are_pillows(
    height: int, width: int, resize: int | tuple[int, int], interpolation: str
) -> None:
    """Where pixels lie exactly on the edge of a filter, and where it reaches thousands of them, or less than one."""
    difference = away(prepared(resize=resize, interpolation=interpolation, size=96), noise(height, width))
    assert difference.max() <= 1 and (difference > 0).mean() <= 0.001


@pytest.mark.parametrize("first", [False, True])
def test_the_order_of_passes_is_the_installed_pillows(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tall image whose columns shrink most: Pillow begins with them from version 13 on. The other order differs."""
    from pellucid.exports import resizing

    ours = resizing.COLUMNS_FIRST
    monkeypatch.setattr(resizing, "COLUMNS_FIRST", first)
    difference = away(prepared(interpolation="bicubic", size=32), noise(400, 90))
    assert (difference.max() == 0) == (first == ours)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_without_antialias_would_be_noticed(interpolation: str) -> None:
    """ONNX's own Resize of a 4:3 image, as other exports have it, is far beyond what is allowed here."""
    image = noise(300, 400) // 4 + np.linspace(0, 190, 400, dtype=np.uint8)[None, :, None]
    mode = {"bilinear": "linear", "bicubic": "cubic"}[interpolation]
    node = helper.make_node(
        "Resize", ["image", "", "", "sizes"], ["out"], mode=mode, coordinate_transformation_mode="half_pixel"
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "resize",
        [value("image", TensorProto.FLOAT, [1, 3, 300, 400])],
        [value("out", TensorProto.FLOAT, [1, 3, 32, 42])],
        [numpy_helper.from_array(np.array([1, 3, 32, 42]), "sizes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    planes = image.transpose(2, 0, 1)[None].astype(np.float32)
    (theirs,) = ort.InferenceSession(model.SerializeToString()).run(None, {"image": planes})[0]
    ours = crop(Image.fromarray(image), prepared(interpolation=interpolation, size=32)).astype(int)
    difference = np.abs(theirs.transpose(1, 2, 0)[:, 5:37] - ours)
    assert difference.max() > 20 and (difference > 1).mean() > 0.5


def test_several_images_of_one_extent_are_answered_at_once() -> None:
    from pellucid.exports.inside import of_image

    images = np.stack([noise(50, 70, seed) for seed in range(3)])
    preprocessing = prepared()
    expected = softmax(by_hand(np.stack([crop(Image.fromarray(each), preprocessing) for each in images])))
    given = answered(of_image(core(24), carded(preprocessing)), images)
    assert given.shape == (3, 3) and given.dtype == np.float32
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_outputs_of_several_crops_are_averaged_before_they_become_probabilities() -> None:
    from pellucid.exports.inside import of_image

    preprocessing = prepared(resize=40, crops=3, region=33)
    images = np.stack([noise(50, 70, seed) for seed in range(2)])
    regions = np.stack([crop(Image.fromarray(each), preprocessing) for each in images]).transpose(0, 3, 1, 2)
    logits = averaged(lambda part: by_hand(part.transpose(0, 2, 3, 1)), regions, preprocessing)
    given = answered(of_image(core(24), carded(preprocessing, temperature=1.7)), images)
    np.testing.assert_allclose(given, softmax(logits / 1.7), atol=1e-5)


def test_one_logit_is_the_second_classs() -> None:
    from pellucid.exports.inside import of_image

    preprocessing, image = prepared(), noise(50, 70)
    made = carded(preprocessing, classes=("ant", "bee"), one_logit=True, temperature=2.5)
    logit = by_hand(crop(Image.fromarray(image), preprocessing)[None], 1)[0, 0]
    bee = 1 / (1 + np.exp(-logit / 2.5))
    np.testing.assert_allclose(answered(of_image(core(24, 1), made), image[None]), [[1 - bee, bee]], atol=1e-6)


def test_red_and_blue_exchanged_are_noticed_by_what_the_file_says_of_itself() -> None:
    from pellucid.exports.inside import of_image

    graph = of_image(core(24), carded(prepared()))
    session = ort.InferenceSession(graph.SerializeToString())
    blue = np.full((1, 64, 64, 3), (0, 0, 255), np.uint8)
    right, swapped = (session.run(None, {"image": image})[0][0] for image in (blue, blue[..., ::-1]))
    best = int(right.argmax())
    assert f"all blue: {CLASSES[best]} {right[best]:.4f}" in session.get_modelmeta().description
    assert abs(swapped[best] - right[best]) > 0.01
    assert graph.graph.input[0].doc_string.startswith("uint8 RGB, red first, 0 to 255, rows from the top, upright")


def test_levels_of_0_to_1_are_refused() -> None:
    from pellucid.exports.inside import of_image

    with pytest.raises(Exception, match="uint8"):
        answered(of_image(core(24), carded(prepared())), np.zeros((1, 50, 50, 3), np.float32))


def test_a_core_of_another_opset_keeps_it() -> None:
    from pellucid.exports.inside import of_image

    newer = core(24)
    newer.opset_import[0].version = 21
    graph = of_image(newer, carded(prepared()))
    assert [each.version for each in graph.opset_import] == [21] and graph.ir_version <= 10
    image = noise(50, 70)
    np.testing.assert_allclose(
        answered(graph, image[None]), answered(of_image(core(24), carded(prepared())), image[None])
    )


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_photographs_are_answered_as_pillow_prepares_them(interpolation: str) -> None:
    from pellucid.exports.inside import of_image

    photographs = sorted(shared("data/imagenet-sample").glob("*.jpg"))[::15]
    preprocessing = prepared(resize=256, interpolation=interpolation, size=224)
    session = ort.InferenceSession(of_image(core(224), carded(preprocessing)).SerializeToString())
    for path in photographs:
        image = open_image(path)
        expected = softmax(by_hand(crop(image, preprocessing)[None]))
        given = session.run(None, {"image": np.asarray(image)[None]})[0]
        assert np.abs(given - expected).max() <= 1e-3, path.name


def test_openvino_answers_of_several_crops_as_onnx_runtime_does() -> None:
    openvino = pytest.importorskip("openvino")
    from pellucid.exports.inside import of_image

    graph = of_image(core(24), carded(prepared(resize=40, crops=3, region=33, interpolation="lanczos")))
    read = openvino.Core().read_model(graph.SerializeToString())
    compiled = openvino.Core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for height, width in [(50, 70), (300, 90)]:
        images = noise(height, width)[None]
        np.testing.assert_allclose(compiled([images])[0], answered(graph, images), atol=1e-3)


@pytest.mark.parametrize("interpolation", [None, *INTERPOLATIONS])
def test_openvino_has_the_same_pixels_within_a_level(interpolation: str | None) -> None:
    """It computes float64 as float32. With `nearest`, a centre on the edge of a pixel may fall into its neighbour."""
    openvino = pytest.importorskip("openvino")
    preprocessing = prepared(resize=interpolation and 40, interpolation=interpolation, size=32)
    read = openvino.Core().read_model(cropper(preprocessing).SerializeToString())
    compiled = openvino.Core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for height, width in [(300, 400), (400, 90), (20, 30), (8, 12)]:
        image = noise(height, width)
        difference = np.abs(compiled([image[None]])[0][0].astype(int) - crop(Image.fromarray(image), preprocessing))
        assert (difference > 0).mean() <= (0.05 if interpolation == "nearest" else 0.01)
        assert interpolation == "nearest" or difference.max() <= 1
