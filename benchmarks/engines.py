"""Every engine of ours on the same network: beside torchvision and timm as they come, and beside each library alone.

    PYTHONPATH=. python benchmarks/engines.py [--nets inception_v3,resnet50] [--batch 1,8,32] [--seconds 60] [FILES]

Weights are random. FILES are further .onnx or .xml that `pellucid export` wrote, an int8 one, say: each takes part in
the network that its card names. Every contender is a process of its own and computes with as many threads as there are
processors for us; they take turns, batch by batch, on the same pixels, until `--seconds` for a size of batch have
passed. Printed are the median of each with its 5 % and 95 %, and how many times as fast ours are as torchvision, and
as the library alone, by batches in pairs.

A machine with other work stops threads that wait for each other: there `--processor-time` compares what one thread of
each takes of a processor instead of seconds by the clock.

torchvision and timm get float32 images that are ready; ours get uint8 pixels, and convert and normalise them. A library
alone is its own loop on the file that ours opens: ONNX Runtime's session with the threads set, OpenVINO compiled for
that one size of batch.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pellucid.engines.choose import precisions, runtime
from pellucid.engines.engine import Engine
from pellucid.granted import processors
from pellucid.runs.card import read_card
from pellucid.uses.contenders import Contender, answer_wishes

FEWEST = 5  # rounds


THREADS = 1 if "--processor-time" in sys.argv else processors()
clock = time.process_time if "--processor-time" in sys.argv else time.perf_counter


def pixels_of(batch, size):
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


def eager(library, net, size):
    """A batch as torchvision or timm compute it by default."""
    import torch

    torch.set_num_threads(THREADS)
    if library == "torchvision":
        import torchvision

        options = {"init_weights": False} if "inception" in net else {}
        model = torchvision.models.get_model(net, weights=None, **options).eval()
    else:
        import timm

        model = timm.create_model(net, pretrained=False).eval()

    def made(batch):
        images = torch.from_numpy(pixels_of(batch, size)).permute(0, 3, 1, 2).float().div(255).contiguous()

        def compute():
            with torch.inference_mode():
                return model(images)

        return compute

    return made


def ours(name, path, precision):
    engine = Engine(read_card(path), runtime(name, path, precision=precision, threads=THREADS), path)

    def made(batch):
        pixels = pixels_of(batch, engine.card.preprocessing.size)
        return lambda: engine.logits_of_pixels(pixels)

    return made


def alone(name, path, precision):
    size = read_card(path).preprocessing.size
    if name == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(batch):
            pixels = pixels_of(batch, size)
            return lambda: session.run(None, {"pixels": pixels})

        return run
    import openvino

    core = openvino.Core()

    def made(batch):
        model = core.read_model(str(path))
        model.reshape([batch, size, size, 3])
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        threads = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(model, "CPU", threads | {"INFERENCE_PRECISION_HINT": hint}).create_infer_request()
        pixels = pixels_of(batch, size)
        return lambda: request.infer([pixels], share_inputs=True)

    return made


WAYS = {"eager": eager, "ours": ours, "alone": alone}


def serve(pipe, way, arguments):
    """A contender's process."""
    made = WAYS[way](*arguments)
    ready = {}
    pipe.send("ready")

    def answer(wish):
        if isinstance(wish, int):
            ready["batch"] = made(wish)
            return None
        began = clock()
        ready["batch"]()
        return clock() - began

    answer_wishes(pipe, answer)


def model_file(net, size, folder):
    """The network with random weights as a model file and as .onnx."""
    from tests.models import saved

    import pellucid as pl

    made = saved(folder / f"{net}.safetensors", net=net, classes=1000, size=size, resize=size)
    pl.export(made, folder / f"{net}.onnx")
    return made, folder / f"{net}.onnx"


def contenders_for(net, size, folder, files):
    """name -> (way, arguments), and for each of ours the name of its library alone."""
    weights, exported = model_file(net, size, folder)
    found = {"torchvision": ("eager", ("torchvision", net, size)), "timm": ("eager", ("timm", net, size))}
    beside = {}
    for precision in precisions("torch"):
        found[f"torch {precision}"] = ("ours", ("torch", weights, precision))
    for name in ("onnxruntime", "openvino"):
        for precision in precisions(name):
            found[f"{name} {precision}"] = ("ours", (name, exported, precision))
            found[f"{name} {precision} alone"] = ("alone", (name, exported, precision))
            beside[f"{name} {precision}"] = f"{name} {precision} alone"
    for path in files:
        if read_card(path).architecture == net:
            for name in ("openvino",) if path.suffix == ".xml" else ("onnxruntime", "openvino"):
                found[f"{name} {path.name}"] = ("ours", (name, path, None))
                found[f"{name} {path.name} alone"] = ("alone", (name, path, "float32"))
                beside[f"{name} {path.name}"] = f"{name} {path.name} alone"
    return found, beside


def ratio(theirs, own):
    low, middle, high = np.percentile(np.divide(theirs, own), [5, 50, 95])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="inception_v3,resnet50,resnet18")
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processor-time", action="store_true", help="of one thread")
    parser.add_argument("files", nargs="*", type=Path)
    asked = parser.parse_args()
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in facts if "model name" in line), "")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm", "onnxruntime"))
    print(f"{model or platform.processor()}, {THREADS} threads, load {os.getloadavg()[0]:.1f}; {libraries}, "
          f"openvino {version('openvino')}; {time.strftime('%d %B %Y')}")  # fmt: skip
    for net in asked.nets.split(","):
        size = 299 if net.startswith("inception") else 224
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            ways, beside = contenders_for(net, size, Path(folder), asked.files)
            running = {name: stack.enter_context(Contender(name, serve, *way)) for name, way in ways.items()}
            for batch in map(int, asked.batch.split(",")):
                for each in running.values():
                    each.ask(batch)
                took = {name: [] for name in running}
                began, turn = time.perf_counter(), -2
                while turn < FEWEST or time.perf_counter() - began < asked.seconds:
                    for name, each in running.items():
                        seconds = each.ask("batch")
                        if turn >= 0:
                            took[name].append(seconds)
                    turn += 1
                print(f"\n{net}, batches of {batch}, {turn} of each, load {os.getloadavg()[0]:.1f}")
                for name, seconds in took.items():
                    low, middle, high = 1000 * np.percentile(seconds, [5, 50, 95])
                    told = f"{name:30s}{middle:8.1f} ms [{low:.1f}, {high:.1f}], {1000 * batch / middle:.1f} images/s"
                    if name not in ("torchvision", "timm"):
                        told += f"; torchvision {ratio(took['torchvision'], seconds)}"
                    if name in beside:
                        told += f"; alone {ratio(took[beside[name]], seconds)}"
                    print(told, flush=True)


if __name__ == "__main__":
    main()
