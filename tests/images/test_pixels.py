"""Pixels decoded once: the reference's own where it counts, close to it where a large photograph is reduced."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

import pellucid as pl
from pellucid.errors import UserError
from pellucid.images.augmentation import Augmentation, augment, random_part
from pellucid.images.decode import Unreadable, open_image, open_reduced
from pellucid.images.loading import Images
from pellucid.images.pixels import Decoded, Decoding, Form, PixelCache, Request, decode
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, averaged, crop, prepare, single
from pellucid.images.samples import Sample
from pellucid.runs.model_file import load_model_file
from tests.pictures import make_classes
from tests.shared import shared

USUAL = Preprocessing(
    resize=256, interpolation="bilinear", size=224, background=(255, 255, 255), mean=IMAGENET_MEAN, std=IMAGENET_STD
)
NATIVE = USUAL.model_copy(update={"resize": None, "interpolation": None})
EXIF_TURN = 274


def detailed(path: Path, size: tuple[int, int], *, turn: int = 1) -> Path:
    """A picture with edges, surfaces and grain, as a photograph has them."""
    random = np.random.default_rng(0)
    coarse, blocks = (random.integers(0, 256, extent, dtype=np.uint8) for extent in ((12, 16, 3), (60, 80, 3)))
    soft = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    hard = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)
    grain = random.normal(0, 6, (size[1], size[0], 1))
    mixed = np.asarray(Image.blend(soft, hard, 0.4).filter(ImageFilter.GaussianBlur(1.5))) + grain
    exif = Image.Exif()
    exif[EXIF_TURN] = turn
    Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).save(path, quality=92, exif=exif)
    return path


def forms_of(path: Path, *forms: Form) -> dict[Form, Decoded]:
    return decode(path.read_bytes(), forms, name=path.name)


@pytest.mark.parametrize("turn", [1, 6])
def test_crops_of_a_reduced_photograph_are_the_same_parts_and_close(tmp_path: Path, turn: int) -> None:
    """A 4-megapixel photograph at a quarter: on average within 2 of 255 levels, 99 % within 12."""
    random = np.random.default_rng(1)
    path = detailed(tmp_path / "large.jpg", (2304, 1792), turn=turn)
    varied = Augmentation()
    form = Form.of(USUAL, varied)
    assert form.least == 379  # 224 / sqrt(0.35)
    kept = forms_of(path, form)[form]
    whole = open_image(path)
    assert whole.size == ((2304, 1792) if turn == 1 else (1792, 2304))
    assert kept.reduced and kept.pixels.shape[1::-1] == tuple(side // 4 for side in whole.size)
    for _ in range(4):
        left, top, right, below = part = random_part(kept.pixels.shape[1::-1], (0.35, 1.0), (0.75, 1.33), random)
        shape = (right - left) / (below - top)
        as_it_is = Augmentation(scale=(1.0, 1.0), ratio=(shape, shape), flip=0.0)
        ours = augment(kept.pixels[top:below, left:right], as_it_is, USUAL, seed=(1,))
        reference = whole.resize((224, 224), Image.Resampling.BILINEAR, box=[4 * side for side in part])
        away = np.abs(ours.astype(int) - np.asarray(reference))
        assert away.mean() < 2 and np.percentile(away, 99) < 12


@pytest.mark.parametrize("turn", [1, 6])
def test_training_on_one_crop_sees_what_validation_sees_but_for_a_reduced_scale(tmp_path: Path, turn: int) -> None:
    path = detailed(tmp_path / "large.jpg", (2304, 1792), turn=turn)
    reference = crop(open_image(path), USUAL).astype(int)
    for how, away in (("reduced", 2.0), ("full", 0.0)):
        same = Augmentation(crop="centre", flip=0.0, decode=how)
        form = Form.of(USUAL, same)
        kept = forms_of(path, form)[form]
        assert kept.reduced == (how == "reduced")
        ours = np.abs(augment(kept.pixels, same, USUAL, seed=(1,)) - reference)
        assert ours.mean() <= away and np.percentile(ours, 99) <= 6 * away


def test_real_photographs_that_are_small_stay_as_they_are() -> None:
    folder = shared("data/hymenoptera/train/bees")
    form = Form.of(USUAL, Augmentation())
    for path in sorted(folder.iterdir())[:5]:
        assert np.array_equal(forms_of(path, form)[form].pixels, np.asarray(open_image(path)))


@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(8, 900),
    height=st.integers(8, 900),
    how=st.sampled_from([USUAL, NATIVE]),
    varied=st.sampled_from(
        [None, Augmentation(), Augmentation(crop="random"), Augmentation(crop="centre"), Augmentation(decode="full")]
    ),
    suffix=st.sampled_from(["png", "jpg"]),
)
def test_a_form_gives_what_the_reference_gives(
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    height: int,
    how: Preprocessing,
    varied: Augmentation | None,
    suffix: str,
) -> None:
    """Exactly, but where a form reduces: that is for photographs of twice the size that is needed."""
    path = tmp_path_factory.mktemp("one") / f"image.{suffix}"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    form = Form.of(how, varied)
    kept = forms_of(path, form, Form.of(how, None))
    image = open_image(path)
    assert np.array_equal(kept[Form.of(how, None)].pixels, crop(image, how))
    if varied is not None and not (form.least and min(width, height) >= 2 * form.least):
        ours = augment(kept[form].pixels, varied, how, seed=(2,))
        assert np.array_equal(ours, augment(np.asarray(image), varied, how, seed=(2,)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_photograph_is_noticed_at_every_scale(tmp_path: Path, share: float, progressive: bool) -> None:
    path = detailed(tmp_path / "whole.jpg", (640, 480))
    Image.open(path).save(path, progressive=progressive)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for least in (1, 100, 480):
        with pytest.raises(Unreadable):
            open_reduced(path, least=least)


def last(steps: list[Decoding]) -> tuple[str | Unreadable, ...]:
    return steps[-1].found


def test_pixels_are_decoded_once_and_never_believed_when_touched(tmp_path: Path) -> None:
    paths = [detailed(tmp_path / f"{number}.jpg", (60 + number, 50)) for number in range(4)]
    (tmp_path / "broken.jpg").write_bytes(paths[0].read_bytes()[:500])
    how = USUAL.model_copy(update={"resize": 40, "size": 32})
    forms = (Form.of(how, None), Form.of(how, Augmentation()))
    wanted = [Request(path, forms) for path in (*paths, tmp_path / "broken.jpg")]

    def filled(limit: int = 10**9) -> tuple[PixelCache, tuple[str | Unreadable, ...]]:
        cache = PixelCache(tmp_path / "cache", limit=limit)
        return cache, last(list(cache.fill(wanted)))

    cache, found = filled()
    assert cache.decoded == 4 and isinstance(found[4], Unreadable) and found[4].reason == "truncated or damaged"
    again, same = filled()
    assert again.decoded == 0 and same[:4] == found[:4]
    for path, content in zip(paths, found, strict=False):
        kept = again.get(forms[0], str(content))
        assert kept is not None and np.array_equal(kept, crop(open_image(path), how))
    note = next((tmp_path / "cache").rglob("*.json"))
    array = note.with_suffix(".values")
    harmed = bytearray(array.read_bytes())
    harmed[-1] ^= 1
    array.write_bytes(harmed)
    assert filled()[0].decoded == 4
    told = json.loads(note.read_text()) if note.exists() else None
    assert told is None  # what was damaged is gone
    assert filled(limit=1000)[0].fits  # there is nothing new


def test_where_all_does_not_fit_nothing_is_kept_and_training_sees_the_same(tmp_path: Path) -> None:
    paths = [detailed(tmp_path / f"{number}.jpg", (60, 50)) for number in range(3)]
    how = USUAL.model_copy(update={"resize": 40, "size": 32})
    wanted = [Request(path, (Form.of(how, None),)) for path in paths]
    cache = PixelCache(tmp_path / "cache", limit=3 * 3 * 32 * 32)  # half of it may be taken
    found = last(list(cache.fill(wanted)))
    assert not cache.fits and cache.decoded == 0 and not (tmp_path / "cache").exists()
    files = [Sample(path, "a", "train", sha256=str(content)) for path, content in zip(paths, found, strict=True)]
    images = Images(files, ("a",), how, None, 0, cache=cache)
    for index, path in enumerate(paths):
        assert np.array_equal(images.pixels(index), crop(open_image(path), how))


def test_pixels_of_a_file_that_changes_meanwhile_are_never_cached_under_another_hash(tmp_path: Path) -> None:
    """It is written anew whenever the cache tells how far it is: before, between and after whatever it reads."""
    paths = [detailed(tmp_path / f"{number}.jpg", (40 + number, 50)) for number in range(20)]
    form = Form.of(USUAL.model_copy(update={"resize": 40, "size": 32}), None)
    versions = dict[str, np.ndarray]()
    for shade in range(10):
        Image.new("RGB", (64, 48), (25 * shade, 0, 0)).save(tmp_path / f"{shade}.png")
        content = (tmp_path / f"{shade}.png").read_bytes()
        versions[sha256(content).hexdigest()] = crop(open_image(content), form.preprocessing)
    cache, moments, found = PixelCache(tmp_path / "cache", limit=10**9), 0, ()
    for state in cache.fill([Request(path, (form,)) for path in paths]):
        for path in paths:
            path.write_bytes((tmp_path / f"{moments}.png").read_bytes())
        moments, found = moments + 1, state.found
    assert moments > 2 and len(found) == 20
    for content in found:
        pixels = cache.get(form, str(content))
        assert pixels is not None and np.array_equal(pixels, versions[str(content)])


def test_a_file_that_changed_after_it_was_divided_is_refused_where_it_was_not_cached(tmp_path: Path) -> None:
    """Or what is computed from it, features say, would be cached as that of another image."""
    path = detailed(tmp_path / "a.jpg", (60, 50))
    sample = Sample(path, "a", "train", sha256=sha256(path.read_bytes()).hexdigest())
    images = Images([sample], ("a",), USUAL.model_copy(update={"resize": 40, "size": 32}), None, 0, memory=0)
    images.pixels(0)
    Image.new("RGB", (64, 48)).save(path)
    with pytest.raises(Unreadable, match=r"a\.jpg: changed since the images were divided"):
        images.pixels(0)


def test_processes_decode_only_where_there_is_something_to_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.training.machine.os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    photos = make_classes(tmp_path / "photos")
    asked = {"model": "small", "size": 32, "batch": 8, "epochs": 1, "device": "cpu"}
    for pixels, workers in (("auto", 0), ("off", 1)):
        features = {"folder": str(tmp_path / "cache"), "pixels": pixels}
        run = pl.train(photos, **asked, features=features, runs=tmp_path / pixels)
        (started,) = (event for event in run.events() if event.event == "started")
        assert started.workers == workers


def test_several_crops_are_spread_evenly_and_averaged() -> None:
    """By hand: of 10 pixels, three crops of 4 begin at 0, 3 and 6."""
    how = NATIVE.model_copy(update={"size": 4, "crops": 3, "region": 10})
    image = np.arange(100, dtype=np.float32).reshape(1, 1, 10, 10)
    seen = []
    mean = averaged(lambda crops: seen.append(crops[0, 0, 0, 0]) or crops.mean(axis=(1, 2, 3)), image, how)
    assert seen == [0, 3, 6, 30, 33, 36, 60, 63, 66]
    assert mean == pytest.approx(49.5)  # symmetric
    assert how.seen == 10 and single(how).seen == 4
    with pytest.raises(UserError, match="several crops need a region"):
        Preprocessing.from_fields(how.model_dump() | {"region": None}, "a card")


def test_a_model_that_looks_at_several_crops_proves_it(tmp_path: Path) -> None:
    photos = make_classes(tmp_path / "photos")
    settings = {
        "model": "small",
        "size": 16,
        "batch": 8,
        "epochs": 2,
        "machine": {"workers": 0},
        "runs": tmp_path / "runs",
    }
    several = {"resize": "native", "crops": 2, "region": 28}
    run = pl.train(photos, **settings, input=several, augmentation={"crop": "random"})
    model = pl.load(run.path)
    assert (model.card.preprocessing.crops, model.card.preprocessing.region) == (2, 28)
    path = next(photos.rglob("*.png"))
    (told,) = model.predict([path])
    inputs = prepare(open_image(path), model.card.preprocessing)
    assert inputs.shape == (3, 28, 28)
    corners = [inputs[None, :, top : top + 16, left : left + 16] for top in (0, 12) for left in (0, 12)]
    with torch.no_grad():
        logits = torch.stack([load_model_file(run.model).network(torch.from_numpy(corner)) for corner in corners]).mean(
            dim=0
        )
    shares = torch.softmax(logits / model.card.temperature, dim=1)[0]
    assert dict(told.ranking) == pytest.approx(dict(zip(model.classes, shares.tolist(), strict=True)), abs=1e-5)
    # The last validation of training saw the same, and so does a probe on kept features.
    best = [event for event in run.events() if event.event == "validated" and event.best][-1]
    assert pl.evaluate(run.path, part="validation").accuracy == best.accuracy
    probe = pl.train(photos, **(settings | {"epochs": None}), mode="probe", weights=str(run.model), input=several)
    (told_probe,) = (event for event in probe.events() if event.event == "validated")
    assert pl.evaluate(probe.path, part="validation").accuracy == told_probe.accuracy


def test_an_image_too_long_to_be_resized_is_refused_by_name_in_whatever_form_it_is_wanted(tmp_path: Path) -> None:
    strip = tmp_path / "strip.png"
    Image.new("RGB", (60_000, 2)).save(strip)
    plain = Preprocessing(
        resize=256,
        interpolation="bilinear",
        size=224,
        background=(255, 255, 255),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    forms = (Form.of(plain, None), Form.of(plain, Augmentation(crop="centre")))
    for wanted in (Request(strip, (), 256), *(Request(strip, (form,), 256) for form in forms)):
        *_, last = PixelCache(tmp_path / "cache", limit=1 << 30).fill([wanted])
        (refused,) = last.found
        assert isinstance(refused, Unreadable) and refused.name == str(strip) and "too long and thin" in refused.reason
