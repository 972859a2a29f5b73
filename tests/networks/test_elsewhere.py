"""Weights of Keras, Paddle and TF-Slim: read from their files, and computing what those libraries computed.

What flowed there is kept in tests/references as samples, beside the programs that made them. Where a library is
installed, it is also run side by side:

    uv run --with tensorflow-cpu pytest tests/networks/test_elsewhere.py -m ""
    uv run --with paddlepaddle pytest tests/networks/test_elsewhere.py -m ""
"""

import pickle
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.errors import UserError
from pellucid.uses.parity import compare
from pellucid.weights.files import read_tensors
from pellucid.weights.kinds import TABLE
from tests.references.seeded import HERE, SEED, sampled, seeded_image, seeded_weights

slow = pytest.mark.slow
KEPT = [
    ("keras", "keras_resnet50", "resnet50", {"conventions": "tensorflow"}),
    pytest.param("keras", "keras_vgg16", "vgg16", {"conventions": "tensorflow"}, marks=slow),
    ("keras", "keras_inception_v3", "inception_v3", {"conventions": "tensorflow"}),
    pytest.param(
        "keras", "keras_inception_resnet_v2", "inception_resnet_v2", {"conventions": "tensorflow"}, marks=slow
    ),
    ("paddle", "paddle_resnet18", "resnet18", {}),
    pytest.param("paddle", "paddle_resnet50", "resnet50", {}, marks=slow),
    pytest.param("paddle", "paddle_vgg11_bn", "vgg11_bn", {}, marks=slow),
    ("paddle", "paddle_inception_v3", "inception_v3", {}),
    ("paddle", "paddle_inception_v1_plain", "inception_v1_plain", {"auxiliary": True}),
]
KEPT_SLIM = [
    ("slim_inception_v1_1_224", "inception_v1", {}),
    ("slim_inception_v2_0.5_160", "inception_v2", {"width": 0.5}),
    ("slim_inception_v3_0.5_224", "inception_v3", {"width": 0.5, "auxiliary": True}),
    pytest.param("slim_inception_v3_1_299", "inception_v3", {"auxiliary": True}, marks=slow),
]


def shapes_of(kept: Any) -> dict[str, tuple[int, ...]]:
    rows = zip(kept["names"], kept["shapes"], strict=True)
    return {str(name): tuple(int(side) for side in row if side) for name, row in rows}


def agrees(file: str, name: str, layout: str, *, dtype: torch.dtype, tolerance: float, **options: Any) -> None:
    """Every end point of `name` with the file's seeded weights is what the library's was, as a share of its spread."""
    kept = np.load(HERE / f"{file}.npz")
    shapes = shapes_of(kept)
    weights = seeded_weights(shapes, out_first=layout == "paddle", seed=SEED)
    size = int(kept["size"])
    net = pl.network(name, 7, size=size, **options).to(dtype).eval()
    report = pl.load_weights(net, {key: torch.from_numpy(value).to(dtype) for key, value in weights.items()})
    assert report.layout == layout and not report.left_random and not report.left_out
    image = torch.from_numpy(seeded_image(size, seed=SEED)).to(dtype)
    with torch.inference_mode():
        found = net.end_points(image.permute(0, 3, 1, 2))
    ends = [key.removeprefix("end_points/") for key in kept.files if key.startswith("end_points/")]
    assert {"Logits"} <= set(ends) and len(ends) >= 7
    for end in ends:
        ours = found[end].permute(0, 2, 3, 1) if found[end].ndim == 4 else found[end]
        expected = kept[f"end_points/{end}"]
        assert np.abs(sampled(ours.numpy()) - expected).max() <= tolerance * expected[-1], end


@pytest.mark.parametrize(("layout", "file", "name", "options"), KEPT)
def test_every_end_point_is_what_the_library_computed(
    layout: str, file: str, name: str, options: dict[str, Any]
) -> None:
    agrees(file, name, layout, dtype=torch.float32, tolerance=1e-4, **options)


@pytest.mark.parametrize(("file", "name", "options"), KEPT_SLIM)
def test_every_end_point_is_tf_slims_in_double_precision(file: str, name: str, options: dict[str, Any]) -> None:
    agrees(file, name, "tf-slim", dtype=torch.float64, tolerance=1e-9, conventions="tensorflow", **options)


