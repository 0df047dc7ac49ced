"""Sections of shapes.py that read files: ragged, sparse, grouped and sliced rows."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import h5stream as h5s

BATCH = 256


def written(path: Path, write: Callable[[h5py.File], None]) -> Path:
    """Write a file unless an earlier run left it."""
    if not path.exists():
        part = path.with_suffix(".part")
        with h5py.File(part, "w") as file:
            write(file)
        part.rename(path)
    return path


@contextlib.contextmanager
def python_loop() -> Iterator[None]:
    """Keep a thread busy in pure Python."""
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def drain(stream: Any) -> None:
    """Take every batch."""
    for _batch in stream:
        pass


def rate_of(way: Callable[[], object], rows: int, repeats: int) -> float:
    """Rows a second, best of several calls."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        way()
        best = min(best, time.perf_counter() - started)
    return rows / best


def show(title: str, rates: dict[str, float], against: str) -> None:
    """Print rates, and their ratio to one of them."""
    print(f"\n{title}\n{'':52}{'rows/s':>14}{'ratio':>10}")
    for name, rate in rates.items():
        print(f"{name:52}{rate:>14,.0f}{rate / rates[against]:>10.2f}", flush=True)


def ragged_rows(n_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw int32 values and the offsets of rows of mean length 79."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(9, 150, n_rows)
    offsets = np.append(0, lengths.cumsum())
    return generator.integers(0, 50_000, int(offsets[-1]), np.int32), offsets


def vlen_section(directory: Path, repeats: int) -> None:
    """Measure elements of variable length in HDF5's heaps."""
    n_rows = 200_000

    def write(file: h5py.File) -> None:
        values, offsets = ragged_rows(n_rows)
        dataset = file.create_dataset("x", (n_rows,), h5py.vlen_dtype(np.int32), chunks=(1000,))
        for start in range(0, n_rows, 1000):
            rows = np.empty(1000, object)
            rows[:] = [
                values[offsets[row] : offsets[row + 1]] for row in range(start, start + 1000)
            ]
            dataset[start : start + 1000] = rows

    path = written(directory / "shapes-vlen.h5", write)
    shuffled = h5s.H5Stream(path, ["x"], batch_size=BATCH, shuffle=True, ragged="packed")
    ordered = h5s.H5Stream(path, ["x"], batch_size=BATCH, ragged="packed")
    some = np.random.default_rng(0).integers(0, n_rows, 5_000).tolist()
    with h5py.File(path) as file:
        dataset = file["x"]

        def single() -> None:
            for row in some:
                dataset[row]

        def slices() -> None:
            for start in range(0, n_rows, 1000):
                dataset[start : start + 1000]

        rates = {
            "h5py, row by row": rate_of(single, len(some), repeats),
            "h5py, slices of 1,000 rows": rate_of(slices, n_rows, repeats),
            "h5stream, in order": rate_of(lambda: drain(ordered), n_rows, repeats),
            "h5stream, shuffled": rate_of(lambda: drain(shuffled), n_rows, repeats),
        }
        with python_loop():
            rates |= {
                "beside a Python loop: h5py, slices": rate_of(slices, n_rows, repeats),
                "beside a Python loop: h5stream, shuffled": rate_of(
                    lambda: drain(shuffled), n_rows, repeats
                ),
            }
    show("vlen: 200,000 rows of mean 79, int32", rates, "h5py, row by row")
    ratio = rates["h5stream, shuffled"] / rates["h5py, slices of 1,000 rows"]
    print(f"{'h5stream, shuffled, against h5py in slices':52}{ratio:>24.2f}")


def offsets_section(directory: Path, repeats: int) -> None:
    """Measure values with offsets, against gathering the same rows from memory."""
    n_rows = 1_000_000

    def write(file: h5py.File) -> None:
        file["values"], file["offsets"] = ragged_rows(n_rows)

    path = written(directory / "shapes-offsets.h5", write)
    with h5py.File(path) as file:
        values, offsets = file["values"][...], file["offsets"][...]
    field = {"x": h5s.Ragged("values", "offsets")}
    shuffled = h5s.H5Stream(path, field, batch_size=BATCH, shuffle=True, ragged="packed")
    window = 200_000  # rows that are gathered from stay as close as in a shuffled window

    def gather() -> None:
        generator = np.random.default_rng(0)
        for first in range(0, n_rows, window):
            order = first + generator.permutation(min(window, n_rows - first))
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                begin, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
                ends = lengths.cumsum()
                index = np.repeat(begin - (ends - lengths), lengths)
                index += np.arange(len(index))
                values.take(index)

    rates = {
        "plain gather from memory": rate_of(gather, n_rows, repeats),
        "h5stream, shuffled": rate_of(lambda: drain(shuffled), n_rows, repeats),
    }
    show("offsets: 1,000,000 rows of mean 79, int32", rates, "plain gather from memory")


def csr_section(directory: Path, repeats: int) -> None:
    """Measure a sparse matrix, against SciPy rows over h5py and AnnData's backed mode."""
    n_rows, n_columns, per_row = 100_000, 20_000, 1_000

    def write(file: h5py.File) -> None:
        generator = np.random.default_rng(0)
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"},
        )
        group.attrs["shape"] = np.array([n_rows, n_columns])
        size = n_rows * per_row
        data = group.create_dataset("data", (size,), "f4", chunks=(2**17,))
        indices = group.create_dataset("indices", (size,), "i4", chunks=(2**17,))
        steps = n_columns // per_row
        for first in range(0, n_rows, 5_000):
            part = slice(first * per_row, (first + 5_000) * per_row)
            data[part] = generator.random(5_000 * per_row, np.float32)
            drawn = generator.integers(0, steps, (5_000, per_row), np.int32)
            indices[part] = (drawn + np.arange(0, n_columns, steps, np.int32)).reshape(-1)
        group["indptr"] = np.arange(n_rows + 1, dtype=np.int64) * per_row
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for name, length in (("obs", n_rows), ("var", n_columns)):
            frame = file.create_group(name)
            frame.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0"})
            frame.attrs["_index"], frame.attrs["column-order"] = "_index", np.array([], "S1")
            index = np.array([f"{name}{number}" for number in range(length)], object)
            frame.create_dataset("_index", data=index, dtype=h5py.string_dtype())
            frame["_index"].attrs.update(
                {"encoding-type": "string-array", "encoding-version": "0.2.0"}
            )

    path = written(directory / "shapes-csr.h5ad", write)
    shuffled = h5s.H5Stream(path, {"X": "X"}, batch_size=BATCH, shuffle=True, convention=None)
    batches = 8
    drawn = np.random.default_rng(0).permutation(n_rows)[: batches * BATCH].reshape(batches, -1)

    def scipy_rows() -> None:
        from scipy.sparse import csr_matrix

        with h5py.File(path) as file:
            group = file["X"]
            indptr = group["indptr"][...]
            for rows in drawn:
                bounds = [(indptr[row], indptr[row + 1]) for row in rows]
                data = np.concatenate([group["data"][a:b] for a, b in bounds])
                indices = np.concatenate([group["indices"][a:b] for a, b in bounds])
                pointers = np.append(0, np.cumsum([b - a for a, b in bounds]))
                csr_matrix((data, indices, pointers), (BATCH, n_columns))

    rates = {"SciPy rows over h5py": rate_of(scipy_rows, drawn.size, repeats)}
    if importlib.util.find_spec("anndata"):
        import anndata

        backed = anndata.read_h5ad(path, backed="r")
        rates["AnnData, backed mode"] = rate_of(
            lambda: [backed.X[np.sort(rows)] for rows in drawn], drawn.size, 1
        )
    else:
        print("\nAnnData is not installed: its backed mode is left out")
    rates["h5stream, shuffled, sparse tensors"] = rate_of(
        lambda: drain(shuffled), n_rows, min(repeats, 3)
    )
    show("csr: 100,000 x 20,000 at 5 %", rates, "SciPy rows over h5py")


