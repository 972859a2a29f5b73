"""The timing harness: so many seconds per batch, against other libraries in turn, and the machine's peak."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.numbers import check_numbers
from pellucid.architectures.rows import Structure
from pellucid.errors import UserError, counted, nearest, of_missing
from pellucid.images.workers import check_not_starting
from pellucid.inspection.stopwatch import PRODUCT_OPERATIONS, ROWS, seconds_of
from pellucid.names import is_own
from pellucid.networks.own import remember
from pellucid.records import Record
from pellucid.uses.contenders import Contender, answer_wishes
from pellucid.uses.structure import CLASSES, is_there, structure

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
    """What `bench` measured. `operations` are floating-point operations per batch, twice the multiply-adds; None where
    those of a layer are not known.

    `peak` is what this machine does in a second, in a product of 2048 x 2048 matrices of float32 in the same run.
    """

    name: str
    options: dict[str, bool | float | str] = Field(default_factory=dict)
    batch: int
    size: int
    direction: Direction
    threads: int
    timings: tuple[Timing, ...]
    operations: int | None
    peak: float

    @property
    def ours(self) -> Timing:
        return self.timings[0]

    def share_of_peak(self, timing: Timing) -> float | None:
        """Of what the machine can do; backward counts as three times forward. None where operations are not known.

        More than 1 is possible: a convolution counts in full, whichever way it was computed.
        """
        if self.operations is None:
            return None
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
    classes: int | None = None,
    width: float | None = None,
    auxiliary: bool | None = None,
    conventions: str | None = None,
    last: str | None = None,
    progress: Callable[[str, int, float], None] | None = None,
) -> Bench:
    """Time `net` for `batch` images of `size` pixels per side: first `burn_in` batches that do not count, then `steps`.

    `against` names libraries (torchvision, timm, keras, paddle) whose network of that name takes turns with ours, batch
    by batch, each in a process of its own. `direction` "backward" is forward and backward in training mode. `progress`
    hears (library, step, seconds) of every batch; steps before 0 are burn-in. `classes` to `last` are as for structure;
    auxiliary heads are computed, and trained, as the logits are. Raises UserError for unknown names and
    nonsense numbers, before anything is computed, and for what cannot be computed, with the reason.
    """
    check_not_starting()
    check_numbers(batch=batch, size=size, burn_in=burn_in, steps=steps, threads=threads, classes=classes)
    if net not in ARCHITECTURES and is_there(net):
        raise UserError(f"{net} is a file or folder", hint="pellucid.bench_engines(...) measures a model that is there")
    for library in against:
        if library not in LIBRARIES[1:]:
            right = nearest(library, LIBRARIES[1:])
            hint = f"did you mean {right}?" if right else f"there are {', '.join(LIBRARIES[1:])}"
            raise UserError(f"nothing can be timed against {library!r}", hint=hint)
    if is_own(net) and against:
        raise UserError(f"no other library has {net}", hint="leave --against out")
    given = {"width": width, "auxiliary": auxiliary, "conventions": conventions, "last": last}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for library in against:
        _check_alike(library, net, options, direction)
    found = structure(net, size=size, classes=classes, **options)
    if direction == "backward" and batch == 1 and (alone := _norm_of_one_value(found)):
        raise UserError(
            f"{net} cannot be trained on one image of {found.size} pixels: one value is left for the norm at {alone}",
            hint="--batch 2, or a larger --size",
        )
    settings = {"net": net, "batch": batch, "size": found.size, "direction": direction, "threads": threads}
    settings |= {"classes": found.classes if is_own(net) else classes or CLASSES, "options": options}
    libraries = ("pellucid", *against)
    seconds: dict[str, list[float]] = {library: [] for library in libraries}
    products = []
    with ExitStack() as stack:
        contenders = {
            library: stack.enter_context(Contender(library, _serve, library, settings)) for library in libraries
        }
        for step in range(-burn_in, steps):
            for library, contender in contenders.items():
                took = float(contender.ask("step"))
                if step >= 0:
                    seconds[library].append(took)
                if progress:
                    progress(library, step, took)
            if step % 10 == 0 or step == -burn_in:
                products.append(float(contenders["pellucid"].ask("product")))
        used = int(contenders["pellucid"].first)
    return Bench(
        name=net,
        options=options,
        batch=batch,
        size=found.size,
        direction=direction,
        threads=used,
        timings=tuple(Timing(library=library, seconds=tuple(seconds[library])) for library in libraries),
        operations=_operations(found, batch),
        peak=PRODUCT_OPERATIONS / min(products),
    )


def _check_alike(library: str, net: str, options: dict[str, Any], direction: Direction) -> None:
    """UserError for options that make ours another network than the library's, so that a ratio would mean nothing."""
    why = ""
    if options.get("width", 1) != 1 or options.get("last"):
        why = f"{library} has no {net} of another width, or that ends early"
    if options.get("conventions") == "tensorflow" and library != "keras":
        why = f"{library}'s {net} is by torch's conventions"
    family = ARCHITECTURES[net].family if net in ARCHITECTURES else ""
    if options.get("auxiliary") and not (
        (library, family) == ("torchvision", "inception_v3") and direction == "backward"
    ):
        why = f"{library} computes {net} {direction} without auxiliary heads"
    if why:
        raise UserError(f"{why}: there is nothing to compare", hint="leave that option, or --against, out")


