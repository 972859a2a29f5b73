"""Preprocessing gives what torchvision's transforms give, to the last bit, and refuses what contradicts itself."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import UserError
from pellucid.images.decode import Unreadable
from pellucid.images.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    INTERPOLATIONS,
    Preprocessing,
    crop,
    normalise,
    prepare,
    resized,
)

FIELDS: dict[str, Any] = {
    "resize": 8,
    "interpolation": "bilinear",
    "size": 8,
    "background": (255, 255, 255),
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
}


def preprocessing(**changed: Any) -> Preprocessing:
    return Preprocessing.from_fields(FIELDS | changed, "the preprocessing")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def transforms() -> ModuleType:
    """torchvision takes seconds to import: once, and only when these tests run."""
    return pytest.importorskip("torchvision.transforms")


def by_torchvision(transforms: ModuleType, image: Image.Image, chosen: Preprocessing) -> np.ndarray:
    steps = [transforms.CenterCrop(chosen.size), transforms.ToTensor(), transforms.Normalize(chosen.mean, chosen.std)]
    if chosen.resize is not None:
        how = transforms.InterpolationMode(chosen.interpolation)
        steps.insert(0, transforms.Resize(chosen.resize, interpolation=how))
    return transforms.Compose(steps)(image).numpy()


@settings(max_examples=150, deadline=None)
@given(
    extent=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    resize=st.one_of(st.none(), st.integers(1, 48), st.tuples(st.integers(1, 48), st.integers(1, 48))),
    interpolation=st.sampled_from(sorted(INTERPOLATIONS)),
    size=st.integers(1, 64),
    seed=st.integers(0, 9),
)
def test_any_image_becomes_what_torchvision_makes_of_it(transforms, extent, resize, interpolation, size, seed):
    chosen = preprocessing(resize=resize, interpolation=None if resize is None else interpolation, size=size)
    image = noise(*extent, seed=seed)
    np.testing.assert_array_equal(prepare(image, chosen), by_torchvision(transforms, image, chosen))


@pytest.mark.parametrize(("resize", "size"), [(256, 224), (232, 224), (342, 299), (96, 96)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_published_sizes_agree_with_torchvision_on_a_landscape(transforms, resize, size, interpolation):
    chosen = preprocessing(resize=resize, interpolation=interpolation, size=size)
    image = noise(500, 375)
    np.testing.assert_array_equal(prepare(image, chosen), by_torchvision(transforms, image, chosen))


def test_normalising_is_scaling_less_the_mean_over_the_deviation():
    chosen = preprocessing(mean=(0.5, 0.0, 0.2), std=(0.5, 1.0, 0.1))
    pixels = np.array([[[255, 51, 51], [0, 255, 0]]], dtype=np.uint8)  # one row of two pixels
    # By hand: (1 - 0.5) / 0.5, (0 - 0.5) / 0.5; 0.2, 1; (0.2 - 0.2) / 0.1, (0 - 0.2) / 0.1.
    expected = [[[1.0, -1.0]], [[0.2, 1.0]], [[0.0, -2.0]]]
    np.testing.assert_allclose(normalise(pixels, chosen), expected, atol=1e-6)


def test_normalising_a_batch_is_normalising_each_image():
    chosen = preprocessing()
    pixels = np.random.default_rng(1).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    batch = normalise(pixels, chosen)
    assert batch.shape == (3, 3, 5, 4)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, [normalise(image, chosen) for image in pixels])


@pytest.mark.parametrize(
    ("extent", "resize", "expected"),
    [
        ((500, 375), 256, (341, 256)),  # 256 * 500 / 375 = 341.33, cut off
        ((375, 500), 256, (256, 341)),
        ((64, 64), 48, (48, 48)),
        ((640, 480), (10, 20), (20, 10)),  # (height, width)
        ((1000, 1), 4, (4000, 4)),
    ],
)
def test_the_shorter_side_is_resized_and_the_other_follows(extent, resize, expected):
    assert resized(extent, resize) == expected


def test_at_native_resolution_the_centre_is_cut_out_untouched():
    image = noise(20, 14)
    pixels = crop(image, preprocessing(resize=None, interpolation=None, size=8))
    np.testing.assert_array_equal(pixels, np.asarray(image)[3:11, 6:14])


def test_an_image_smaller_than_the_crop_is_framed_in_black():
    pixels = crop(noise(4, 6), preprocessing(resize=None, interpolation=None, size=10))
    assert pixels.shape == (10, 10, 3)
    np.testing.assert_array_equal(pixels[2:8, 3:7], np.asarray(noise(4, 6)))
    assert pixels.sum() == np.asarray(noise(4, 6)).sum(dtype=int)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"resize": None}, "resize and interpolation are given together"),
        ({"interpolation": None}, "resize and interpolation are given together"),
        ({"size": 0}, "at least 1 pixel"),
        ({"resize": 0}, "at least 1 pixel"),
        ({"resize": (8, 0)}, "at least 1 pixel"),
        ({"std": (0.2, 0.0, 0.2)}, "std is above 0"),
        ({"background": (0, 0, 256)}, "background is 0 to 255"),
        ({"mean": (0.5, 0.5)}, "mean.2 is missing"),
        ({"interpolation": "cubic"}, "bicubic"),
        ({"sise": 8}, "did you mean size"),
    ],
)
def test_what_contradicts_itself_is_refused(changed, said):
    with pytest.raises(UserError) as refused:
        preprocessing(**changed)
    assert said in str(refused.value)


def test_nothing_has_a_default():
    for name in FIELDS:
        with pytest.raises(UserError, match="preprocessing"):
            Preprocessing.from_fields(
                {field: value for field, value in FIELDS.items() if field != name}, "preprocessing"
            )


def test_a_record_read_back_from_json_is_the_same():
    chosen = preprocessing(resize=(9, 7))
    assert Preprocessing.from_json(chosen.to_json(), "it") == chosen


@pytest.mark.parametrize("extent", [(60_000, 2), (2, 60_000), (1_000_000, 40)])
def test_an_image_that_would_grow_beyond_all_bounds_is_refused_by_name(extent):
    with pytest.raises(Unreadable, match=r"^strip\.png: too long and thin: "):
        resized(extent, 224, name="strip.png")
    # where the file that it came from is known, whoever opens it says so
    width, height = (side if side > 1_000 else 2 for side in extent)
    with pytest.raises(Unreadable, match="strip"):
        prepare(Image.new("RGB", (width, height)), preprocessing(resize=256, size=224), name="strip")


@pytest.mark.parametrize("extent", [(4_000, 20), (20_000, 15_000), (2, 2), (100, 3)])
def test_long_images_that_people_have_are_resized(extent):
    assert min(resized(extent, 224)) == 224
