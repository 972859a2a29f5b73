"""The embedded demo data set: tiles of photographs, half of them with the traces that image generators leave.

A generator enlarges small maps by up-sampling layers, and what such a layer leaves in the pixels can be told from what
a camera leaves. So each tile is there twice: `original`, and `upsampled`: reduced by 2 and enlarged again by a small
up-sampling network with weights of its own. Nothing else tells the two apart. Content, brightness and colours are the
same; JPEG quality and tables are the same; of several networks drawn, that one is kept whose file is nearest in size
to the original's; names are numbers in random order. The photograph is the group: both forms of a tile, and all tiles
of a scene, stay on one side of a split.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
from PIL import Image

from pellucid.errors import UserError, listed, of_system
from pellucid.images.scratch import new_folder
from pellucid.records import write

Values = npt.NDArray[np.float32]  # (height, width, 3), 0 to 255

ORIGINAL, UPSAMPLED = "original", "upsampled"

# Photographs that lie in the packages of scikit-image and scikit-learn, by scene. Left out are drawings, texts and
# renderings, and those that carry no detail of the size of a pixel (moon, retina, rocket, cell, clock_motion): what
# was smooth before is as smooth after.
PHOTOGRAPHS: Mapping[str, tuple[str, ...]] = {
    "astronaut": ("skimage/data/astronaut.png",),
    "brick": ("skimage/data/brick.png",),
    "camera": ("skimage/data/camera.png",),
    "chelsea": ("skimage/data/chelsea.png",),
    "china": ("sklearn/datasets/images/china.jpg",),
    "coffee": ("skimage/data/coffee.png",),
    "coins": ("skimage/data/coins.png",),
    "flower": ("sklearn/datasets/images/flower.jpg",),
    "grass": ("skimage/data/grass.png",),
    "gravel": ("skimage/data/gravel.png",),
    "hubble": ("skimage/data/hubble_deep_field.jpg",),
    "ihc": ("skimage/data/ihc.png",),
    "motorcycle": ("skimage/data/motorcycle_left.png", "skimage/data/motorcycle_right.png"),
}

TILE = 96  # pixels per side
MARGIN = 8  # a tile is up-sampled with a margin, so that no filter meets its edge
REGION = TILE + 2 * MARGIN
STEP = 48  # pixels from a tile to its neighbour
SCALES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3)
COMPRESSED_SCALES = (0.7, 0.6, 0.5, 0.4, 0.3)  # at full size, a photograph kept as JPEG shows blocks of its own
LEAST_DETAIL = 2.0  # see detail()
DISTURBANCE = 0.06  # standard deviation of a weight, as a share of it
QUALITY = 95

TABLE = "tiles.csv"
ABOUT = """\
The demo data set of Pellucid (edition 1, seed {seed}, {tiles} tiles at most).

tiles.csv names each tile, its label and the photograph it was cut from. `original` is the photograph; `upsampled` is
the same tile reduced by 2 and enlarged again by a small up-sampling network, as in an image generator.

