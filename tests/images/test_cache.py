"""The cache of arrays: bounded, shared between processes, and read no further than it is asked."""

from pathlib import Path

import numpy as np

from pellucid.images.store import Store


def test_the_cache_is_bounded_and_what_is_used_least_goes_first(tmp_path: Path) -> None:
    stores = [Store(tmp_path, "arrays", {"number": number}, limit=25_000) for number in range(3)]
    for number, store in enumerate(stores):
        store.add([f"image{number}"], np.zeros((1, 2000), np.float32))  # 8 kB each
    assert [len(store.rows([f"image{number}"])) for number, store in enumerate(stores)] == [1, 1, 1]
    import os

    for moment, number in enumerate((1, 0, 2)):  # the second was used least
        for path in stores[number].place.iterdir():
            os.utime(path, (moment, moment))
    Store(tmp_path, "arrays", {"number": 3}, limit=25_000).add(["image3"], np.zeros((1, 2000), np.float32))
    assert [len(store.rows([f"image{number}"])) for number, store in enumerate(stores)] == [1, 0, 1]


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path, "arrays", {"number": 1}, limit=10**6)
    store.add(["mine"], np.ones((1, 3), np.float32))
    store.add(["another's"], np.ones((1, 3), np.float32))
    note = next(note for note in store.place.glob("*.json") if "another's" in note.read_text())
    note.with_suffix(".values").write_bytes(b"damaged, which shows to whoever reads it")
    assert set(store.rows(["mine"])) == {"mine"} and note.exists()
    assert not store.rows(["another's"]) and not note.exists()


def test_two_processes_may_keep_the_same_and_half_a_stretch_does_not_count(tmp_path: Path) -> None:
    one, other = (Store(tmp_path, "arrays", {"number": 1}, limit=10**6) for _ in range(2))
    one.add(["a", "b"], np.ones((2, 3), np.float32))
    other.add(["b", "c"], np.ones((2, 3), np.float32))
    (one.place / "0123.values").write_bytes(b"interrupted before its note was written")
    found = one.rows(["a", "b", "c", "d"])
    assert set(found) == {"a", "b", "c"} and all(row.array.tolist() == [1, 1, 1] for row in found.values())
