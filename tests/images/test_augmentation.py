"""Augmentation is decided by its seed alone, changes what it was asked to change, and nothing else."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import UserError
from pellucid.images.augmentation import Augmentation, augment, mix, random_part
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS, Preprocessing, crop
from tests import golden

UNCHANGED: dict[str, Any] = {"crop": "centre", "flip": 0.0}


def preprocessing(size: int = 16, resize: int | None = None) -> Preprocessing:
    return Preprocessing(
        resize=resize,
        interpolation=None if resize is None else "bilinear",
        size=size,
        background=(255, 255, 255),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def places(width: int, height: int) -> Image.Image:
    """An image whose red says the column and whose green says the row; blue is 255 inside the image."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.full_like(x, 255)], axis=2).astype(np.uint8))


def augmented(image: Image.Image, chosen: Preprocessing, seed: int = 0, **fields: Any) -> np.ndarray:
    return augment(np.asarray(image), Augmentation(**fields), chosen, seed=(seed, 0, 0))


def test_with_nothing_to_vary_an_image_is_cropped_as_in_validation():
    for chosen in (preprocessing(16), preprocessing(16, resize=20), preprocessing(64)):
        np.testing.assert_array_equal(augmented(noise(), chosen, **UNCHANGED), crop(noise(), chosen))


@settings(deadline=None, max_examples=60)
@given(
    fields=st.fixed_dictionaries(
        {
            "crop": st.sampled_from(["random-resized", "random", "centre"]),
            "flip": st.sampled_from([0.0, 0.5]),
            "vertical_flip": st.sampled_from([0.0, 0.5]),
            "blur": st.sampled_from([0.0, 1.0]),
            "jpeg": st.sampled_from([0.0, 1.0]),
        }
    ),
    seed=st.tuples(st.integers(0, 2**32), st.integers(0, 99), st.integers(0, 10**6)),
    extent=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    resize=st.sampled_from([None, 18]),
)
def test_the_seed_decides_everything(fields, seed, extent, resize):
    image, chosen = noise(*extent), preprocessing(16, resize)
    first = augment(np.asarray(image), Augmentation(**fields), chosen, seed=seed)
    assert first.shape == (16, 16, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, augment(np.asarray(image), Augmentation(**fields), chosen, seed=seed))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_another_seed_epoch_or_index_gives_another_version(part):
    seeds = [[7, 7, 7], [7, 7, 7]]
    seeds[1][part] = 8
    first, second = (augment(np.asarray(noise()), Augmentation(), preprocessing(16), seed=seed) for seed in seeds)
    assert (first != second).any()


def test_a_random_crop_at_native_resolution_is_cut_out_without_resampling():
    starts = set()
    for seed in range(300):
        pixels = augmented(places(20, 18), preprocessing(16), seed, crop="random", flip=0.0)
        left, top = int(pixels[0, 0, 0]), int(pixels[0, 0, 1])
        np.testing.assert_array_equal(pixels, np.asarray(places(20, 18))[top : top + 16, left : left + 16])
        starts.add((left, top))
    assert starts == {(left, top) for left in range(5) for top in range(3)}


def test_a_random_crop_of_a_smaller_image_is_framed_in_black():
    pixels = augmented(places(10, 40), preprocessing(16), crop="random", flip=0.0)
    np.testing.assert_array_equal(pixels[:, :, 2], np.pad(np.full((16, 10), 255), ((0, 0), (3, 3))))
    assert np.unique(pixels[:, 3, 1].astype(int) - np.arange(16)).size == 1  # the long side is still cut at random


def test_a_random_crop_comes_from_the_resized_image_where_preprocessing_resizes():
    whole = np.asarray(noise(40, 30).resize((26, 20), Image.Resampling.BILINEAR))
    pixels = augmented(noise(40, 30), preprocessing(16, resize=20), crop="random", flip=0.0)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16, 3))
    assert any((window == pixels).all() for window in windows.reshape(-1, 16, 16, 3))


@settings(deadline=None)
@given(
    interpolation=st.sampled_from(sorted(INTERPOLATIONS)),
    extent=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    size=st.integers(1, 224),
)
def test_a_random_resized_crop_of_the_whole_is_what_pillow_resizes(interpolation, extent, size):
    """To two of 255 levels, on noise; bicubic on average."""
    chosen = preprocessing(size, 20).model_copy(update={"interpolation": interpolation})
    shape = extent[0] / extent[1]
    pixels = augmented(noise(*extent), chosen, scale=(1.0, 1.0), ratio=(shape, shape), flip=0.0)
    expected = np.asarray(noise(*extent).resize((size, size), INTERPOLATIONS[interpolation]))
    away = np.abs(pixels.astype(int) - expected)
    assert away.max() <= 2 or (interpolation == "bicubic" and (away.mean() <= 2 or min(*extent, size) < 30))


@settings(deadline=None)
@given(
    extent=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    scale=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted),
    ratio=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)).map(sorted),
    seed=st.integers(0, 2**32),
)
def test_a_random_part_lies_within_the_image(extent, scale, ratio, seed):
    left, top, right, bottom = random_part(extent, tuple(scale), tuple(ratio), np.random.default_rng(seed))
    assert 0 <= left < right <= extent[0]
    assert 0 <= top < bottom <= extent[1]


