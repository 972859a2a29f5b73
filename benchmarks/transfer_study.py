"""Which recipe transfers best: cross-validation on the training parts alone, one line of JSON for each fold.

    python benchmarks/transfer_study.py SHARED --out FOLDER --data hymenoptera --recipes RECIPE [RECIPE ...]
    python benchmarks/transfer_study.py SHARED --out FOLDER --table

SHARED is the folder of `fake-faces`, `hymenoptera`, `myopia` and `weights`. Validation parts are never looked at: of
`myopia`, which comes undivided, only the training part of `pellucid split --seed 0` is used. Every fold's last weights
are judged, not its best, since the best would be chosen on the very images that judge it. What is done already is not
done again. `cpu` is processor time over the number of cores: what the fold would have taken alone on the machine.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

import pellucid as pl
from pellucid.images.samples import Source
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.measures.intervals import wilson

MOBILE = {"model": "timm/mobilenetv2_100", "weights": "mobilenetv2_100_imagenet.timm.safetensors"}
INCEPTION = {
    "model": "inception_v3",
    "weights": "inception_v3_imagenet_to_mixed_7a.fp16.safetensors",
    "layout": "torchvision",
    "until": "Mixed_7a",
    "input": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
}
RESNET = {
    "model": "resnet18",
    "weights": "resnet18_imagenet_to_layer3.safetensors",
    "layout": "torchvision",
    "until": "conv4_x",
}
TUNE = {"mode": "finetune"}
# At the resolution that the photographs have: nothing is resampled.
NATIVE = {"augmentation": {"crop": "random"}}
SGD = {"optimizer": "sgd", "learning": {"momentum": 0.9, "weight_decay": 0.0, "warm_up": 0}}

RECIPES = {
    "probe": MOBILE | {"mode": "probe"},
    "probe-views4": MOBILE | {"mode": "probe", "views": 4},
    "probe-views8": MOBILE | {"mode": "probe", "views": 8},
    "probe-inception": INCEPTION | {"mode": "probe"},
    "probe-resnet": RESNET | {"mode": "probe"},
    "tune-1e-4-4": MOBILE | TUNE | {"rate": 1e-4, "epochs": 4},
    "tune-3e-4-4": MOBILE | TUNE | {"rate": 3e-4, "epochs": 4},
    "tune-1e-3-4": MOBILE | TUNE | {"rate": 1e-3, "epochs": 4},
    "tune-3e-4-8": MOBILE | TUNE | {"rate": 3e-4, "epochs": 8},
    "tune-1e-3-8": MOBILE | TUNE | {"rate": 1e-3, "epochs": 8},
    "tune-1e-3-12": MOBILE | TUNE | {"rate": 1e-3, "epochs": 12},
    "native-3e-4-4": MOBILE | TUNE | NATIVE | {"rate": 3e-4, "epochs": 4},
    "native-1e-3-4": MOBILE | TUNE | NATIVE | {"rate": 1e-3, "epochs": 4},
    "native-1e-3-8": MOBILE | TUNE | NATIVE | {"rate": 1e-3, "epochs": 8},
    "native-3e-3-8": MOBILE | TUNE | NATIVE | {"rate": 3e-3, "epochs": 8},
    "last-blocks.6": MOBILE | TUNE | {"train_from": "blocks.6", "rate": 1e-3, "epochs": 12},
    "last-blocks.4": MOBILE | TUNE | {"train_from": "blocks.4", "rate": 1e-3, "epochs": 12},
    "kept-1e-4-4": MOBILE | TUNE | {"rate": 1e-4, "epochs": 4, "learning": {"norms": "kept"}},
    "kept-3e-4-4": MOBILE | TUNE | {"rate": 3e-4, "epochs": 4, "learning": {"norms": "kept"}},
    "kept-1e-3-4": MOBILE | TUNE | {"rate": 1e-3, "epochs": 4, "learning": {"norms": "kept"}},
    # Four overlapping crops of 224 of the 256 pixels, averaged.
    "native-crops-1e-3-4": MOBILE | TUNE | NATIVE | {"rate": 1e-3, "epochs": 4, "input": {"crops": 2, "region": 256}},
    "probe-crops": MOBILE | {"mode": "probe", "input": {"crops": 2, "region": 256}},
    "probe-256": MOBILE | {"mode": "probe", "size": 256, "input": {"resize": 256}},
    "probe-288": MOBILE | {"mode": "probe", "size": 288, "input": {"resize": 288}},
    "probe-crops-288": MOBILE | {"mode": "probe", "input": {"resize": 288, "crops": 2, "region": 288}},
    "native-whole-1e-3-4": MOBILE | TUNE | {"rate": 1e-3, "epochs": 4, "size": 256, "augmentation": {"crop": "centre"}},
    "tune-resnet-1e-3-4": RESNET | TUNE | {"rate": 1e-3, "epochs": 4},
    # The network ends where the weights do.
    "tune-inception-3e-4-4": INCEPTION | TUNE | {"rate": 3e-4, "epochs": 4, "options": {"last": "Mixed_7a"}},
    "last-inception-7a": INCEPTION
    | TUNE
    | {"train_from": "Mixed_7a", "rate": 1e-3, "epochs": 12, "options": {"last": "Mixed_7a"}},
    "probe-inception-crops": INCEPTION | {"mode": "probe", "input": INCEPTION["input"] | {"crops": 2, "region": 340}},
    "last-resnet-conv4": RESNET | TUNE | {"train_from": "conv4_x", "rate": 1e-3, "epochs": 8},
    "small-native-20": NATIVE
    | {"model": "small", "mode": "scratch", "weights": "none", "size": 128, "input": {"resize": "native"}}
    | {"rate": 4e-3, "epochs": 20, "batch": 16},
    "last-blocks.6-native": MOBILE | TUNE | NATIVE | {"train_from": "blocks.6", "rate": 1e-3, "epochs": 12, "views": 4},
    "kept-3e-5-4": MOBILE | TUNE | {"rate": 3e-5, "epochs": 4, "learning": {"norms": "kept"}},
    "kept-1e-5-8": MOBILE | TUNE | {"rate": 1e-5, "epochs": 8, "learning": {"norms": "kept"}},
    "tune-3e-5-8": MOBILE | TUNE | {"rate": 3e-5, "epochs": 8},
    "kept-3e-4-8": MOBILE | TUNE | {"rate": 3e-4, "epochs": 8, "learning": {"norms": "kept"}},
    "kept-falling-3e-4-4": MOBILE
    | TUNE
    | {"rate": 3e-4, "epochs": 4, "learning": {"norms": "kept", "input_rate": 0.1}},
    "native-kept-3e-4-4": MOBILE | TUNE | NATIVE | {"rate": 3e-4, "epochs": 4, "learning": {"norms": "kept"}},
    "native-kept-1e-3-4": MOBILE | TUNE | NATIVE | {"rate": 1e-3, "epochs": 4, "learning": {"norms": "kept"}},
    "native-kept-1e-3-8": MOBILE | TUNE | NATIVE | {"rate": 1e-3, "epochs": 8, "learning": {"norms": "kept"}},
    "native-jpeg-1e-3-8": MOBILE
    | TUNE
    | {"rate": 1e-3, "epochs": 8, "augmentation": {"crop": "random", "jpeg": 0.3, "blur": 0.3}},
    # As fastai's fine_tune: the head alone for an epoch, then all at half the rate, falling to a hundredth.
    "fastai-fine-tune-5": MOBILE
    | TUNE
    | {"rate": 1e-3, "epochs": 5, "learning": {"head": "random", "input_rate": 0.01, "unfreeze": 1}},
    # As BiT-HyperRule (Kolesnikov et al. 2020) for small sets: SGD 0.003, momentum 0.9, no decay; 500 steps there.
    "bit-hyperrule-8": MOBILE
    | TUNE
    | {
        "rate": 3e-3,
        "epochs": 8,
        "optimizer": "sgd",
        "learning": {"momentum": 0.9, "weight_decay": 0.0, "head": "random", "schedule": "step", "step_epochs": 3},
    },
    # PyTorch's transfer-learning tutorial: a new head, all trained, SGD, a tenth every 7 epochs. 25 epochs there.
    "torchvision-tutorial-8": MOBILE
    | TUNE
    | {
        "rate": 1e-3,
        "epochs": 8,
        "optimizer": "sgd",
        "learning": {"momentum": 0.9, "weight_decay": 0.0, "warm_up": 0, "schedule": "step", "head": "random"},
        "augmentation": {"scale": (0.08, 1.0)},
    },
}


def training_part(shared: Path, name: str):
    if name == "myopia":
        source = Source(kind="file-names", label_from="^(?P<label>[HNP])", map={"P": "pm", "H": "nonpm", "N": "nonpm"})
        parts = split(read_samples(shared / "myopia" / "PALM-Training400", source), validation="60", train="rest")
        return [(file.path, file.label, file.sha256) for file in parts.part("train")]
    samples = read_samples(shared / name)
    part = [sample for sample in samples if sample.part == "train"]
    parts = split(type(samples)(samples.root, samples.kind, tuple(part), samples.classes, ()), train="rest")
    return [(file.path, file.label, file.sha256) for file in parts.files]


def folds_of(rows, folds):
    """A fold for each image: every class alike, by content, twins together."""
    found = {}
    for label in sorted({label for _, label, _ in rows}):
        for place, content in enumerate(sorted({content for _, one, content in rows if one == label})):
            found[content] = place % folds
    return [found[content] for _, _, content in rows]


def one_fold(shared, rows, assigned, fold, recipe, seed):
    place = Path(tempfile.mkdtemp())
    table = place / "table.csv"
    lines = ["path,label,split"]
    lines += [
        f"{path.resolve()},{label},{'validation' if number == fold else 'train'}"
        for (path, label, _), number in zip(rows, assigned, strict=True)
    ]
    table.write_text("\n".join(lines) + "\n")
    settings = dict(RECIPES[recipe])
    if settings["weights"] != "none":
        settings["weights"] = str(shared / "weights" / settings["weights"])
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    run = pl.train(table, **settings, seed=seed, runs=place / "runs", machine={"workers": 0})
    seconds, cpu = time.perf_counter() - began, (sum(os.times()[:4]) - cpu) / os.cpu_count()
    judged = pl.evaluate(run.last, table, part="validation")
    right = {Path(one.path).name: one.best == one.truth for one in judged.predictions}
    shutil.rmtree(place)
    return {"seconds": seconds, "cpu": cpu, "right": right}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--recipes", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="hymenoptera")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--only", type=int, help="so many of the folds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "folds.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    if arguments.table:
        table(done)
        return
    rows = training_part(arguments.shared, arguments.data)
    assigned = folds_of(rows, arguments.folds)
    for recipe in arguments.recipes:
        for fold in range(arguments.only or arguments.folds):
            key = {"data": arguments.data, "recipe": recipe, "folds": arguments.folds, "fold": fold}
            key |= {"seed": arguments.seed}
            if any(key.items() <= line.items() for line in done):
                continue
            result = key | one_fold(arguments.shared, rows, assigned, fold, recipe, arguments.seed)
            with log.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(recipe, fold, f"{100 * np.mean(list(result['right'].values())):.1f} %", f"{result['cpu']:.0f} s")


def table(done):
    gathered = defaultdict(list)
    for line in done:
        gathered[line["data"], line["recipe"]].append(line)
    for (data, recipe), lines in sorted(gathered.items()):
        right = [one for line in lines for one in line["right"].values()]
        cpu = np.mean([line["cpu"] for line in lines])
        print(f"{data:12s} {recipe:24s} {wilson(sum(right), len(right))}  {cpu:6.0f} s a fold, {len(lines)} folds")


if __name__ == "__main__":
    main()
