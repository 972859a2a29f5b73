"""The TF-Slim tutorial's timing harness: how many batches of what, its line every ten steps, and its last line."""

import re
from collections.abc import Callable
from inspect import signature

import pytest

import pellucid as pl
from pellucid.cli.main import run
from pellucid.uses.bench import Bench, Timing


def test_32_images_of_299_pixels_10_batches_that_do_not_count_and_100_that_do() -> None:
    usual = {name: each.default for name, each in signature(pl.bench).parameters.items()}
    assert (usual["batch"], usual["burn_in"], usual["steps"], usual["direction"]) == (32, 10, 100, "forward")
    assert pl.structure("inception_v3").size == 299


def bench_of(seconds: tuple[float, ...]) -> Bench:
    return Bench(
        name="inception_v3", options={"auxiliary": True, "conventions": "tensorflow"}, batch=32, size=299,
        direction="forward", threads=1, operations=10, peak=60.0,
        timings=(Timing(library="pellucid", seconds=seconds),),
    )  # fmt: skip


def test_the_command_says_how_long_it_will_take_and_ends_as_the_tutorial(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = bench_of(seconds=(1.0, 3.0) * 50)

    def measured(_net: str, *, progress: Callable[[str, int, float], None], **_: object) -> Bench:
        for step in range(-10, 100):
            progress("pellucid", step, 1.0 if step % 2 == 0 else 3.0)
        return told

    monkeypatch.setattr("pellucid.uses.bench.bench", measured)
    assert run(["bench", "inception_v3", "--auxiliary", "--conventions", "tensorflow"]) == 0
    said = capsys.readouterr()
    assert "the first batch took 1.00 s: 110 batches will take about 2 min" in said.err
    steps = re.findall(r"^\S+ \S+: pellucid step (\d+), duration = 1\.000$", said.err, flags=re.MULTILINE)
    assert [int(step) for step in steps] == list(range(0, 100, 10))
    assert re.search(r"\d: Forward across 100 steps, 2\.000 \+/- 1\.000 sec / batch$", said.out.rstrip())
    assert said.out.startswith("inception_v3, auxiliary, conventions tensorflow, forward: 100 batches")