The photographs come with scikit-image and scikit-learn, whose pages on their data say whose they are. Those with a
licence that asks to be named: china (danielbuechele) and flower (vultilion), from Flickr, CC BY 2.0.
"""


def build_demo(
    folder: Path, *, seed: int = 0, tiles: int = 1152, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write some `tiles` tiles into a new `folder`, whole or not at all; returns the table to read them by.

    The table has the columns path, label and group. A folder that holds this very data set already is left as it is;
    any other raises UserError, as do packages that are not there. `progress` gets (scenes done, scenes in all).
    """
    about = ABOUT.format(seed=seed, tiles=tiles)
    if (folder / "ABOUT.txt").is_file() and (folder / "ABOUT.txt").read_text(encoding="utf-8") == about:
        return folder / TABLE
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} holds something else already", hint="name a folder that is not there yet")
    photographs = _locate()
    try:
        with new_folder(folder, holds=("tiles", TABLE, "ABOUT.txt")) as scratch:
            (scratch / "tiles").mkdir()
            labelled = list(_all_tiles(photographs, seed, tiles // (2 * len(photographs)), progress))
            write(scratch / TABLE, _write_tiles(scratch, labelled, np.random.default_rng(seed)))
            write(scratch / "ABOUT.txt", about)
    except OSError as cause:
        raise of_system(cause, str(folder), doing="written") from cause
    return folder / TABLE


def sample_photo() -> Image.Image | None:
    """A photograph to show things on, where scikit-image is installed."""
    path = _packaged(PHOTOGRAPHS["chelsea"][0])
    return Image.open(path).convert("RGB") if path.is_file() else None


def _locate() -> dict[str, tuple[Path, ...]]:
    """The files of each scene, found without importing the packages."""
    found = {scene: tuple(_packaged(name) for name in names) for scene, names in PHOTOGRAPHS.items()}
    if missing := sorted(path.name for paths in found.values() for path in paths if not path.is_file()):
        raise UserError(
            "the demo is cut from photographs that scikit-image and scikit-learn carry, and some are not there",
            listed(missing),
            hint="pip install -U scikit-image scikit-learn",
        )
    return found


def _packaged(name: str) -> Path:
    package, _, path = name.partition("/")
    spec = find_spec(package)
    return Path(spec.origin).parent / path if spec and spec.origin else Path(path)


class _Tile(NamedTuple):
    file: bytes  # JPEG
    label: str
    scene: str


def _all_tiles(
    photographs: dict[str, tuple[Path, ...]], seed: int, pairs: int, progress: Callable[[int, int], None] | None
) -> Iterator[_Tile]:
    """Both forms of up to `pairs` tiles of each scene."""
    for done, (scene, paths) in enumerate(photographs.items()):
        if progress:
            progress(done, len(photographs))
        random = np.random.default_rng((seed, crc32(scene.encode())))
        regions = [region for path in paths for region in _regions(path, random)]
        for index in random.permutation(len(regions))[:pairs]:
            original = _jpeg(_inner(regions[index]))
            yield _Tile(original, ORIGINAL, scene)
            yield _Tile(_upsampled(regions[index], len(original), random), UPSAMPLED, scene)
    if progress:
        progress(len(photographs), len(photographs))


def _write_tiles(folder: Path, labelled: list[_Tile], random: np.random.Generator) -> str:
    """Write the tiles under numbers in random order; returns the table as CSV."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "label", "group"])
    for number, index in enumerate(random.permutation(len(labelled)), start=1):
        path = f"tiles/{number:04}.jpg"
        (folder / path).write_bytes(labelled[index].file)
        table.writerow([path, labelled[index].label, labelled[index].scene])
    return text.getvalue()


def _regions(path: Path, random: np.random.Generator) -> Iterator[Values]:
    """Tiles with their margin, at each scale on a grid that starts at random, where there is detail enough."""
    photograph = Image.open(path)
    for scale in COMPRESSED_SCALES if photograph.format == "JPEG" else SCALES:
        extent = round(scale * photograph.width), round(scale * photograph.height)
        values = np.asarray(photograph.convert("RGB").resize(extent, Image.Resampling.LANCZOS), dtype=np.float32)
        room = values.shape[0] - REGION, values.shape[1] - REGION
        if min(room) < 0:
            continue
        first = [int(random.integers(min(STEP - 1, most), endpoint=True)) for most in room]
        for top in range(first[0], room[0] + 1, STEP):
            for left in range(first[1], room[1] + 1, STEP):
                region = values[top : top + REGION, left : left + REGION]
                if detail(_inner(region)) >= LEAST_DETAIL:
                    yield region


def _inner(region: Values) -> Values:
    return region[MARGIN:-MARGIN, MARGIN:-MARGIN]


def detail(tile: Values) -> float:
    """How far a pixel is from the mean of its four neighbours, in grey levels; in most of the tile it is more.

    A tile is judged by its blocks of 16 pixels, so that one edge in a clear sky does not count as detail.
    """
    grey = np.pad(tile.mean(axis=2), 1, mode="edge")
    around = (grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]) / 4
    blocks = np.abs(grey[1:-1, 1:-1] - around).reshape(TILE // 16, 16, TILE // 16, 16).mean(axis=(1, 3))
    return float(np.percentile(blocks, 40))


def _upsampled(region: Values, bytes_wanted: int, random: np.random.Generator) -> bytes:
    """The tile in `region` reduced by 2 and enlarged again: of several networks, that with the nearest file size."""
    down, right = random.integers(0, 2, size=2)  # the reduction's grid has no fixed place in the tile
    part = region[down : down + REGION - 2, right : right + REGION - 2]
    small: Values = np.rint(part.reshape(REGION // 2 - 1, 2, REGION // 2 - 1, 2, 3).mean(axis=(1, 3)))
    top, left = MARGIN - down, MARGIN - right
    files = (_jpeg(network.enlarge(small)[top : top + TILE, left : left + TILE]) for network in draw_networks(random))
    return min(files, key=lambda file: abs(len(file) - bytes_wanted))


class Upsampling(NamedTuple):
    """One up-sampling layer: pixels repeated ("nearest"), or set among zeros ("transposed"), then filtered."""

    kind: str
    weights: Values  # (3, 3) or (5, 5)

    def enlarge(self, small: Values) -> Values:
        """(height, width, 3) to twice that."""
        if self.kind == "nearest":
            large = small.repeat(2, axis=0).repeat(2, axis=1)
        else:
            large = np.zeros((2 * small.shape[0], 2 * small.shape[1], 3), dtype=np.float32)
            large[::2, ::2] = small
        return _filtered(large, self.weights)


def draw_networks(random: np.random.Generator) -> Iterator[Upsampling]:
    """One of each kind and size, with weights drawn close to an interpolating filter's."""
    for binomial in ((1, 2, 1), (1, 4, 6, 4, 1)):
        # Repeated pixels are an interpolation already: the filter smooths or sharpens them a little.
        smooth = np.outer(binomial, binomial) / np.sum(binomial) ** 2
        share = random.uniform(-1, 0.5)
        yield Upsampling("nearest", _disturbed((1 - share) * _identity(len(binomial)) + share * smooth, 1, random))
    sharp = random.uniform(0, 0.2)
    for line in ((0.5, 1, 0.5), (-sharp, 0.5, 1 + 2 * sharp, 0.5, -sharp)):
        # Among zeros, it interpolates linearly, or so that edges are a little steeper.
        yield Upsampling("transposed", _disturbed(np.outer(line, line), 4, random))


def _identity(size: int) -> npt.NDArray[np.float64]:
    centre = np.zeros((size, size))
    centre[size // 2, size // 2] = 1
    return centre


def _disturbed(weights: npt.NDArray[np.float64], total: float, random: np.random.Generator) -> Values:
    """Each weight off by some per cent, all together `total`, so that brightness stays."""
    drawn = weights * random.normal(1, DISTURBANCE, size=weights.shape)
    return np.asarray(drawn * (total / drawn.sum()), dtype=np.float32)


def _filtered(values: Values, weights: Values) -> Values:
    """Correlate each channel with `weights`; beyond the edge is 0."""
    height, width, _ = values.shape
    reach = len(weights) // 2
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)))
    filtered = np.zeros_like(values)
    for (down, right), weight in np.ndenumerate(weights):
        filtered += weight * padded[down : down + height, right : right + width]
    return filtered


def _jpeg(tile: Values) -> bytes:
    file = BytesIO()
    pixels = np.clip(np.rint(tile), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling="4:4:4")
    return file.getvalue()
