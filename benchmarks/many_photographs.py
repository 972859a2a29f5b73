"""Thousands of photographs through `pellucid predict --out`: memory, speed, and the file after kills and --resume.

    python benchmarks/many_photographs.py MODEL PHOTOS [--images 10000] [--kills 5]

Photographs are cut anew from those in PHOTOS (a folder), mirrored and compressed anew, in a temporary folder. A tenth
of them and then all are answered into a CSV file; then all again into another, which is killed (SIGKILL) so many times
at moments that are drawn, gone on with by --resume, and compared with the first, byte for byte.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image


def photographs(source, folder, number):
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    draw = random.Random(0)
    for index in range(number):
        image = Image.open(files[index % len(files)]).convert("RGB")
        width, height = image.size
        share = draw.uniform(0.8, 1)
        left, top = (int(draw.uniform(0, 1 - share) * side) for side in (width, height))
        image = image.crop((left, top, left + int(width * share), top + int(height * share)))
        if draw.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        place = folder / f"{index % 10}" / f"{index:06}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place, quality=draw.randint(75, 95))


def predict(model, folder, *arguments):
    command = [sys.executable, "-m", "pellucid", "predict", model, *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def answered(model, folder, *arguments):
    """Seconds, and the greatest memory in MB."""
    began = time.perf_counter()
    process = predict(model, folder, *arguments)
    said = process.stderr.read().strip().splitlines()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, said
    return time.perf_counter() - began, used.ru_maxrss / 1024, [line for line in said if "computed by" not in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=5)
    asked = parser.parse_args()
    model, folder = str(Path(asked.model).resolve()), Path(tempfile.mkdtemp())
    try:
        photographs(asked.photos, folder / "photos", asked.images)
        for images, name, places in ((asked.images // 10, "some", "photos/0"), (asked.images, "all", "photos")):
            seconds, memory, said = answered(model, folder, places, "--out", f"{name}.csv")
            print(f"{images:7,} images: {seconds:.1f} s, {images / seconds:.0f} per second, at most {memory:.0f} MB")
            print("\n".join(said))
        draw, lines = random.Random(1), []
        for _ in range(asked.kills):
            process = predict(model, folder, "photos", "--out", "again.csv", "--resume")
            wanted = (lines[-1] if lines else 0) + draw.randrange(asked.images // (asked.kills + 1))
            while process.poll() is None and (
                not (folder / "again.csv").exists() or (folder / "again.csv").read_bytes().count(b"\n") < wanted
            ):
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            lines.append((folder / "again.csv").read_bytes().count(b"\n"))
        seconds, memory, said = answered(model, folder, "photos", "--out", "again.csv", "--resume")
        same = (folder / "again.csv").read_bytes() == (folder / "all.csv").read_bytes()
        print(f"killed at {', '.join(f'{line:,}' for line in lines)} lines, then gone on with: {said[0]}")
        print(f"the file is {'the same, byte for byte' if same else 'ANOTHER'}; at most {memory:.0f} MB")
        sys.exit(not same)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