def _norm_of_one_value(counted: Structure) -> str | None:
    """The first layer whose norm has a single value of each channel in an image, which has no spread."""
    for row in counted.rows:
        batch_norm = row.norm and (row.kind.startswith("BatchNorm") or "convolution" in row.kind)
        if batch_norm and len(row.output) == 4 and row.output[2:] == (1, 1):
            return row.name
    return None


def _operations(counted: Structure, batch: int) -> int | None:
    totals = counted.totals
    return None if totals.multiply_adds is None or totals.uncounted else 2 * batch * totals.multiply_adds


def _serve(pipe: Connection, library: str, settings: dict[str, Any]) -> None:
    """What a contender's process does: build, then compute a batch whenever it is asked."""
    try:
        import torch

        from pellucid.engines.torch_engine import take_threads

        take_threads(settings["threads"])
        compute = _batch(library, settings)
        pipe.send(torch.get_num_threads())
        matrix = torch.rand(ROWS, ROWS)

        def answer(wish: str) -> float:
            """The seconds of one batch, or of one product of matrices, the best of three."""
            if wish == "step":
                return seconds_of(compute)
            return min(seconds_of(lambda: matrix @ matrix) for _ in range(3))

        answer_wishes(pipe, answer)
    except Exception as cause:
        with suppress(OSError):
            pipe.send(_failed(cause, library, settings))


def _failed(cause: Exception, library: str, settings: dict[str, Any]) -> UserError:
    """What a person is told, whatever went wrong in a contender."""
    if isinstance(cause, ModuleNotFoundError) and (told := of_missing(cause)):
        return told
    from pellucid.inspection.failing import is_of_memory, reason

    if isinstance(cause, UserError):
        return cause
    images = f"{counted(settings['batch'], 'image')} of {settings['size']} x {settings['size']} pixels"
    problem = f"{library} cannot compute {settings['net']} {settings['direction']} for {images}"
    if is_of_memory(cause):
        return UserError(f"{problem}: there is too little memory", hint="a smaller --batch takes less")
    return UserError(problem, [reason(cause)], hint="another --size or --batch may fit")


def _batch(library: str, settings: dict[str, Any]) -> Callable[[], object]:
    """A function that computes a batch as `library` does it by default, on random images."""
    import torch

    from pellucid.inspection.originals import original
    from pellucid.inspection.torch_original import TorchOriginal, stepping
    from pellucid.networks.build import network
    from pellucid.networks.quick import keep_memory, quick, quick_to_train

    name, size, backward = settings["net"], settings["size"], settings["direction"] == "backward"
    images = torch.randn(settings["batch"], 3, size, size)
    if library != "pellucid":
        threads = torch.get_num_threads()  # for all; some would take one by default
        theirs = original(library, name, size=size, classes=settings["classes"], threads=threads)
        if settings["options"].get("auxiliary") and isinstance(theirs, TorchOriginal):
            return stepping(theirs.net.train(), images, backward=backward, heads=True)
        return theirs.stepping(images, backward=backward)
    keep_memory()
    # Named by whoever asked for the timing.
    net = network(remember(name), settings["classes"], size=size, **settings["options"])
    if backward:
        quick_to_train(net.train())
    else:
        net = quick(net)
    images = images.to(memory_format=torch.channels_last)
    return stepping(net, images, backward=backward, heads=bool(settings["options"].get("auxiliary")))
