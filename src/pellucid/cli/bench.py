"""The verb bench: how fast a model is in each engine, or a network by its name beside other libraries' own."""

import re
from typing import Any, Literal

from pellucid.cli.shared import Auxiliary, Classes, Code, Conventions, Last, Size, Switch, Width
from pellucid.errors import UserError, counted, named

BATCH, BURN_IN, STEPS = 32, 10, 100  # of a network by its name
FILES = re.compile(r".*(\.safetensors|\.onnx|\.xml)|[./~].*", re.IGNORECASE | re.DOTALL)


def bench(
    model: str,
    /,
    *,
    batch: str | None = None,
    engine: str | None = None,
    check: list[str] | None = None,
    burn_in: int | None = None,
    steps: int | None = None,
    threads: int | None = None,
    backward: Switch = False,
    against: str | None = None,
    size: Size = None,
    classes: Classes = None,
    width: Width = None,
    auxiliary: Auxiliary = None,
    conventions: Conventions = None,
    last: Last = None,
    model_code: Code = None,
    format: Literal["text", "json"] = "text",
) -> None:
    """Measure how many images per second a model computes in each engine, or a network by its name.

    Of a model that is there, every engine that is installed is measured, in turns: images per second, how long batches
    take, how long the first answer takes, memory, and whether it says the same. Images are prepared beforehand:
    decoding them is not measured. Of a network by its name, with random weights, the time of a batch is measured, also
    beside other libraries' own; --backward to --last are for that.

    Parameters
    ----------
    model
        A model: a run folder, a .safetensors, an .onnx or OpenVINO's .xml; or a network: a name that `pellucid models`
        lists, timm/NAME, or your own as FILE.py:NAME.
    batch
        Images per batch; of a model several, with commas between them. Default: 1,8,32 of a model, 32 of a network.
    engine
        Of a model: the engines to measure, with commas between them: torch, onnxruntime, openvino. all: those that are
        installed. Default: all.
    check
        Of a model: images on which answers are compared, files, folders or patterns. Default: the image of the model's
        proof, in 32 variations.
    burn_in
        How many batches are computed first and not counted, since they are slower. Default: 3 of a model, 10 of a
        network.
    steps
        How many batches are timed. Default: 100 for a network. For a model, as many as all engines together compute in
        40 seconds, but at least 10.
    threads
        How many threads compute. Default: one per processor that the machine or the container grants.
    backward
        Time a training step, which computes the gradients too. Otherwise the answers alone are computed.
    against
        Libraries whose own network of that name is timed in turns with ours: torchvision or timm, with commas between
        them; keras and paddle where our development tools are installed. Default: none.
    format
        text: a table. json: the seconds of every batch.
    """
    of_a_model = {"--engine": engine, "--check": check, "--model-code": model_code}
    of_a_network = {
        "--backward": backward or None,
        "--against": against,
        "--size": size,
        "--classes": classes,
        "--width": width,
        "--auxiliary": auxiliary,
        "--conventions": conventions,
        "--last": last,
    }
    options = {"steps": steps, "burn_in": burn_in, "threads": threads}
    given = {name: value for name, value in options.items() if value is not None}
    numbers = _numbers(batch)
    if _is_model(model):
        _refuse(of_a_network, f"{model} is a model, and {{}} is for a network by its name")
        _bench_model(model, numbers, engine or "all", check, model_code, given, format)
        return
    _refuse(of_a_model, f"{model} is the name of a network, and {{}} is for a model: a run folder or a file")
    if len(numbers) > 1:
        raise UserError(f"a network by its name is timed with one --batch, not {named([str(n) for n in numbers])}")
    chosen = {name.removeprefix("--"): value for name, value in of_a_network.items()}
    chosen |= {"batch": (numbers or [BATCH])[0], "steps": STEPS, "burn_in": BURN_IN} | given
    _bench_network(model, chosen, format)


def _is_model(name: str) -> bool:
    """Whether a word means a model that is there, or is to be."""
    from pellucid.architectures.catalog import ARCHITECTURES
    from pellucid.names import is_own
    from pellucid.uses.structure import is_there

    if name in ARCHITECTURES or is_own(name):
        return False
    return is_there(name) or FILES.fullmatch(name) is not None


def _refuse(flags: dict[str, Any], words: str) -> None:
    if said := [name for name, value in flags.items() if value is not None]:
        raise UserError(words.format(said[0]), hint=f"leave {said[0]} out")


def _numbers(batch: str | None) -> list[int]:
    """1,8,32 as numbers."""
    try:
        return [] if batch is None else [int(word) for word in batch.split(",")]
    except ValueError as cause:
        raise UserError(
            f"--batch {batch!r} is no whole number", hint="--batch 32; of a model also --batch 1,8,32"
        ) from cause


def _bench_model(
    model: str,
    batch: list[int],
    engine: str,
    check: list[str] | None,
    model_code: str | None,
    given: dict[str, Any],
    format: str,
) -> None:
    from pellucid.cli.show import aside, say
    from pellucid.reports.engine_times import engine_bench_text
    from pellucid.uses.engine_bench import bench_engines

    lines = aside()
    measured = bench_engines(
        model,
        engine=engine,
        check=check,
        model_code=model_code,
        note=lambda words: lines.print(words, markup=False),
        **(given | ({"batch": batch} if batch else {})),
    )
    if format == "json":
        print(measured.model_dump_json())
    else:
        say(engine_bench_text(measured))


def _bench_network(net: str, options: dict[str, Any], format: str) -> None:
    from pellucid.cli.show import aside, say
    from pellucid.reports.timing import ahead_line, bench_text, step_line
    from pellucid.uses.bench import bench as measure

    lines = aside()
    first: dict[str, float] = {}  # what each library's first batch took
    against = options.pop("against")
    others = tuple(name.strip() for name in against.split(",") if name.strip()) if against else ()

    def tell(library: str, step: int, seconds: float) -> None:
        if library not in first:
            first[library] = seconds
            if len(first) == len(others) + 1:
                lines.print(ahead_line(first, options["burn_in"] + options["steps"]))
        if step >= 0 and step % 10 == 0:
            lines.print(step_line(library, step, seconds))

    lines.print(f"loading {named(['pellucid', *others])} in {counted(len(others) + 1, 'process', 'processes')}")
    direction: Literal["backward", "forward"] = "backward" if options.pop("backward") else "forward"
    timed = measure(net, direction=direction, against=others, progress=tell, **options)
    if format == "json":
        print(timed.model_dump_json())
    else:
        say(bench_text(timed))
