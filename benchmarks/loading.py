"""Photographs to batches: the tutorials' loader and Pellucid's, on the same files, with the same random crops.

    python benchmarks/loading.py FOLDER [--images 200] [--repeats 3] [--workers 0] [--training 10000]

FOLDER holds photographs, a folder for each class. They are measured as they are, and as 4-megapixel mosaics of them
(of tiles at twice their size, JPEG quality 90). The tutorials' loader is torchvision's ImageFolder with Resize and
CenterCrop (the fake-face tutorial: one crop), or RandomResizedCrop and flip, then ToTensor and Normalize. Ours begins
with an empty cache; its first epoch holds all of the decoding. Both have the same number of worker processes and take
turns. --training trains a ResNet-18 on so many images (the photographs again, each a file of its own content) and
tells the share of time spent waiting for data.
"""

import argparse
import io
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import pellucid as pl
from pellucid.images.augmentation import Augmentation
from pellucid.images.loading import Images, Loader, epoch_order, prepare
from pellucid.images.pixels import Form, PixelCache, Request
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.networks.quick import keep_memory

BATCH, SIZE = 32, 224
AUGMENTATION = Augmentation(scale=(0.35, 1.0))
WANTED = Preprocessing(
    resize=256, interpolation="bilinear", size=SIZE, background=(255, 255, 255), mean=IMAGENET_MEAN, std=IMAGENET_STD
)


def tutorial(folder, *, workers, random):
    """A function that passes over all images once."""
    crops = [transforms.RandomResizedCrop(SIZE, scale=AUGMENTATION.scale), transforms.RandomHorizontalFlip()]
    still = [transforms.Resize(256), transforms.CenterCrop(SIZE)]
    after = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    changes = transforms.Compose([*(crops if random else still), *after])
    batches = DataLoader(
        datasets.ImageFolder(str(folder), changes),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda _: [images.shape for images, _ in batches]


def ours(folder, cache, *, workers, random):
    augmentation = AUGMENTATION if random else Augmentation(crop="centre", flip=0.0)
    parts = split(read_samples(folder), train="rest")
    pixels = PixelCache(cache, limit=20 * 10**9)
    images = Images(parts.part("train"), folder, parts.classes, WANTED, augmentation, 0, cache=pixels)
    batches = Loader(images, batch=BATCH, workers=workers)

    def once(epoch):
        if not pixels.rows:
            list(pixels.fill([Request(path, (Form.of(WANTED, augmentation),)) for path in images.paths]))
        images.show(epoch=epoch, order=epoch_order(len(images), seed=0, epoch=epoch).tolist())
        return [prepare(batch[0], "cpu", WANTED).shape for batch in batches]

    return once


def seconds(once, epoch):
    began = time.perf_counter()
    once(epoch)
    return time.perf_counter() - began


def photographs(folder, count):
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    return [paths[index % len(paths)] for index in range(count)]


def small(source, place, count):
    """Copies, each with a comment of its own, so that no two have the same content."""
    for number, path in enumerate(photographs(source, count)):
        target = place / path.parent.name / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        comment = str(number).encode()
        target.write_bytes(content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:])
    return place


def large(source, place, count):
    random = np.random.default_rng(0)
    paths = photographs(source, 200)
    for number in range(count):
        mosaic = Image.new("RGB", (2304, 1792))
        for down in range(0, 1792, 512):
            for across in range(0, 2304, 512):
                tile = Image.open(paths[random.integers(len(paths))]).convert("RGB").resize((512, 512))
                mosaic.paste(tile, (across, down))
        target = place / ("even", "odd")[number % 2] / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        mosaic.save(file, "JPEG", quality=90)
        target.write_bytes(file.getvalue())
    return place


def compare(name, folder, *, repeats, **how):
    ratios = {"first": [], "later": []}
    for _ in range(repeats):
        cache = Path(tempfile.mkdtemp())
        theirs, mine = tutorial(folder, **how), ours(folder, cache, **how)
        for epoch, which in enumerate(("first", "later", "later")):
            one, other = seconds(theirs, epoch), seconds(mine, epoch)
            ratios[which].append(one / other)
            count = sum(1 for _ in folder.rglob("*.jpg"))
            print(f"{name}, epoch {epoch + 1}: {count / one:.0f} against {count / other:.0f} images/s", flush=True)
        shutil.rmtree(cache)
    for which, found in ratios.items():
        print(f"{name}, {which}: {statistics.median(found):.1f} times [{min(found):.1f}, {max(found):.1f}]", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--large", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--training", type=int, default=0)
    arguments = parser.parse_args()
    keep_memory()  # as training does; the tutorials' loader gains by it too
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    place = Path(tempfile.mkdtemp())
    how = {"repeats": arguments.repeats, "workers": arguments.workers}
    sets = {"small photographs": small(arguments.folder, place / "small", arguments.images)} if arguments.images else {}
    sets |= {"4 megapixels": large(arguments.folder, place / "large", arguments.large)} if arguments.large else {}
    for name, folder in sets.items():
        compare(f"{name}, one crop", folder, random=False, **how)
        compare(f"{name}, random crops", folder, random=True, **how)
    if arguments.training:
        data = small(arguments.folder, place / "many", arguments.training)
        settings = {"model": "resnet18", "mode": "scratch", "size": 112, "epochs": 1, "test": "0.02"}
        features = {"folder": str(place / "cache")}
        run = pl.train(data, **settings, validation="0.02", train="rest", runs=place / "runs", features=features)
        for event in run.events():
            if event.event == "pixels_ready":
                print(f"{event.images} images decoded and kept in {event.seconds:.0f} s ({event.needed:,} bytes)")
            if event.event == "epoch":
                whole = event.seconds_waiting + event.seconds_computing
                share = 100 * event.seconds_waiting / whole
                print(f"training at {event.images_per_second:.0f} images/s: {share:.1f} % of it waiting for data")
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
