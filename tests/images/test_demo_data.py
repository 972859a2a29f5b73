"""The demo data set: the same from the same seed, readable as any table, and with nothing but traces to tell by."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import UserError
from pellucid.images import demo
from pellucid.images.demo import ORIGINAL, UPSAMPLED, Upsampling, build_demo, detail, draw_networks
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from tests import golden

TILES = 312  # 12 pairs from each of 13 photographs


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo(tmp_path_factory.mktemp("demo") / "tiles-0", tiles=TILES)


@pytest.fixture(scope="module")
def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(table: Path, row: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(table.parent / row["path"]))


def file_sizes(table: Path, rows: list[dict[str, str]], label: str) -> np.ndarray:
    return np.array([(table.parent / row["path"]).stat().st_size for row in rows if row["label"] == label])


def test_it_is_read_as_a_table_with_labels_and_groups(table):
    samples = read_samples(table)
    assert samples.classes == (ORIGINAL, UPSAMPLED)
    assert len(samples) == TILES
    assert {sample.group for sample in samples} == set(demo.PHOTOGRAPHS)


def test_both_classes_have_the_same_tiles_of_each_photograph(rows):
    counts = Counter((row["group"], row["label"]) for row in rows)
    assert set(counts.values()) == {TILES / 26}


def test_a_split_leaves_every_photograph_on_one_side(table):
    parts = split(read_samples(table), train="0.6", validation="0.15", test="rest")
    sides = {group: {file.part for file in parts.files if file.group == group} for group in demo.PHOTOGRAPHS}
    assert all(len(side) == 1 for side in sides.values())
    assert {part for side in sides.values() for part in side} == {"train", "validation", "test"}


def test_tiles_are_rgb_jpegs_of_96_pixels_that_were_all_compressed_alike(table, rows):
    images = [Image.open(table.parent / row["path"]) for row in rows]
    assert {(image.format, image.mode, image.size) for image in images} == {("JPEG", "RGB", (96, 96))}
    assert len({str(image.quantization) for image in images}) == 1
    assert len({str(sorted(image.info)) for image in images}) == 1


def test_no_tile_is_there_twice(table, rows):
    assert len({(table.parent / row["path"]).read_bytes() for row in rows}) == len(rows)


def test_names_are_numbers_whose_order_says_nothing(rows):
    assert [row["path"] for row in rows] == [f"tiles/{number:04}.jpg" for number in range(1, TILES + 1)]
    upsampled = np.array([row["label"] == UPSAMPLED for row in rows])
    # Of a fair coin's 311 changes from one to the next, 155.5 are expected, with a deviation of 8.8.
    assert 120 < (upsampled[1:] != upsampled[:-1]).sum() < 191
    assert 0.4 < upsampled[: TILES // 2].mean() < 0.6


def test_file_size_does_not_tell_the_classes_apart(table, rows):
    original, upsampled = (file_sizes(table, rows, label) for label in (ORIGINAL, UPSAMPLED))
    larger = (original[:, None] > upsampled).mean() + (original[:, None] == upsampled).mean() / 2  # ROC AUC
    assert abs(larger - 0.5) < 0.08  # its standard error at 156 of each is 0.033


def test_brightness_and_colour_do_not_tell_the_classes_apart(table, rows):
    means = {
        label: np.array([pixels(table, row).mean(axis=(0, 1)) for row in rows if row["label"] == label])
        for label in (ORIGINAL, UPSAMPLED)
    }
    for channel in range(3):
        ours, theirs = sorted(means[ORIGINAL][:, channel]), sorted(means[UPSAMPLED][:, channel])
        np.testing.assert_allclose(ours, theirs, atol=1.5)  # the same tiles, so nearly the same list of means


def test_an_upsampled_tiles_edge_is_like_its_inside(table, rows):
    # A filter that met the edge would leave another brightness in the outermost rows and columns of one class.
    difference = {
        label: np.mean([_edge(pixels(table, row)) for row in rows if row["label"] == label])
        for label in (ORIGINAL, UPSAMPLED)
    }
    assert abs(difference[ORIGINAL] - difference[UPSAMPLED]) < 0.5  # grey levels


def _edge(tile: np.ndarray) -> float:
    grey = tile.astype(float).mean(axis=2)
    outer = [grey[:2], grey[-2:], grey[:, :2].T, grey[:, -2:].T]
    inner = [grey[2:4], grey[-4:-2], grey[:, 2:4].T, grey[:, -4:-2].T]
    return float(np.mean(outer) - np.mean(inner))


def test_what_upsampling_leaves_shows_in_the_spectrum(table, rows):
    """Among zeros, or repeated, the coarse half of the spectrum comes again as the fine half."""
    mirrored = {}
    for label in (ORIGINAL, UPSAMPLED):
        values = []
        for row in rows:
            if row["label"] == label:
                grey = pixels(table, row).astype(float).mean(axis=2)
                window = np.outer(np.hanning(96), np.hanning(96))
                power = np.abs(np.fft.fft2((grey - grey.mean()) * window))
                coarse, fine = power[2:40, 2:40], power[50:88, 2:40]  # the second is the first, 48 rows of frequency on
                values.append(np.corrcoef(np.log1p(coarse).ravel(), np.log1p(fine).ravel())[0, 1])
        mirrored[label] = np.mean(values)
    assert mirrored[UPSAMPLED] > mirrored[ORIGINAL] + 0.1


def test_tiles_have_detail_all_over(table, rows):
    details = [detail(pixels(table, row).astype(np.float32)) for row in rows if row["label"] == ORIGINAL]
    assert min(details) > 0.8 * demo.LEAST_DETAIL  # JPEG takes a little


def test_detail_is_the_distance_from_the_neighbours_mean():
    board = np.indices((96, 96)).sum(axis=0) % 2 * 10.0  # 0 and 10 by turns: each is 10 from its neighbours
    assert detail(np.repeat(board[:, :, None], 3, axis=2).astype(np.float32)) == pytest.approx(10, rel=0.02)
    half_empty = board.copy()
    half_empty[:, 40:] = 0  # 3 of 6 columns of blocks are empty, and one in part
    assert detail(np.repeat(half_empty[:, :, None], 3, axis=2).astype(np.float32)) == 0


def test_a_nearest_network_without_a_filter_repeats_pixels():
    small = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    nothing = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(Upsampling("nearest", nothing).enlarge(small), small.repeat(2, 0).repeat(2, 1))


def test_a_transposed_network_interpolates_as_transposed_convolution_does():
    import torch

    small = np.random.default_rng(0).random((5, 6, 3), dtype=np.float32)
    weights = np.random.default_rng(1).random((3, 3), dtype=np.float32)
    channels = torch.from_numpy(small).permute(2, 0, 1)[:, None]
    theirs = torch.nn.functional.conv_transpose2d(
        channels, torch.from_numpy(weights[::-1, ::-1].copy())[None, None], stride=2, padding=1, output_padding=1
    )
    ours = Upsampling("transposed", weights).enlarge(small)
    np.testing.assert_allclose(ours, theirs[:, 0].permute(1, 2, 0).numpy(), atol=1e-6)


def test_drawn_networks_are_of_every_kind_and_keep_brightness():
    networks = list(draw_networks(np.random.default_rng(0)))
    assert {(network.kind, network.weights.shape) for network in networks} == {
        (kind, (size, size)) for kind in ("nearest", "transposed") for size in (3, 5)
    }
    plain = np.full((12, 12, 3), 80, dtype=np.float32)
    for network in networks:
        assert network.enlarge(plain)[6:-6, 6:-6].mean() == pytest.approx(80, rel=1e-4)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(table, tmp_path):
    again = build_demo(tmp_path / "again", tiles=TILES)
    assert _contents(again) == _contents(table)
    other = build_demo(tmp_path / "other", tiles=TILES, seed=1)
    assert not _contents(other) & _contents(table)


def _contents(table: Path) -> set[bytes]:
    return {path.read_bytes() for path in [table, *(table.parent / "tiles").iterdir()]}


def test_a_data_set_that_is_there_is_left_as_it_is(tmp_path):
    table = build_demo(tmp_path / "it", tiles=26)
    before = {path: path.stat().st_mtime_ns for path in table.parent.rglob("*")}
    assert build_demo(tmp_path / "it", tiles=26) == table
    assert {path: path.stat().st_mtime_ns for path in table.parent.rglob("*")} == before


def test_progress_is_told_scene_by_scene(tmp_path):
    heard: list[tuple[int, int]] = []
    build_demo(tmp_path / "it", tiles=26, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(done, 13) for done in range(14)]


def test_an_interrupted_build_leaves_nothing(tmp_path):
    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(tmp_path / "it", tiles=26, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        build_demo(Path("mine"), tiles=26)
    golden.check("demo/holds-something-else", str(refused.value))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        build_demo(Path("file/demo"), tiles=26)
    golden.check("demo/cannot-be-written", str(refused.value))


def test_photographs_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "PHOTOGRAPHS", {"cat": ("skimage/data/cat.png",), "dog": ("no_package/dog.png",)})
    with pytest.raises(UserError) as refused:
        build_demo(Path("it"), tiles=26)
    golden.check("demo/photographs-missing", str(refused.value))