def counted(index: int, *shape: int) -> torch.Tensor:
    """What the small files hold: the tensor's number in hundreds, and counting."""
    return torch.arange(float(np.prod(shape))).reshape(shape) + 100 * index


@pytest.mark.parametrize("file", ["small.keras", "small.h5", "small.weights.h5", "small_weights_only.h5"])
def test_each_format_of_keras_is_read(file: str) -> None:
    found = read_tensors(HERE / file)
    expected = {
        "conv1_conv/kernel": (3, 3, 3, 4),
        "conv1_conv/bias": (4,),
        "conv1_bn/gamma": (4,),
        "conv1_bn/beta": (4,),
        "conv1_bn/moving_mean": (4,),
        "conv1_bn/moving_variance": (4,),
        "conv2d/kernel": (1, 3, 4, 5),
        "batch_normalization/beta": (5,),  # which has no scale
        "batch_normalization/moving_mean": (5,),
        "batch_normalization/moving_variance": (5,),
        "predictions/kernel": (120, 2),
        "predictions/bias": (2,),
    }
    assert found.keys() == expected.keys()
    for index, (name, shape) in enumerate(expected.items()):
        assert torch.equal(found[name], counted(index, *shape)), name


@pytest.mark.parametrize("file", ["small_2.pdparams", "small_4.pdparams"])
def test_each_format_of_paddle_is_read_without_running_a_pickle(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle, "Unpickler", None)
    found = read_tensors(HERE / file)
    shapes = {"0.weight": (2, 3, 3, 3), "0.bias": (2,), "1.weight": (2,), "1.bias": (2,), "1._mean": (2,)}
    shapes |= {"1._variance": (2,), "2.weight": (4, 3), "2.bias": (3,)}
    assert found.keys() == shapes.keys()
    for index, (name, shape) in enumerate(shapes.items()):
        assert torch.equal(found[name], counted(index, *shape)), name


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return (Path.touch, (self.place,))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_would_call_something_is_refused_and_calls_nothing(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "bomb.pdparams"
    file.write_bytes(pickle.dumps({"fc.weight": np.zeros(3), "more": Bomb(tmp_path / "ran")}, protocol=protocol))
    with pytest.raises(UserError, match="holds more than weights"):
        read_tensors(file)
    assert not (tmp_path / "ran").exists()


def test_arrays_of_every_kind_come_out_of_a_pickle_as_pickle_has_them(tmp_path: Path) -> None:
    arrays = {
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "half": np.arange(4, dtype=np.float16),
        "count": np.array(7),
        "big-endian": np.arange(3, dtype=">f4"),
        "pair": ("linear_0.w_0", np.ones(2, dtype=np.float32)),
    }
    file = tmp_path / "some.pdparams"
    file.write_bytes(pickle.dumps({**arrays, "epoch": 3, "names": {"a": ["b"]}}))
    found = read_tensors(file)
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        array = value[1] if isinstance(value, tuple) else value
        assert found[name].tolist() == array.tolist(), name


def test_a_keras_file_of_another_network_is_refused_by_name() -> None:
    net = pl.network("resnet50", 7, size=32, conventions="tensorflow")
    with pytest.raises(UserError, match=r"conv1_conv/kernel is 4x3x3x3, and conv1\.conv\.weight is 64x3x7x7") as caught:
        pl.load_weights(net, HERE / "small.keras", layout="keras")
    assert "does not fit resnet50 by the names of keras" in str(caught.value)


def test_a_zip_that_is_no_keras_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    with pytest.raises(UserError, match=r"a zip archive of other things \(readme\.txt\)"):
        read_tensors(tmp_path / "other.keras")


def test_halves_of_paddle_become_single_precision() -> None:
    kept = np.load(HERE / "paddle_resnet18.npz")
    shapes = shapes_of(kept)
    weights = {key: torch.from_numpy(value) for key, value in seeded_weights(shapes, out_first=True, seed=1).items()}
    expected, brain = pl.network("resnet18", 7, size=32), pl.network("resnet18", 7, size=32)
    pl.load_weights(expected, {key: value.bfloat16().float() for key, value in weights.items()}, layout="paddle")
    # NumPy has no bfloat16: Paddle saves such weights as their bits.
    pl.load_weights(brain, {key: value.bfloat16().view(torch.uint16) for key, value in weights.items()})
    for name, tensor in brain.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name
        assert tensor.dtype != torch.bfloat16


needs_keras = pytest.mark.skipif(not find_spec("keras"), reason="keras is not installed: uv run --with tensorflow-cpu")
needs_tensorflow = pytest.mark.skipif(not find_spec("tensorflow"), reason="tensorflow is not installed")
needs_paddle = pytest.mark.skipif(not find_spec("paddle"), reason="paddle is not installed: uv run --with paddlepaddle")


@needs_keras
@pytest.mark.parametrize(
    "name", ["vgg16", "vgg19", "resnet50", "resnet101", "resnet152", "inception_v3", "inception_resnet_v2"]
)
def test_keras_side_by_side(name: str) -> None:
    assert compare(name, against="keras").first is None


@needs_paddle
@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn", "resnet34", "resnet101", "inception_v3", "inception_v1_plain"])
def test_paddle_side_by_side(name: str) -> None:
    assert compare(name, against="paddle").first is None


@needs_keras
@pytest.mark.parametrize("file", ["net.keras", "net.h5", "net.weights.h5"])
def test_a_file_that_keras_saved_agrees_with_keras(tmp_path: Path, file: str) -> None:
    import keras

    net = keras.applications.InceptionV3(weights=None, input_shape=(139, 139, 3), classes=5)  # numbered from anywhere
    net = keras.applications.InceptionV3(weights=None, input_shape=(139, 139, 3), classes=5)
    (net.save_weights if "weights" in file else net.save)(tmp_path / file)
    found = compare("inception_v3", against="keras", weights=tmp_path / file, size=139)
    assert found.first is None and len(found.compared) == 20


@needs_paddle
def test_a_file_that_paddle_saved_agrees_with_paddle(tmp_path: Path) -> None:
    import paddle

    paddle.save(paddle.vision.models.resnet18(num_classes=5).state_dict(), str(tmp_path / "net.pdparams"))
    assert compare("resnet18", against="paddle", weights=tmp_path / "net.pdparams", size=96).first is None


@needs_tensorflow
@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_tensorflow_is_read(tmp_path: Path, version: int) -> None:
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("InceptionV3/Conv2d_1a_3x3/weights", initializer=np.ones((3, 3, 3, 32), np.float32))
        tf.get_variable("global_step", initializer=np.int64(7))
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(write_version=version)
        place = saver.save(session, str(tmp_path / "model.ckpt"), write_meta_graph=False)
    found = read_tensors(Path(place))
    assert found["InceptionV3/Conv2d_1a_3x3/weights"].shape == (3, 3, 3, 32)


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="tensorflow is installed")
def test_a_checkpoint_without_tensorflow_is_told(tmp_path: Path) -> None:
    index = tmp_path / "model.ckpt.index"
    index.write_bytes(bytes(40) + TABLE)
    old = tmp_path / "old.ckpt"  # one file, as before TensorFlow 0.12
    old.write_bytes(bytes(40) + TABLE)
    for place in (tmp_path / "model.ckpt", index, tmp_path / "model.ckpt.data-00000-of-00001", old):
        with pytest.raises(UserError, match="tensorflow is not installed") as caught:
            read_tensors(place)
        assert "tensorflow-cpu" in str(caught.value)
    index.write_bytes(b"")
    with pytest.raises(UserError, match="no index of a TensorFlow checkpoint"):
        read_tensors(tmp_path / "model.ckpt")


def test_a_library_that_is_not_installed_or_unknown_is_told() -> None:
    with pytest.raises(UserError, match="no library 'kears'") as caught:
        compare("resnet50", against="kears")
    assert "did you mean keras?" in str(caught.value)
    if not find_spec("keras"):
        with pytest.raises(UserError, match="keras is not installed") as caught:
            compare("resnet50", against="keras")
        assert "pip install tensorflow-cpu" in str(caught.value)
