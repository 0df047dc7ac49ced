from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from h5stream.opening import open_catalog
from h5stream.plan import Pieces
from h5stream.reader import Reader, Stats, WindowReads, resident_fields
from tests.h5files import assert_same_bits, read_with_h5py
from tests.windows import read_field


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Write a heavy field in chunks, a light one in one chunk and one that h5py has to read."""
    path = str(tmp_path / "file.h5")
    with h5py.File(path, "w") as file:
        heavy = np.random.default_rng(0).integers(0, 9, (300, 40))
        file.create_dataset("heavy", data=heavy, chunks=(7, 13), compression="gzip")
        file.create_dataset("light", data=np.arange(300, dtype=">i2"), chunks=(300,), shuffle=True)
        file.create_dataset("odd", data=np.arange(300), chunks=(50,), scaleoffset=0)
    return path


FIELDS = {"heavy": "heavy", "light": "light", "odd": "odd"}


def pieces(*ranges: tuple[int, int]) -> Pieces:
    start, stop = np.array(ranges, np.int64).T
    return Pieces(np.zeros(len(ranges), np.int64), start, stop)


def run(reader: Reader, window: WindowReads) -> dict[str, np.ndarray]:
    reader.run(window)
    return window.columns


def test_light_fields_stay_in_memory_and_the_heaviest_does_not(path: str) -> None:
    assert resident_fields(open_catalog(path, FIELDS)) == {"light", "odd"}
    assert resident_fields(open_catalog(path, {"light": "light"})) == frozenset()


def test_a_field_that_is_large_over_all_files_does_not_stay_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10, 2**21), "u2", chunks=(1, 2**21))
        file.create_dataset("y", (10, 2**21), "u1", chunks=(1, 2**21))
    assert resident_fields(open_catalog(path, {"x": "x", "y": "y"})) == frozenset()


def test_instances_share_what_chunks_serve_as_well(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (1000, 100), "u1", chunks=(10, 100))
        file.create_dataset("tiny", (1000,), "u1", chunks=(10,), compression="gzip")
        file.create_dataset("plain", (1000, 4), "u1", chunks=(1000, 4))
        file.create_dataset("cut", (1000, 5), "u1", chunks=(10, 5), compression="gzip")
        file.create_dataset("one_chunk", (1000, 6), "u1", chunks=(1000, 6), compression="gzip")
        file.create_dataset("odd", (1000, 7), "u1", chunks=(10, 7), scaleoffset=0)
    names = ["x", "tiny", "plain", "cut", "one_chunk", "odd"]
    catalog = open_catalog(str(path), {name: name for name in names})
    assert resident_fields(catalog) == {"tiny", "plain", "cut", "one_chunk", "odd"}
    assert resident_fields(catalog, 4) == {"tiny", "one_chunk", "odd"}


def test_what_stays_in_memory_is_decoded_once(path: str) -> None:
    stats = Stats()
    reader = Reader(open_catalog(path, {"heavy": "heavy", "light": "light"}), stats)
    for start in range(0, 300, 7):
        run(reader, reader.window(pieces((start, min(300, start + 7)))))
    assert stats.decoded_bytes == 300 * 2 + 43 * 4 * 7 * 13 * 8


@pytest.mark.parametrize("seed", [None, 0], ids=["in order", "permuted"])
def test_many_threads_fill_one_window(path: str, seed: int | None) -> None:
    reader = Reader(open_catalog(path, FIELDS), Stats())
    places = None if seed is None else np.random.default_rng(seed).permutation(350)
    window = reader.window(pieces((150, 300), (0, 150), (10, 60)), places)
    with ThreadPoolExecutor(8) as executor:
        for task in reader.start(executor, window):
            task.result(60)
    reader.release_files()
    order = [*range(150, 300), *range(150), *range(10, 60)]
    for name, column in window.columns.items():
        found = column if places is None else column[places]
        assert_same_bits(found, read_with_h5py(path, name)[order])


def test_windows_that_are_held_do_not_share_memory(path: str) -> None:
    reader = Reader(open_catalog(path, FIELDS), Stats())
    first = run(reader, reader.window(pieces((0, 20))))
    second = run(reader, reader.window(pieces((100, 120))))
    assert first["light"].tolist() == list(range(20))
    assert second["light"].tolist() == list(range(100, 120))


def test_a_reader_goes_on_after_it_let_go_of_its_files(path: str) -> None:
    reader = Reader(open_catalog(path, FIELDS), Stats())
    for _ in range(2):
        assert run(reader, reader.window(pieces((5, 8))))["odd"].tolist() == [5, 6, 7]
        reader.release_files()


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_dataset_that_shrank_and_grew_again_is_filled(
    tmp_path: Path, libver: str, compression: str | None
) -> None:
    path = tmp_path / "file.h5"
    options = {"chunks": (8, 3), "maxshape": (None, None), "compression": compression}
    with h5py.File(path, "w", libver=libver) as file:
        x = file.create_dataset("x", data=np.ones((50, 10), "i4"), fillvalue=-1, **options)
        x.resize((13, 5))
        x.resize((61, 11))
    found = read_field(path)
    assert (found[:13, :5] == 1).all()
    assert_same_bits(found, read_with_h5py(path, "x"))
