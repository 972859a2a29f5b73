"""A frozen ResNet-18 with a new head: the fake-face tutorial's way, and Pellucid's, on the same images.

    python benchmarks/frozen_transfer.py DATA [--weights FILE] [--epochs 25] [--measured 1] [--repeats 3]

DATA has train and validation parts of two classes. The tutorial passes every image through the frozen network in every
epoch (torch's DataLoader, torchvision's ResNet-18, SGD); its time for all epochs is that of `--measured` epochs, as
many times. Ours decodes and extracts once and solves the head, beginning with an empty cache. Both take turns, and
start from the same weights. Accuracies are compared image by image (McNemar's exact test); `--measured 25` lets the
tutorial learn to its end.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

import pellucid as pl
from pellucid.images.sources import read_samples
from pellucid.measures.comparison import mcnemar

SIZE, BATCH = 224, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Files(torch.utils.data.Dataset):
    def __init__(self, samples, classes):
        self.samples, self.classes = samples, classes
        self.transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(SIZE),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        image = torchvision.datasets.folder.default_loader(str(self.samples[index].path))
        return self.transform(image), self.classes.index(self.samples[index].label)


def tutorial(parts, classes, weights, *, epochs, measured):
    """Seconds for all epochs, and what it says of each validation image after `measured`."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=len(classes))
    net.load_state_dict({k: v for k, v in weights.items() if not k.startswith("fc.")}, strict=False)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith("fc."))
    optimizer = torch.optim.SGD(net.fc.parameters(), lr=1e-3, momentum=0.9)
    loaders = {
        part: DataLoader(Files(samples, classes), BATCH, shuffle=part == "train") for part, samples in parts.items()
    }
    began = time.perf_counter()
    for _ in range(measured):
        net.train()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
        net.eval()
        right = []
        with torch.no_grad():
            for images, labels in loaders["validation"]:
                right += (net(images).argmax(1) == labels).tolist()
    return (time.perf_counter() - began) / measured * epochs, right


def ours(data, weights):
    """Seconds from photographs to a finished run with an empty cache, and what it says of each validation image."""
    place = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    run = pl.train(
        data,
        model="resnet18",
        mode="probe",
        weights=str(weights),
        layout="torchvision",
        runs=place / "runs",
        features={"folder": str(place / "cache")},
        machine={"workers": 0},
    )
    took = time.perf_counter() - began
    extraction = next(event for event in run.events() if event.event == "features_ready")
    right = {
        judged.path: judged.best == judged.truth
        for judged in pl.evaluate(run.path, data, part="validation").predictions
    }
    shutil.rmtree(place)
    return took, extraction, right


def peak(dtype):
    matrix = torch.rand(2048, 2048).to(dtype)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - began)
    return 2 * 2048**3 / min(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, help="of torchvision's resnet18, .safetensors; what it lacks is random")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--measured", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    samples = read_samples(arguments.data)
    parts = {part: [s for s in samples.samples if s.part == part] for part in ("train", "validation")}
    torch.manual_seed(1)
    start = torchvision.models.resnet18()
    if arguments.weights:
        start.load_state_dict(load_file(arguments.weights), strict=False)
    weights = start.state_dict()
    file = Path(tempfile.mkdtemp()) / "resnet18.pth"
    torch.save(weights, file)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print({part: len(found) for part, found in parts.items()}, "images")
    ratios = []
    for repeat in range(arguments.repeats):
        theirs, right = tutorial(parts, samples.classes, weights, epochs=arguments.epochs, measured=arguments.measured)
        mine, extraction, judged = ours(arguments.data, file)
        ratios.append(theirs / mine)
        # torch's counter: 1,814,073,344 multiply-adds for an image of 224 pixels
        speed = 2 * 1.814e9 * extraction.computed / extraction.seconds
        dtype = torch.bfloat16 if extraction.precision == "bfloat16" else torch.float32
        pace = extraction.computed / extraction.seconds
        truths = [judged[sample.path.relative_to(arguments.data).as_posix()] for sample in parts["validation"]]
        gained = sum(ours and not tutorials for ours, tutorials in zip(truths, right, strict=True))
        lost = sum(tutorials and not ours for ours, tutorials in zip(truths, right, strict=True))
        print(
            f"{repeat + 1}: tutorial {theirs:.0f} s for {arguments.epochs} epochs, ours {mine:.1f} s: "
            f"{ratios[-1]:.1f} times; extraction {pace:.0f} images/s with decoding, {extraction.precision}, "
            f"{100 * speed / peak(dtype):.0f} % of that peak; "
            f"accuracy {100 * sum(right) / len(right):.1f} % after {arguments.measured} epochs, "
            f"{100 * sum(truths) / len(truths):.1f} % solved (n = {len(truths)}; {gained} gained, {lost} lost, "
            f"p = {mcnemar(gained, lost):.2g})"
        )
    print(f"median {statistics.median(ratios):.1f} times, least {min(ratios):.1f}, greatest {max(ratios):.1f}")


if __name__ == "__main__":
    main()
