"""A fine-tuning step (forward, loss, backward, AdamW), batches of 32: Pellucid against plain torchvision or timm.

    python benchmarks/training_step.py [--networks resnet18,resnet50,timm/mobilenetv2_100,inception_v3] [--batch 32]

Plain is eager float32 as everyone writes it. Ours is what `pellucid train` does: channels last, convolutions of 3 by 3
with fewer multiplications, freed memory kept by the process, and bfloat16 where the processor multiplies it itself
(--precision says otherwise). Each lives in a process of its own, since what one does to its allocator would help the
other; they take turns, step by step.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import time

import torch
from torch import nn

NETWORKS = "resnet18,resnet50,timm/mobilenetv2_100,inception_v3"


def plain(name, batch, size):
    """A function that makes one step."""
    if name.startswith("timm/"):
        import timm

        net = timm.create_model(name.removeprefix("timm/"), num_classes=10)
    else:
        import torchvision

        extra = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
        net = torchvision.models.get_model(name, weights=None, num_classes=10, **extra)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    images, labels = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return step


def ours(name, batch, size, precision):
    import pellucid as pl
    from pellucid.networks.quick import keep_memory, quick_to_train
    from pellucid.training.config import Learning
    from pellucid.training.machine import Hardware
    from pellucid.training.stepping import make_optimizer

    keep_memory()
    hardware = Hardware(torch.device("cpu"), precision)
    net = pl.network(name, 10, size=size)
    quick_to_train(net)
    optimizer = make_optimizer(net, Learning(rate=1e-4))
    net.train()
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,))

    def step():
        nn.functional.cross_entropy(hardware.forward(net, images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def child(pipe, make, arguments):
    torch.manual_seed(0)
    step = make(*arguments)
    while pipe.recv():
        began = time.perf_counter()
        step()
        pipe.send(time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--burn-in", type=int, default=2)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    arguments = parser.parse_args()
    precision = arguments.precision
    if precision == "auto":
        precision = "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {precision}"
    )
    context = multiprocessing.get_context("spawn")
    for name in arguments.networks.split(","):
        size = 299 if name == "inception_v3" else 224
        pipes, processes = [], []
        for make, more in ((plain, ()), (ours, (precision,))):
            here, there = context.Pipe()
            work = (there, make, (name, arguments.batch, size, *more))
            processes.append(context.Process(target=child, args=work, daemon=True))
            processes[-1].start()
            pipes.append(here)
        times = [[], []]
        for turn in range(arguments.burn_in + arguments.steps):
            for pipe, seconds in zip(pipes, times, strict=True):
                pipe.send(True)
                seconds.append(pipe.recv())
            if turn + 1 == arguments.burn_in:
                times = [[], []]
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.send(False)
            process.join()
        ratios = [theirs / mine for theirs, mine in zip(*times, strict=True)]
        print(
            f"{name:22s} plain {statistics.median(times[0]):.2f} s, ours {statistics.median(times[1]):.2f} s a step: "
            f"{statistics.median(ratios):.2f} times [{min(ratios):.2f}, {max(ratios):.2f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
