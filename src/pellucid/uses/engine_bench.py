"""Every engine that is here on one model: how fast, from which start, in how much memory, and whether it says the same.

Each engine, in each precision that it has on this machine, is a process of its own; they take turns, batch by batch.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from pellucid.architectures.numbers import check_numbers
from pellucid.engines.choose import ENGINES, check_engine
from pellucid.errors import UserError, listed, of_missing
from pellucid.granted import processors
from pellucid.images.decode import Unreadable, open_image
from pellucid.images.preprocessing import Pixels
from pellucid.images.workers import check_not_starting
from pellucid.names import path_of
from pellucid.records import Record
from pellucid.runs.card import Card, read_card
from pellucid.runs.containers import SUFFIXES, container_of
from pellucid.runs.locating import locate
from pellucid.runs.proof import synthetic_image
from pellucid.uses.agreement import Agreement, agreement_of
from pellucid.uses.contenders import Contender
from pellucid.uses.engine_process import serve
from pellucid.uses.predict import Failure, Shares, pixels_for

ALL = "all"
STARTS = 3  # of each process, by which the cold start is known
BURN_IN = 3  # batches
ENOUGH = 100  # batches, of which the 99th percentile is the last but one
FEWEST, SECONDS = 10, 40.0  # batches, for a size of batch of all engines
WINDOW = 16  # images that are shown to all before the next are decoded


class Batches(Record):
    """Batches of `images` images: the seconds that each took, in order. `memory`: the most bytes that the process had
    at once by then, above those that it had before it opened the model; None where the system does not say.
    """

    images: int
    seconds: tuple[float, ...]
    memory: int | None

    def percentile(self, share: float) -> float:
        """The seconds within which `share` percent of the batches were computed."""
        return float(np.percentile(self.seconds, share))

    @property
    def per_second(self) -> float:
        """Images, by the median."""
        return self.images / self.percentile(50)


class Measured(Record):
    """An engine in one precision. `starts`: seconds from a process's start to its first answer.

    `agreement` is that with the reference, on the sample; the reference has none.
    """

    engine: str
    precision: str
    device: str
    starts: tuple[float, ...]
    batches: tuple[Batches, ...]
    agreement: Agreement | None

    @property
    def name(self) -> str:
        """torch, float32."""
        return f"{self.engine}, {self.precision}" + (f", {self.device}" if self.device != "cpu" else "")

    def of(self, images: int) -> Batches | None:
        """Its batches of so many images; None where it did not get through them."""
        return next((each for each in self.batches if each.images == images), None)


class LeftOut(Record):
    """An engine, or one in some precision, that could not be measured, or not to the end: why, and what to do."""

    name: str
    why: str
    hint: str


class EngineBench(Record):
    """What `bench_engines` measured. `sample` says in words on which images answers were compared with the first's."""

    model: str
    architecture: str
    size: int
    threads: int
    sample: str
    measured: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def reference(self) -> Measured:
        """torch in float32, or what comes next to it."""
        return self.measured[0]

    def ratio(self, one: Measured, images: int) -> tuple[float, float, float] | None:
        """How many times as fast `one` is as the reference: median, 5th and 95th percentile of batches in pairs."""
        ours, theirs = one.of(images), self.reference.of(images)
        if ours is None or theirs is None:
            return None
        pairs = min(len(ours.seconds), len(theirs.seconds))
        low, middle, high = np.percentile(np.divide(theirs.seconds[:pairs], ours.seconds[:pairs]), [5, 50, 95]).tolist()
        return middle, low, high


@dataclass
class _Running:
    """A process that takes part, and what is known of it by now."""

    key: tuple[str, str | None]
    path: Path
    starts: list[float]
    contender: Contender | None = None
    precision: str = ""
    device: str = ""
    others: tuple[str, ...] = ()
    batches: tuple[Batches, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.key[0]}, {self.precision or self.key[1] or 'float32'}"


