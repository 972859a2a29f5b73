"""What a command takes until its first word, and until its end: seconds by the clock, and of processor time to the end.

    python benchmarks/first_word.py [--rounds 5] [--against OTHER/bin/pellucid] [--only train,predict]

Two photographs of a class, drawn here, are trained on for an epoch; every verb that there is then runs on what came of
it. With --against, another installation takes turns with this one, command by command; medians are printed. The first
word is the first byte on stdout or stderr, which are a pipe here.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = ["--model", "small", "--size", "32", "--epochs", "1", "--batch", "4", "--workers", "0"]
VERBS = {
    "--help": ["--help"],
    "train --help": ["train", "--help"],
    "models": ["models"],
    "structure": ["structure", "resnet50"],
    "split": ["split", "photos", "parts.json", "--train", "rest", "--test", "0.2"],
    "train": ["train", "photos", *SMALL],
    "train (a wrong flag)": ["train", "photos", "--epoch", "1"],
    "resume (ended)": ["resume", "RUN"],
    "runs": ["runs"],
    "evaluate": ["evaluate", "RUN"],
    "predict": ["predict", "RUN", "photos"],
    "report": ["report", "RUN"],
    "verify": ["verify", "RUN"],
    "parity": ["parity", "small", "--against", "net.py:Net", "--size", "32"],
    "bench": ["bench", "small", "--size", "32", "--batch", "2", "--steps", "1", "--burn-in", "0"],
}
NET = """from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, classes)

    def forward(self, images):
        return self.head(self.layer(images).mean((2, 3)))
"""


def photos(folder):
    random = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        for number in range(10):
            place = folder / name / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(level - 50, level + 50, (40, 40, 3), dtype=np.uint8)).save(place)


def timed(command, arguments, folder):
    """Seconds to the first byte, to the end, and of processor time; children's too."""
    runs = sorted((folder / "runs").glob("*")) if (folder / "runs").is_dir() else []
    said = [str(runs[0]) if word == "RUN" else word for word in arguments]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        [*command, *said],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PELLUCID_CACHE": str(folder / "cache")},
    )
    os.read(process.stdout.fileno(), 1)
    first = time.perf_counter() - began
    process.stdout.read()
    process.wait()
    after, whole = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return first, whole, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", help="the pellucid of another installation")
    parser.add_argument("--only", help="verbs, with commas")
    asked = parser.parse_args()
    sides = {"here": [sys.executable, "-m", "pellucid"]} | ({"other": [asked.against]} if asked.against else {})
    chosen = [verb for verb in VERBS if not asked.only or verb.split()[0] in asked.only.split(",") or verb == "train"]
    folder = Path(tempfile.mkdtemp())
    try:
        photos(folder / "photos")
        (folder / "net.py").write_text(NET)
        print(f"{'':22s}" + "".join(f"{side:>10s}: first word  the end  processor" for side in sides))
        for verb in chosen:
            took = {side: [] for side in sides}
            for _ in range(asked.rounds):
                for side, command in sides.items():
                    (folder / "parts.json").unlink(missing_ok=True)
                    took[side].append(timed(command, VERBS[verb], folder))
            line = f"{verb:22s}"
            for each in took.values():
                first, whole, processor = (statistics.median(column) for column in zip(*each, strict=True))
                line += f"{'':10s}  {first:8.2f} s {whole:7.2f} s {processor:7.2f} s"
            print(line, flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