class LazyTrajectories:
    """The pattern that people copy: one dataset a sample, opened lazily."""

    def __init__(self, path: Path, n_samples: int) -> None:
        self.path, self.n_samples, self.file = path, n_samples, None

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        if self.file is None:
            self.file = h5py.File(self.path)
        group = self.file[f"data/demo_{index}"]
        return group["actions"][...], group["obs"][...], int(group.attrs["label"])


def trajectories_section(directory: Path, repeats: int) -> None:
    """Measure 2,000 trajectories of two datasets and a label each."""
    n_samples = 2_000

    def write(file: h5py.File) -> None:
        generator = np.random.default_rng(0)
        for number in range(n_samples):
            length = int(generator.integers(50, 150))
            group = file.create_group(f"data/demo_{number}")
            group["actions"] = generator.random((length, 7), np.float32)
            group["obs"] = generator.random((length, 32), np.float32)
            group.attrs["label"] = number % 10

    path = written(directory / "shapes-trajectories.h5", write)
    fields = {
        "actions": h5s.Grouped("data/demo_*/actions"),
        "obs": h5s.Grouped("data/demo_*/obs"),
        "label": h5s.Grouped("data/demo_*", attribute="label"),
    }
    stream = h5s.H5Stream(path, fields, batch_size=64, shuffle=True, ragged="packed")
    started = time.perf_counter()
    drain(stream)
    first = time.perf_counter() - started
    lazy = LazyTrajectories(path, n_samples)
    order = np.random.default_rng(0).permutation(n_samples).tolist()
    rates = {
        "lazy Dataset, sample by sample": rate_of(
            lambda: [lazy[index] for index in order], n_samples, repeats
        ),
        "h5stream, shuffled": rate_of(lambda: drain(stream), n_samples, repeats),
        "h5stream, scan and first epoch": n_samples / first,
    }
    show("trajectories: 2,000 of two datasets and a label", rates, "lazy Dataset, sample by sample")


