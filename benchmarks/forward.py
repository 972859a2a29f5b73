"""Forward passes in float32 against torchvision's and timm's eager ones: python benchmarks/forward.py [NETWORK ...].

Each library computes in a process of its own, batch by batch in turn; see pellucid.uses.bench.
"""

import sys

from rich.console import Console

import pellucid as pl
from pellucid.errors import UserError
from pellucid.reports.timing import bench_text

NETWORKS = ("inception_v3", "resnet50", "resnet18", "vgg16")

if __name__ == "__main__":
    for name in sys.argv[1:] or NETWORKS:
        try:
            timed = pl.bench(name, batch=32, burn_in=3, steps=20, against=("torchvision", "timm"))
        except UserError:  # not every library has every network
            timed = pl.bench(name, batch=32, burn_in=3, steps=20, against=("torchvision",))
        Console(width=100).print(bench_text(timed), "")
