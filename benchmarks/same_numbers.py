"""Whether two commits learn, measure and predict the same, bit for bit.

    .venv/bin/python benchmarks/same_numbers.py COMMIT --photos FOLDER --table FILE --flat FOLDER --weights FILE

Each commit trains the same three networks through its own command line, on three kinds of data, and is then asked to
evaluate and predict: the small network from scratch on class folders, a probe of ResNet-18 on a table, and its last
blocks on a flat folder whose file names carry the labels. Weights are compared tensor by tensor, probabilities and
figures number by number; the exit code is 1 where anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).parents[1]
FIGURES = ("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "average_precision")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("commit", help="the other commit")
    parser.add_argument("--photos", type=Path, required=True, help="class folders, or parts of them")
    parser.add_argument("--table", type=Path, required=True, help="parts of class folders, of which a table is made")
    parser.add_argument("--flat", type=Path, required=True, help="a flat folder of P*, H* and N*")
    parser.add_argument("--weights", type=Path, required=True, help="of ResNet-18 to layer3, under torchvision's names")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        other = room / "other"
        subprocess.run(["git", "-C", HERE, "worktree", "add", "-q", "--detach", other, asked.commit], check=True)
        try:
            jobs = list(cases(asked, room))
            sides = [said(source, room / name, jobs) for name, source in (("before", other), ("now", HERE))]
        finally:
            subprocess.run(["git", "-C", HERE, "worktree", "remove", "--force", other], check=True)
        differing = [line for job in jobs for line in compare(job[0], *(side[job[0]] for side in sides))]
    sys.exit(bool(differing))


def cases(asked: argparse.Namespace, room: Path) -> list[tuple[str, list[str], Path]]:
    """A name, the words after `train`, and the images to predict."""
    table = room / "photos.csv"
    photos = sorted(asked.table.rglob("*.jpg"))
    table.write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in photos))
    weights = ["--model", "resnet18", "--weights", asked.weights, "--until", "layer3"]
    counts = ["--validation", "60", "--test", "60"]
    steps = ["--epochs", "2", "--size", "64", "--seed", "3"]
    named = ["--label-from", "^(?P<label>[PHN])", "--map", "P=pm,H=nonpm,N=nonpm"]
    probe = ["--mode", "probe", "--size", "96", "--seed", "4"]
    found = [
        ("scratch", [asked.photos, "--model", "small", *steps], asked.photos),
        ("probe", [table, *counts, *weights, *probe], asked.table),
        ("last blocks", [asked.flat, *named, *counts, *weights, "--train-from", "layer4", *steps], asked.flat),
    ]
    return [(name, list(map(str, words)), images) for name, words, images in found]


def said(source: Path, room: Path, jobs: list[tuple[str, list[str], Path]]) -> dict[str, dict[str, Any]]:
    """What one commit makes of every job: tensors of its model file, figures, probabilities by image."""
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "PELLUCID_CACHE": str(room / "cache")}
    found = {}

    def pellucid(*words: object) -> str:
        command = [sys.executable, "-m", "pellucid", *map(str, words)]
        done = subprocess.run(command, env=environment, cwd=room, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout

    for name, words, images in jobs:
        runs = room / name
        runs.mkdir(parents=True)
        pellucid("train", *words, "--runs", runs)
        (run,) = runs.iterdir()
        model = run / "model.safetensors"
        figures = json.loads(pellucid("evaluate", run, "--part", "validation", "--format", "json"))
        some = sorted(images.rglob("*.jpg"))[:40]
        answers = [json.loads(line) for line in pellucid("predict", model, *some, "--format", "json").splitlines()]
        found[name] = {
            "weights": load_file(model),
            "figures": {figure: figures[figure] for figure in FIGURES} | {"predictions": figures["predictions"]},
            "answers": answers,
        }
    return found


def compare(name: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs, told line by line."""
    differing = []
    theirs, ours = before["weights"], now["weights"]
    if theirs.keys() != ours.keys():
        differing.append(f"other tensors: {sorted(theirs.keys() ^ ours.keys())[:5]}")
    moved = [key for key in theirs.keys() & ours.keys() if not np.array_equal(theirs[key], ours[key])]
    if moved:
        differing.append(f"{len(moved)} of {len(theirs)} tensors differ, the first {sorted(moved)[0]}")
    differing += [f"{what} differ" for what in ("figures", "answers") if before[what] != now[what]]
    print(f"{name}: {'; '.join(differing) or f'the same {len(ours)} tensors, figures and probabilities'}")
    return differing


if __name__ == "__main__":
    main()