def bench_engines(
    model: str | PathLike[str],
    *,
    engine: str = ALL,
    batch: Sequence[int] = (1, 8, 32),
    steps: int | None = None,
    burn_in: int = BURN_IN,
    threads: int | None = None,
    check: str | PathLike[str] | Sequence[str] | None = None,
    model_code: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> EngineBench:
    """Measure a run folder, a .safetensors, an .onnx or an .xml in every engine that is installed, or in those named.

    `engine`: "all", or names with commas between them. Each is timed in each precision that it has here, on prepared
    pixels: decoding is not in it. `steps` batches of each size in `batch` are timed, by default 100, or as many as 40
    seconds give for all together, but at least 10; `burn_in` before them do not count. What is said of images (those
    that `check` names as for predict, else the proof's image in 32 variations) is compared with the reference: torch
    in float32, or the first that is here. `note` hears a line of what is being done. Raises UserError where nothing can
    be measured; what cannot is in `left_out`. For a .safetensors an .onnx is written to a temporary folder.
    """
    check_not_starting()
    sizes = sorted(set(batch))
    for images in sizes:
        check_numbers(batch=images)
    check_numbers(steps=steps, burn_in=burn_in, threads=threads)
    names = _named(engine)
    path = locate(model)
    card = read_card(path)
    images_given = None if check is None else _images(check)
    with tempfile.TemporaryDirectory(prefix="pellucid-bench-") as folder, ExitStack() as stack:
        files, left_out = _files(names, path, Path(folder), model_code, note)
        code = model_code if isinstance(model_code, str) else None
        running, refused = _started(files, threads, code, stack, note)
        left_out += refused
        if not running:
            raise UserError(
                f"no engine computes {path} here", listed([f"{each.name}: {each.why}" for each in left_out]),
                hint=next((each.hint for each in left_out if each.hint), ""),
            )  # fmt: skip
        running.sort(key=lambda each: (each.key[0] != "torch", each.precision != "float32"))
        for images in sizes:
            left_out += _timed(running, images, steps, burn_in, note)
        note("comparing what they say")
        agreed, sample = _agreements(running, card, images_given, left_out)
    return EngineBench(
        model=str(model),
        architecture=card.architecture,
        size=card.preprocessing.size,
        threads=threads or processors(),
        sample=sample,
        measured=tuple(
            Measured(
                engine=each.key[0],
                precision=each.precision,
                device=each.device,
                starts=tuple(each.starts),
                batches=each.batches,
                agreement=agreed.get(each.key),
            )
            for each in running
        ),
        left_out=tuple(left_out),
    )


def _named(engine: str) -> list[str]:
    if engine == ALL:
        return list(ENGINES)
    names = [name.strip() for name in engine.split(",") if name.strip()]
    for name in names:
        check_engine(name)
        if name not in ENGINES:
            raise UserError("auto is no engine to measure", hint=f"--engine all, or some of {', '.join(ENGINES)}")
    return list(dict.fromkeys(names)) or list(ENGINES)


def _files(
    names: Sequence[str], path: Path, folder: Path, model_code: str | None, note: Callable[[str], None]
) -> tuple[dict[str, Path], list[LeftOut]]:
    """The file that each engine opens, which is exported where it opens no .safetensors."""
    container = container_of(path)
    files, left_out = {}, []
    exported: Path | LeftOut | None = None
    for name in names:
        kind = ENGINES[name]
        if not kind.is_here:
            left_out.append(LeftOut(name=name, why="not installed", hint=kind.install))
        elif container in kind.containers:
            files[name] = path
        elif container == "safetensors" and "onnx" in kind.containers:
            if exported is None:
                note("exporting the model as .onnx for the engines that need one")
                exported = _exported(path, folder, model_code)
            if isinstance(exported, Path):
                files[name] = exported
            else:
                left_out.append(exported.model_copy(update={"name": name}))
        else:
            others = [SUFFIXES[each] for each in kind.containers]
            hint = "name the run, or the .safetensors, that it was made of" if "safetensors" in kind.containers else ""
            why = f"it computes {' and '.join(others)}, and no {SUFFIXES[container]}"
            left_out.append(LeftOut(name=name, why=why, hint=hint))
    return files, left_out


def _exported(path: Path, folder: Path, model_code: str | None) -> Path | LeftOut:
    from pellucid.uses.export import export

    try:
        export(path, folder / "model.onnx", model_code=model_code)
    except UserError as cause:
        return _left_out("", cause)
    except ModuleNotFoundError as cause:
        if not (told := of_missing(cause)):
            raise
        return _left_out("", told)
    return folder / "model.onnx"


def _left_out(name: str, cause: UserError, when: str = "") -> LeftOut:
    why = "; ".join([cause.problem, *cause.details])
    return LeftOut(name=name, why=f"{when}{why}", hint=cause.hint)


def _started(
    files: dict[str, Path], threads: int | None, code: str | None, stack: ExitStack, note: Callable[[str], None]
) -> tuple[list[_Running], list[LeftOut]]:
    """All that can be opened, started STARTS times in turns; the last processes stay. The first tell of precisions."""
    running = [_Running((name, None), path, []) for name, path in files.items()]
    left_out: list[LeftOut] = []
    for turn in range(STARTS):
        note(f"starting each engine: {turn + 1} of {STARTS}")
        known = list(running)
        for each in known:
            if (refused := _start(each, threads, code)) is not None:
                running.remove(each)
                left_out.append(refused)
            elif each.key[1] is None and not turn:
                more = [_Running((each.key[0], other), each.path, []) for other in each.others]
                for other in more:
                    if other.key[1] == each.precision:
                        continue
                    if (refused := _start(other, threads, code)) is None:
                        running.append(other)
                        _stop(other, last=STARTS == 1, stack=stack)
                    else:
                        left_out.append(refused)
            if refused is None:
                _stop(each, last=turn == STARTS - 1, stack=stack)
    return running, left_out


def _start(one: _Running, threads: int | None, code: str | None) -> LeftOut | None:
    """Start its process, and note what the first answer took; why it cannot be, else."""
    began = perf_counter()
    contender = Contender(one.key[0], serve, one.key[0], one.path, one.key[1], threads, code)
    try:
        contender.__enter__()
    except UserError as cause:
        return _left_out(one.name, cause)
    one.starts.append(perf_counter() - began)
    one.contender = contender
    one.precision, one.device = contender.first["precision"], contender.first["device"]
    one.others = contender.first["precisions"]
    return None


def _stop(one: _Running, *, last: bool, stack: ExitStack) -> None:
    """End its process, or see to it that it ends after all is measured."""
    assert one.contender is not None
    if last:
        stack.callback(one.contender.__exit__)
    else:
        one.contender.__exit__()


def _timed(
    running: list[_Running], images: int, steps: int | None, burn_in: int, note: Callable[[str], None]
) -> list[LeftOut]:
    """Batches of so many images in turns; returns who did not get through. They have no part in what follows."""
    left_out: list[LeftOut] = []
    taking_part = [each for each in running if len(each.batches) == max(len(one.batches) for one in running)]
    seconds: dict[tuple[str, str | None], list[float]] = {each.key: [] for each in taking_part}

    def ask(one: _Running, what: str, of: int | None = None) -> object:
        assert one.contender is not None
        try:
            return one.contender.ask((what, of))
        except UserError as cause:
            taking_part.remove(one)
            left_out.append(_left_out(one.name, cause, f"with {images} per batch: "))
            return None

    for each in list(taking_part):
        ask(each, "ready", images)
    note(f"timing batches of {images}")
    began = perf_counter()
    for step in range(-burn_in, steps or ENOUGH):
        if step == 0:
            began = perf_counter()
        for each in list(taking_part):
            took = ask(each, "batch")
            if isinstance(took, float) and step >= 0:
                seconds[each.key].append(took)
        if steps is None and step + 1 >= FEWEST and perf_counter() - began > SECONDS:
            break
    for each in list(taking_part):
        memory = ask(each, "memory")
        if each in taking_part:
            known = memory if isinstance(memory, int) else None
            each.batches += (Batches(images=images, seconds=tuple(seconds[each.key]), memory=known),)
    return left_out


def _agreements(
    running: list[_Running], card: Card, images: list[Path | Failure] | None, left_out: list[LeftOut]
) -> tuple[dict[tuple[str, str | None], Agreement], str]:
    """What each says of the sample, beside the first; and in words, of what."""
    shown: list[str] = []
    unreadable: list[str] = []
    said: dict[tuple[str, str | None], list[Shares]] = {each.key: [] for each in running}
    lost: set[tuple[str, str | None]] = set()
    for window in _windows(card, images, unreadable):
        shown += [name for name, _ in window]
        for each in running:
            if each.key in lost or each.contender is None:
                continue
            try:
                said[each.key].append(each.contender.ask(("say", [pixels for _, pixels in window])))
            except UserError as cause:
                lost.add(each.key)
                if not any(one.name == each.name for one in left_out):
                    left_out.append(_left_out(each.name, cause, "comparing answers: "))
    sample = f"{len(shown)} images" if images is not None else f"the proof's image in {len(shown)} variations"
    first = running[0]
    if first.key in lost or not shown:
        return {}, sample
    whole = {key: np.concatenate(each) for key, each in said.items() if key not in lost}
    agreed = {
        key: agreement_of(shown, whole[first.key], each, card, card, unreadable=unreadable)
        for key, each in whole.items()
        if key != first.key
    }
    return agreed, sample


def _images(check: str | PathLike[str] | Sequence[str]) -> list[Path | Failure]:
    from pellucid.uses.inputs import expand_inputs

    said = [check] if isinstance(check, str | PathLike) else list(check)
    images = [
        each
        for each in expand_inputs([str(one) for one in said], standard_input=())
        if isinstance(each, Path | Failure)
    ]
    if not any(isinstance(each, Path) for each in images):
        raise UserError(f"{', '.join(map(str, said))} names no image to check with", hint="name a folder of images")
    return images


def _windows(
    card: Card, images: list[Path | Failure] | None, unreadable: list[str]
) -> Iterator[list[tuple[str, Pixels]]]:
    """The sample, prepared, some at a time, by name."""
    window: list[tuple[str, Pixels]] = []
    for name, image in variations() if images is None else _opened(images, card, unreadable):
        window.append((name, pixels_for(card, open_image(image, background=card.preprocessing.background), name=name)))
        if len(window) == WINDOW:
            yield window
            window = []
    if window:
        yield window


def _opened(images: Sequence[Path | Failure], card: Card, unreadable: list[str]) -> Iterator[tuple[str, Image.Image]]:
    for each in images:
        if isinstance(each, Failure):
            unreadable.append(f"{each.name}: {each.error}")
            continue
        try:
            yield str(each), open_image(path_of(each), background=card.preprocessing.background, name=str(each))
        except Unreadable as cause:
            unreadable.append(str(cause))


def variations() -> Iterator[tuple[str, Image.Image]]:
    """The proof's image in all eight positions, whole and three parts of it: 32 images, the same everywhere."""
    image = synthetic_image()
    width, height = image.size
    positions = [None, *Image.Transpose]
    for share in (1.0, 0.7, 0.5, 0.35):
        across, down = round(width * share), round(height * share)
        part = image.crop(((width - across) // 2, (height - down) // 2, (width + across) // 2, (height + down) // 2))
        for position in positions:
            turned = part if position is None else part.transpose(position)
            yield (
                f"{share:.0%} of the proof's image, {'upright' if position is None else position.name.lower()}",
                turned,
            )
