"""Loading: the pixels of preprocessing, the same with any number of workers, and unreadable files by name."""

import errno
import faulthandler
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import UserError
from pellucid.images.augmentation import Augmentation
from pellucid.images.decode import Unreadable, open_image
from pellucid.images.loading import Images, Loader, epoch_order
from pellucid.images.loading import prepare as as_input
from pellucid.images.manifest import content_hash
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, prepare
from pellucid.images.samples import Sample

CLASSES = ("ant", "bee")
CHOSEN = Preprocessing(
    resize=20, interpolation="bilinear", size=16, background=(255, 255, 255), mean=IMAGENET_MEAN, std=IMAGENET_STD
)


@pytest.fixture
def files(tmp_path: Path) -> list[Sample]:
    """Ten small images, ants and bees by turns."""
    random = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(10)]
    for name in names:
        Image.fromarray(random.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save(tmp_path / name)
    return [
        Sample(tmp_path / name, CLASSES[number % 2], "train", sha256=content_hash(tmp_path / name))
        for number, name in enumerate(names)
    ]


def images(files: Sequence[Sample], augmentation: Augmentation | None = None, **other: Any) -> Images:
    return Images(files, CLASSES, CHOSEN, augmentation, **({"seed": 3} | other))


def seen(data: Images, *, workers: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return gathered(Loader(data, batch=4, workers=workers))


def gathered(batches: Iterable[Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pixels, labels, indices = (torch.cat(column) for column in zip(*batches, strict=True))
    return as_input(pixels, "cpu", CHOSEN), labels, indices


def test_without_augmentation_an_item_is_prepared_as_for_prediction(files):
    data = images(files)
    for index, file in enumerate(files):
        pixels, label, number = data[index]
        np.testing.assert_array_equal(pixels.numpy(), prepare(open_image(file.path), CHOSEN))
        assert (label, number) == (CLASSES.index(file.label), index)


def test_a_loader_gives_batches_in_the_order_asked_for(files):
    data = images(files)
    data.show(order=[7, 2, 2, 9, 0])
    batches = list(Loader(data, batch=2, workers=0))
    assert [batch[2].tolist() for batch in batches] == [[7, 2], [2, 9], [0]]
    assert [batch[1].tolist() for batch in batches] == [[1, 0], [0, 1], [0]]
    assert batches[0][0].shape == (2, 3, 16, 16)
    assert batches[0][0].dtype == torch.uint8


@pytest.mark.parametrize("workers", [0, 1])
def test_a_prepared_batch_is_its_items_bit_for_bit(files, workers):
    data = images(files)
    batches = list(Loader(data, batch=2, workers=workers))  # held together: none is written over
    for pixels, _, indices in batches:
        made = as_input(pixels, "cpu", CHOSEN)
        assert torch.equal(made, torch.stack([data[index][0] for index in indices.tolist()]))
        assert made.dtype == torch.float32 and made.is_contiguous(memory_format=torch.channels_last)


def test_without_an_order_every_item_comes_once(files):
    assert seen(images(files))[2].tolist() == list(range(10))


@pytest.mark.parametrize("augmentation", [None, Augmentation(blur=0.5, jpeg=0.5)])
def test_any_number_of_workers_gives_the_same_pixels(files, augmentation):
    data = images(files, augmentation)
    data.show(epoch=5)
    alone = seen(data, workers=0)
    for workers in (1, 2):
        data = images(files, augmentation)
        data.show(epoch=5)
        for ours, theirs in zip(alone, seen(data, workers=workers), strict=True):
            assert torch.equal(ours, theirs)


def test_each_epoch_and_seed_shows_other_versions_and_each_again_the_same(files):
    def version(epoch: int, seed: int) -> torch.Tensor:
        data = images(files, Augmentation(), seed=seed)
        data.show(epoch=epoch)
        return data[4][0]

    assert torch.equal(version(1, 3), version(1, 3))
    assert not torch.equal(version(1, 3), version(2, 3))
    assert not torch.equal(version(1, 3), version(1, 4))


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_what_is_kept_in_memory_needs_no_file_and_changes_no_pixel(files, augmentation):
    data = images(files, augmentation)
    first = seen(data)[0]
    for file in files:
        file.path.unlink()
    assert torch.equal(seen(data)[0], first)


def test_no_more_is_kept_than_said(files):
    data = images(files, memory=3 * 16 * 16 * 3)  # room for three crops
    seen(data)
    for file in files:
        file.path.unlink()
    data.show(order=[0, 1, 2])
    assert seen(data)[2].tolist() == [0, 1, 2]
    data.show(order=[3])
    with pytest.raises(Unreadable):
        seen(data)


def test_workers_live_on_from_epoch_to_epoch_with_what_they_keep(files):
    data, alone = images(files, Augmentation()), images(files, Augmentation())
    batches = Loader(data, batch=4, workers=1)
    gathered(batches)
    orders = [[3, 1, 4, 1, 5], [9, 2, 6]]
    expected = []
    for epoch, order in enumerate(orders, start=1):
        alone.show(epoch=epoch, order=order)
        expected.append(seen(alone))
    for file in files:
        file.path.unlink()
    for epoch, (order, theirs) in enumerate(zip(orders, expected, strict=True), start=1):
        data.show(epoch=epoch, order=order)
        ours = gathered(batches)
        assert ours[2].tolist() == order
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_arrives_by_name_also_from_a_worker(files, tmp_path, workers):
    (tmp_path / "6.png").write_bytes(b"no image")
    files[6] = replace(files[6], sha256=content_hash(tmp_path / "6.png"))
    with pytest.raises(Unreadable) as refused:
        seen(images(files), workers=workers)
    assert refused.value.name == str(tmp_path / "6.png")
    assert refused.value.reason == "not an image"
    assert "Traceback" not in str(refused.value)


class Slow(Images):
    """Each image takes a while, so that a process can be met while it reads one."""

    def pixels(self, index: int) -> Any:
        time.sleep(0.05)
        return super().pixels(index)


def gone(processes: Iterable[Any]) -> bool:
    """Whether all of them have ended; those that were closed have."""
    return not [one for one in processes if one._closed is False and one.is_alive()]


def test_a_process_that_is_killed_is_told_with_what_it_read_and_the_others_end(files):
    batches = Loader(Slow(files, CLASSES, CHOSEN, None, 0), batch=2, workers=2)
    taken = iter(batches)
    next(taken)
    processes = multiprocessing.active_children()
    os.kill(processes[0].pid, signal.SIGKILL)
    with pytest.raises(UserError, match="was killed, as the system does where memory runs out") as told:
        list(taken)
    assert len(told.value.details) == 1 and told.value.details[0].endswith(".png")
    assert "--workers" in told.value.hint
    assert gone(processes)


def test_a_decoder_that_crashes_is_told_with_the_image(files, tmp_path):
    class Crashing(Images):
        def pixels(self, index: int) -> Any:
            if index == 7:
                faulthandler.disable()  # pytest's would tell of it at length
                os.kill(os.getpid(), signal.SIGSEGV)
            return super().pixels(index)

    with pytest.raises(UserError, match=r"crashed \(SIGSEGV\)") as told:
        seen(Crashing(files, CLASSES, CHOSEN, None, 0), workers=2)
    assert told.value.details == (str(tmp_path / "7.png"),)


def test_an_image_that_goes_while_workers_read_ends_them(files, tmp_path):
    data = images(files)
    (tmp_path / "9.png").unlink()
    batches = Loader(data, batch=2, workers=2)
    with pytest.raises(Unreadable, match=r"9\.png"):
        list(batches)
    assert not multiprocessing.active_children()


def test_processes_end_with_what_they_work_for(files):
    data = images(files)
    for end in (Loader.close, lambda _: None):
        batches = Loader(data, batch=2, workers=2)
        next(iter(batches))
        processes = multiprocessing.active_children()
        assert len(processes) == 2
        end(batches)
        del batches  # or forgotten
        assert gone(processes)


def test_a_pass_that_is_given_up_disturbs_no_other(files):
    data = images(files, Augmentation())
    batches = Loader(data, batch=1, workers=2)
    for taken in (0, 1, 3):
        data.show(epoch=taken)
        for _, one in zip(range(taken), batches, strict=False):
            assert len(one[1]) == 1
    data.show(epoch=7, order=[4, 1, 8])
    ours, alone = gathered(batches), images(files, Augmentation())
    alone.show(epoch=7, order=[4, 1, 8])
    assert all(torch.equal(one, other) for one, other in zip(ours, seen(alone), strict=True))


def test_batches_need_no_shared_memory_of_the_system(files):
    """A container has 64 MB of it, or it is read-only."""

    def shared(process: object) -> set[str]:
        return set(re.findall(r"/dev/shm/\S+", Path(f"/proc/{process}/maps").read_text()))

    before = shared("self")  # other tests' locks
    batches = Loader(images(files), batch=2, workers=1)
    next(iter(batches))
    for process in ("self", *(child.pid for child in multiprocessing.active_children())):
        assert shared(process) <= before


def refuse(*_: object) -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


@pytest.mark.parametrize("why", ["no memory to share", pytest.param("spawned", marks=pytest.mark.slow)])
def test_where_no_memory_is_shared_bytes_come_through_a_pipe(files, monkeypatch, why):
    data = images(files, Augmentation())
    alone = seen(data)
    if why == "spawned":
        monkeypatch.setattr("pellucid.images.workers.start_method", lambda: "spawn")
    else:
        monkeypatch.setattr("mmap.mmap", refuse)
    assert all(torch.equal(one, other) for one, other in zip(alone, seen(data, workers=2), strict=True))


def test_a_process_that_may_have_no_children_makes_batches_itself(files, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    assert seen(images(files), workers=2)[2].tolist() == list(range(10))
    assert not multiprocessing.active_children()


def test_nobody_waits_for_a_process_that_hangs(files, tmp_path, monkeypatch):
    class Hanging(Images):
        def pixels(self, index: int) -> Any:
            return time.sleep(60) if index == 5 else super().pixels(index)

    monkeypatch.setattr("pellucid.images.workers.TICK", 0.05)
    monkeypatch.setattr("pellucid.images.workers.PATIENCE", 10)
    with pytest.raises(UserError, match="no image could be read") as told:
        seen(Hanging(files, CLASSES, CHOSEN, None, 0), workers=1)
    assert told.value.details == (str(tmp_path / "5.png"),)
    assert not multiprocessing.active_children()


def test_a_worker_computes_on_one_thread(files):
    class Threads(Images):
        def pixels(self, _: int) -> Any:
            return np.full((1, 1, 3), torch.get_num_threads(), np.uint8)

    data = Threads(files, CLASSES, CHOSEN, None, 0)
    levels = (seen(data, workers=2)[0][:, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]) * 255
    assert set(levels.round().flatten().tolist()) == {1.0}


def test_making_and_reading_a_loader_draws_nothing_from_torchs_generator(files):
    before = torch.get_rng_state()
    seen(images(files, Augmentation()), workers=0)
    assert torch.equal(torch.get_rng_state(), before)


@settings(deadline=None)
@given(n=st.integers(1, 200), seed=st.integers(0, 2**32), epoch=st.integers(0, 300))
def test_an_epochs_order_is_a_permutation_and_always_the_same(n, seed, epoch):
    order = epoch_order(n, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(n))
    np.testing.assert_array_equal(order, epoch_order(n, seed=seed, epoch=epoch))


def test_orders_differ_from_epoch_to_epoch_and_seed_to_seed():
    orders = {
        tuple(epoch_order(30, seed=seed, epoch=epoch)) for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    }
    assert len(orders) == 5


def test_weighted_draws_follow_the_weights():
    # One image of weight 9 and nine of weight 1: half of 10,000 draws are the first (deviation 50).
    drawn = epoch_order(10_000, seed=0, epoch=0, weights=[9.0] + [1.0] * 9 + [0.0] * 9_990)
    assert len(drawn) == 10_000
    assert drawn.max() <= 9
    assert 4_800 < (drawn == 0).sum() < 5_200
