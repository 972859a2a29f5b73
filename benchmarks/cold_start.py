"""What one answer about one image takes from the start of the process to its end, beside torchvision and timm.

    python benchmarks/cold_start.py MODEL IMAGE [--rounds 9] [--net mobilenet_v2] [--timm mobilenetv2_100]

MODEL is any that `pellucid predict` takes; best an .onnx of the network that --net and --timm name. The others build
that network with random weights, which takes no less, and answer for the same image with their own preprocessing. All
take turns, one process each; medians are printed, with the least and the greatest. Compile bytecode first
(`python -m compileall -q src .venv/lib`), or the first start of each pays for all.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

TORCHVISION = """
import sys, torch, torchvision
from PIL import Image
net = torchvision.models.get_model(sys.argv[1], weights=None).eval()
prepare = torchvision.models.get_model_weights(sys.argv[1]).DEFAULT.transforms()
with torch.inference_mode():
    given = net(prepare(Image.open(sys.argv[2]).convert("RGB"))[None]).softmax(1)
print(given.argmax().item(), given.max().item())
"""
TIMM = """
import sys, timm, torch
from PIL import Image
net = timm.create_model(sys.argv[1], pretrained=False).eval()
prepare = timm.data.create_transform(**timm.data.resolve_data_config({}, model=net))
with torch.inference_mode():
    given = net(prepare(Image.open(sys.argv[2]).convert("RGB"))[None]).softmax(1)
print(given.argmax().item(), given.max().item())
"""


def timed(command):
    """Seconds by the clock, and of processor time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("image")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--net", default="mobilenet_v2", help="torchvision's name of the network")
    parser.add_argument("--timm", default="mobilenetv2_100", help="timm's name of it")
    asked = parser.parse_args()
    ways = {"pellucid predict": [sys.executable, "-m", "pellucid", "predict", asked.model, asked.image]}
    for name, program, net in (("torchvision", TORCHVISION, asked.net), ("timm", TIMM, asked.timm)):
        if find_spec(name):
            ways[name] = [sys.executable, "-c", program, net, asked.image]
    took = {name: [] for name in ways}
    for turn in range(asked.rounds + 1):
        for name, command in ways.items():
            one = timed(command)
            if turn:  # the first reads the libraries from the disk
                took[name].append(one)
    for name, each in took.items():
        clock, processor = zip(*each, strict=True)
        print(
            f"{name:18s} {statistics.median(clock):6.2f} s [{min(clock):.2f}, {max(clock):.2f}], "
            f"{statistics.median(processor):.2f} s of processor time"
        )


if __name__ == "__main__":
    main()