def slices_section(directory: Path, repeats: int) -> None:
    """Measure slices of 100 rows, one from every row on."""
    n_rows, length = 400_000, 100

    def write(file: h5py.File) -> None:
        values = np.random.default_rng(0).random((n_rows, 8), np.float32)
        file.create_dataset("plain", data=values, chunks=(4096, 8))
        file.create_dataset("gzip", data=values, chunks=(4096, 8), compression="gzip")

    path = written(directory / "shapes-slices.h5", write)
    some = np.random.default_rng(0).integers(0, n_rows - length, 2_000).tolist()
    for name in ("plain", "gzip"):
        stream = h5s.H5Stream(path, {"x": h5s.Slices(name, length)}, batch_size=BATCH, shuffle=True)
        with h5py.File(path) as file:
            rates = {
                "h5py, one slice a row, in order": rate_of(
                    partial(cut, file[name], range(2_000), length), 2_000, repeats
                ),
                "h5py, one slice a row, shuffled": rate_of(
                    partial(cut, file[name], some, length), 2_000, repeats
                ),
                "h5stream, shuffled": rate_of(
                    partial(drain, stream), len(stream) * BATCH, min(repeats, 3)
                ),
            }
        title = f"slices: length 100, stride 1, of 400,000 rows of 8 float32, {name}"
        show(title, rates, "h5py, one slice a row, shuffled")


def cut(dataset: Any, starts: Iterable[int], length: int) -> None:
    """Read slices one by one, as tensors."""
    for start in starts:
        torch.from_numpy(dataset[start : start + length])


RUNS = {
    "2 kB": ((2000, 201, 64), 8),
    "10 kB": ((1000, 201, 256), 10),
    "41 kB": ((400, 201, 1024), 10),
}
"""Shapes of (run, time, point), and lengths of windows over time; named by what a window takes."""


def inner_section(directory: Path, repeats: int) -> None:
    """Measure windows along an inner axis of a dataset that is not chunked."""
    for name, (shape, length) in RUNS.items():

        def write(file: h5py.File, shape: tuple[int, ...] = shape) -> None:
            dataset = file.create_dataset("x", shape, "f4")
            for run in range(shape[0]):
                dataset[run] = np.random.default_rng(run).random(shape[1:], np.float32)

        path = written(directory / f"shapes-inner-{'x'.join(map(str, shape))}.h5", write)
        rng = np.random.default_rng(0)
        runs = rng.integers(0, shape[0], 4 * BATCH).tolist()
        starts = rng.integers(0, shape[1] - length, 4 * BATCH).tolist()
        window = {"x": h5s.Slices("x", length, axis=1)}
        stream = h5s.H5Stream(path, window, batch_size=BATCH, shuffle=True)
        rows = shape[0] * (shape[1] - length + 1)
        with h5py.File(path) as file:
            rates = {
                "h5py, one at a time, shuffled": rate_of(
                    partial(cut_runs, file["x"], runs, starts, length), 4 * BATCH, repeats
                ),
                f"the same, in batches of {BATCH}": rate_of(
                    partial(batch_runs, file["x"], runs, starts, length), 4 * BATCH, repeats
                ),
                "h5stream, shuffled": rate_of(partial(drain, stream), rows, repeats),
            }
        title = f"inner: windows of {length} in {shape} float32, {name} each, not chunked"
        show(title, rates, f"the same, in batches of {BATCH}")


def cut_runs(dataset: Any, runs: list[int], starts: list[int], length: int) -> list[torch.Tensor]:
    """Read windows inside rows one by one, as tensors."""
    return [
        torch.from_numpy(dataset[run, start : start + length])
        for run, start in zip(runs, starts, strict=True)
    ]


def batch_runs(dataset: Any, runs: list[int], starts: list[int], length: int) -> None:
    """Read windows one by one, and make batches of them."""
    for first in range(0, len(runs), BATCH):
        some = slice(first, first + BATCH)
        torch.stack(cut_runs(dataset, runs[some], starts[some], length))