def test_random_parts_have_the_areas_and_aspects_asked_for():
    random = np.random.default_rng(0)
    boxes = np.array([random_part((1000, 1000), (0.2, 0.6), (0.5, 2.0), random) for _ in range(500)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, aspect = across * down / 1000**2, across / down
    assert 0.199 < area.min() < 0.21
    assert 0.55 < area.max() < 0.601
    assert 0.499 < aspect.min() < 0.53
    assert 1.9 < aspect.max() < 2.01
    assert abs(np.log(aspect).mean()) < 0.1  # as often upright as lying


def test_where_no_part_fits_the_largest_of_the_nearest_aspect_is_taken():
    # 100 x 2 pixels have no part of 4:3 with 35 % of the area; the largest of 4:3 is 3 pixels wide, in the middle.
    assert random_part((100, 2), (0.35, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0)) == (48, 0, 51, 2)


def test_flips_mirror():
    straight = crop(noise(), preprocessing(16))
    np.testing.assert_array_equal(augmented(noise(), preprocessing(16), crop="centre", flip=1.0), straight[:, ::-1])
    turned = augmented(noise(), preprocessing(16), crop="centre", flip=0.0, vertical_flip=1.0)
    np.testing.assert_array_equal(turned, straight[::-1])


def test_flips_come_as_often_as_asked():
    straight = crop(noise(), preprocessing(8))
    versions = [augmented(noise(), preprocessing(8), seed, crop="centre", flip=0.25) for seed in range(400)]
    assert 70 <= sum((version != straight).any() for version in versions) <= 130  # 100 expected, deviation 8.7


def test_blur_leaves_less_detail_and_the_same_brightness():
    straight = crop(noise(), preprocessing(24)).astype(float)
    blurred = augmented(noise(), preprocessing(24), **UNCHANGED, blur=1.0, blur_sigma=(2.0, 2.0)).astype(float)
    assert blurred.std() < straight.std() / 3
    assert abs(blurred.mean() - straight.mean()) < 3


def test_jpeg_recompresses_at_a_quality_of_the_range(tmp_path):
    expected = set()
    for quality in (30, 31):
        Image.fromarray(crop(noise(), preprocessing(16))).save(tmp_path / "it.jpg", quality=quality)
        expected.add(np.asarray(Image.open(tmp_path / "it.jpg")).tobytes())
    seen = {
        augmented(noise(), preprocessing(16), seed, **UNCHANGED, jpeg=1.0, jpeg_quality=(30, 31)).tobytes()
        for seed in range(20)
    }
    assert seen == expected


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
def test_a_policy_is_seeded_too_and_leaves_torchs_generator_alone(policy):
    before = torch.get_rng_state()
    versions = [augmented(noise(), preprocessing(16), seed, **UNCHANGED, policy=policy) for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(versions[0], versions[1])
    assert len({version.tobytes() for version in versions}) >= 3


def test_erasing_overwrites_one_rectangle_with_noise():
    grey = Image.new("RGB", (64, 64), (90, 90, 90))
    for seed in range(10):
        pixels = augmented(grey, preprocessing(64), seed, **UNCHANGED, erasing=1.0)
        rows, columns = np.nonzero((pixels != 90).any(axis=2))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert 0.015 < box / 64**2 < 0.35  # torchvision's default: 2 % to 33 % of the area
        assert len(rows) > 0.95 * box


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 8).clone(), torch.tensor([0, 1, 2, 1])


def test_a_batch_that_is_not_to_be_mixed_comes_back_as_it_was():
    images, labels = batch()
    mixed, targets = mix(images, labels, Augmentation(), classes=3, seed=0)
    assert mixed is images
    assert targets is labels


def test_mixup_blends_images_and_classes_in_the_same_proportion():
    images, labels = batch()  # images of 0, 1, 2 and 3
    mixed, targets = mix(images, labels, Augmentation(mixup=1.0), classes=3, seed=1)
    # Each is blended with its neighbour: image 1 is a * 1 + (1 - a) * 0, its label a of class 1 and 1 - a of class 0.
    share = float(mixed[1, 0, 0, 0])
    assert 0 < share < 1
    torch.testing.assert_close(targets[1], torch.tensor([1 - share, share, 0.0]))
    torch.testing.assert_close(mixed[2], torch.full((3, 8, 8), 2 * share + 1 - share))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))


def test_cutmix_shares_classes_by_area():
    images, labels = batch()
    for seed in range(10):
        mixed, targets = mix(images, labels, Augmentation(cutmix=1.0), classes=3, seed=seed)
        own = float((mixed[1] == 1).float().mean())
        torch.testing.assert_close(targets[1], torch.tensor([1 - own, own, 0.0]))


def test_with_both_mixtures_each_batch_gets_one():
    images, labels = batch()
    both = Augmentation(mixup=1.0, cutmix=1.0)
    kinds = set()
    for seed in range(20):
        mixed, _ = mix(images, labels, both, classes=3, seed=seed)
        kinds.add("cutmix" if set(mixed[1].unique().tolist()) <= {0.0, 1.0} else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_mixing_is_seeded_and_leaves_torchs_generator_alone():
    images, labels = batch()
    before = torch.get_rng_state()
    first, again, other = (mix(images, labels, Augmentation(mixup=0.4), classes=3, seed=seed)[0] for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_importing_augmentation_needs_no_torch():
    program = """
import sys
import pellucid.images.augmentation
sys.exit(bool({"torch", "torchvision"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("range-backwards", {"scale": [0.9, 0.5]}),
        ("range-beyond", {"jpeg_quality": [50, 101]}),
        ("no-probability", {"flip": 1.5}),
        ("unknown-policy", {"policy": "autoaugment"}),
        ("unknown-name", {"hflip": 0.5}),
    ],
)
def test_what_cannot_be_done_is_refused(name, fields):
    with pytest.raises(UserError) as refused:
        Augmentation.from_fields(fields, "the augmentation")
    golden.check(f"augmentation/{name}", str(refused.value))
