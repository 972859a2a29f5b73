"""Whether a budget of time is kept, and whether more of it gives a better model: `pellucid train DATA --budget ...`.

    python benchmarks/budget.py DATA --budgets 1m,3m,10m -- --model timm/mobilenetv2_100 --weights FILE

Each command runs by itself with an empty cache; its time is that of the whole command, from start to exit. Models are
compared on the validation part, image by image (McNemar's exact test), each with the next smaller budget's. The best
epoch of each was chosen on the same images.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import pellucid as pl
from pellucid.measures.comparison import mcnemar
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import seconds_of


def main():
    ours, _, theirs = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budgets", default="1m,3m,10m")
    arguments = parser.parse_args(ours.split())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    before = None
    for budget in arguments.budgets.split(","):
        place = Path(tempfile.mkdtemp())
        command = [sys.executable, "-m", "pellucid", "train", str(arguments.data), *theirs.split()]
        command += ["--budget", budget, "--runs", str(place / "runs"), "--features.folder", str(place / "cache")]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took = time.perf_counter() - began
        (run,) = (place / "runs").iterdir()
        judged = pl.evaluate(run, arguments.data, part="validation")
        (plan,) = (event for event in RunFolder(run).events() if event.event == "planned")
        right = {one.path: one.best == one.truth for one in judged.predictions}
        print(
            f"{budget}: {took:.0f} s, {100 * (took / seconds_of(budget) - 1):+.0f} %; {plan.mode}, "
            f"{plan.epochs} epochs at {plan.size} pixels; {judged.accuracy}{_compared(before, right)}",
            flush=True,
        )
        before = right


def _compared(before, after):
    if before is None:
        return ""
    gained = sum(after[path] and not before[path] for path in before)
    lost = sum(before[path] and not after[path] for path in before)
    return f"; {gained} gained, {lost} lost, p = {mcnemar(gained, lost):.2g}"


if __name__ == "__main__":
    main()
