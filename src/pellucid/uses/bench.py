"""The timing harness: so many seconds a batch, against other libraries in turn, and against the machine's own peak."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np

from pellucid.errors import UserError, nearest
from pellucid.networks.stopwatch import PRODUCT_OPERATIONS, ROWS, seconds_of
from pellucid.records import Record
from pellucid.uses.structure import structure

Direction = Literal["forward", "backward"]
LIBRARIES = ("pellucid", "torchvision", "timm", "keras", "paddle")


class Timing(Record):
    """The seconds that every timed batch took, in order."""

    library: str
    seconds: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.seconds))

    @property
    def deviation(self) -> float:
        return float(np.std(self.seconds))

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.seconds, share))

    @property
    def median(self) -> float:
        return self.percentile(50)


class Bench(Record):
    """What `bench` measured. `operations` are floating-point operations a batch, twice the multiply-adds.

    `peak` is what this machine does in a second, in a product of 2048 x 2048 matrices of float32 in the same run.
    """

    name: str
    batch: int
    size: int
    direction: Direction
    threads: int
    timings: tuple[Timing, ...]
    operations: int
    peak: float

    @property
    def ours(self) -> Timing:
        return self.timings[0]

    def share_of_peak(self, timing: Timing) -> float:
        """Of what the machine can do; backward counts as three times forward.

        More than 1 is possible: a convolution counts in full, whichever way it was computed.
        """
        return self.operations * (3 if self.direction == "backward" else 1) / timing.median / self.peak

    def ratio(self, other: Timing) -> tuple[float, float, float]:
        """How many times faster we are than `other`: median, 5th and 95th percentile over batches paired in time."""
        ratios = np.array(other.seconds) / np.array(self.ours.seconds)
        low, middle, high = np.percentile(ratios, [5, 50, 95])
        return float(middle), float(low), float(high)


def bench(
    net: str,
    *,
    batch: int = 32,
    size: int | None = None,
    burn_in: int = 10,
    steps: int = 100,
    direction: Direction = "forward",
    against: Sequence[str] = (),
    threads: int | None = None,
    progress: Callable[[str, int, float], None] | None = None,
) -> Bench:
    """Time `net` for `batch` images of `size` pixels a side: `burn_in` batches that do not count, then `steps` that do.

    `against` names libraries (torchvision, timm, keras, paddle) whose network of that name takes turns with ours, batch
    by batch, each in a process of its own. `direction` "backward" is forward and backward in training mode. `progress`
    hears (library, step, seconds) of every batch; steps before 0 are burn-in. Raises UserError for unknown names.
    """
    for library in against:
        if library not in LIBRARIES[1:]:
            right = nearest(library, LIBRARIES[1:])
            hint = f"did you mean {right}?" if right else f"there are {', '.join(LIBRARIES[1:])}"
            raise UserError(f"nothing can be timed against {library!r}", hint=hint)
    if min(batch, steps) < 1 or burn_in < 0:
        raise UserError("batch and steps are at least 1, and burn_in at least 0")
    counted = structure(net, size=size)
    settings = {"net": net, "batch": batch, "size": counted.size, "direction": direction, "threads": threads}
    libraries = ("pellucid", *against)
    seconds: dict[str, list[float]] = {library: [] for library in libraries}
    products = []
    with ExitStack() as stack:
        contenders = {library: stack.enter_context(_Contender(library, settings)) for library in libraries}
        for step in range(-burn_in, steps):
            for library, contender in contenders.items():
                took = contender.step()
                if step >= 0:
                    seconds[library].append(took)
                if progress:
                    progress(library, step, took)
            if step % 10 == 0 or step == -burn_in:
                products.append(contenders["pellucid"].product())
        used = contenders["pellucid"].threads
    return Bench(
        name=net,
        batch=batch,
        size=counted.size,
        direction=direction,
        threads=used,
        timings=tuple(Timing(library=library, seconds=tuple(seconds[library])) for library in libraries),
        operations=2 * batch * counted.totals.multiply_adds,
        peak=PRODUCT_OPERATIONS / min(products),
    )


class _Contender:
    """A network in a process of its own, so that no library's memory or threads are another's."""

    def __init__(self, library: str, settings: dict[str, Any]) -> None:
        context = get_context("spawn")
        self.library = library
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, library, settings), daemon=True)
        self.threads = 0

    def __enter__(self) -> "_Contender":
        self._process.start()
        self.threads = int(self._answer())
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # which ends its loop
        self._process.join(5)
        self._process.terminate()
        self._process.join()

    def step(self) -> float:
        """The seconds of one batch."""
        self._pipe.send("step")
        return float(self._answer())

    def product(self) -> float:
        """The seconds of one product of matrices, the best of three."""
        self._pipe.send("product")
        return float(self._answer())

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError as cause:
            hint = "a smaller --batch takes less memory"
            raise UserError(f"{self.library} ended before it was timed", hint=hint) from cause
        if isinstance(answer, UserError):
            raise answer
        return answer


def _serve(pipe: Connection, library: str, settings: dict[str, Any]) -> None:
    """What a contender's process does: build, then compute a batch whenever it is asked."""
    import torch

    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    try:
        compute = _batch(library, settings)
    except UserError as error:
        pipe.send(error)
        return
    pipe.send(torch.get_num_threads())
    matrix = torch.rand(ROWS, ROWS)
    with suppress(EOFError):  # the other end was closed
        while True:
            if pipe.recv() == "step":
                pipe.send(seconds_of(compute))
            else:
                pipe.send(min(seconds_of(lambda: matrix @ matrix) for _ in range(3)))


def _batch(library: str, settings: dict[str, Any]) -> Callable[[], object]:
    """A function that computes a batch as `library` does it by default, on random images."""
    import torch

    from pellucid.networks.build import network
    from pellucid.networks.originals.original import original
    from pellucid.networks.originals.torch_original import stepping
    from pellucid.networks.quick import keep_memory, quick, quick_to_train

    name, size, backward = settings["net"], settings["size"], settings["direction"] == "backward"
    images = torch.randn(settings["batch"], 3, size, size)
    if library != "pellucid":
        threads = torch.get_num_threads()  # for all; some would take one by default
        return original(library, name, size=size, threads=threads).stepping(images, backward=backward)
    keep_memory()
    net = network(name, 1000, size=size)
    if backward:
        quick_to_train(net.train())
    else:
        net = quick(net)
    return stepping(net, images.to(memory_format=torch.channels_last), backward=backward)
