"""Whether a page in Chromium says what ONNX Runtime says in Python, of many photographs, as files and as PNG.

    python benchmarks/page.py MODEL IMAGES --runtime NODE_MODULES [--most 1000]

MODEL is a run folder or a .safetensors; IMAGES a folder. The reference prepares images in Python (Pillow) and computes
the core of the network; the page decodes in the browser and does all else in its graph. Each image is given as it is
and as a PNG of what Pillow decodes, through the page's own door. Printed are the changed answers, the largest and the
median of the largest difference of a probability per image, and how long a page takes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "development"))

import pellucid as pl
from headless_browser import Browser, browser
from pellucid.images.decode import open_image
from pellucid.uses.inputs import expand_inputs
from pellucid.uses.predict import Classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images")
    parser.add_argument("--runtime")
    parser.add_argument("--most", type=int, default=1000)
    asked = parser.parse_args()
    images = [path for path in expand_inputs([asked.images], standard_input=()) if isinstance(path, Path)][: asked.most]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pl.export(asked.model, folder / "model.onnx")
        made = pl.write_page(asked.model, folder / "model.html", runtime=asked.runtime)
        print(f"page: {made.bytes / 1e6:.1f} MB")
        reference = pl.load(folder / "model.onnx", engine="onnxruntime")
        with browser(folder / "profile") as tab:
            start = time.perf_counter()
            print(tab.open(Path(made.path)), f"({time.perf_counter() - start:.1f} s)")
            rows = [row for image in images for row in compared(tab, reference, image, folder)]
    for kind in ("as it is", "as PNG"):
        of_kind = [row for row in rows if row[0] == kind]
        away = [row[2] for row in of_kind]
        print(
            f"{kind}: {len(of_kind)} images, {sum(row[1] for row in of_kind)} changed answers; difference of a "
            f"probability at most {max(away):.2g}, median {statistics.median(away):.2g}; "
            f"{statistics.median(row[3] for row in of_kind):.3f} s per image"
        )


def compared(
    tab: Browser, reference: Classifier, image: Path, folder: Path
) -> Iterator[tuple[str, bool, float, float]]:
    """For an image in both forms: whether the answer is another one, how far a probability is off, and seconds."""
    (said,) = reference.predict([image])
    shares = dict(said.ranking)
    open_image(image).save(folder / "image.png", compress_level=1)
    for kind, file in (("as it is", image), ("as PNG", folder / "image.png")):
        start = time.perf_counter()
        answer = tab.give(file)
        seconds = time.perf_counter() - start
        given = answer["probabilities"]
        away = float(np.abs(np.subtract(given, [shares[name] for name in reference.classes])).max())
        yield kind, answer["best"] != said.best, away, seconds


if __name__ == "__main__":
    main()
