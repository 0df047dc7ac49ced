"""The data: what each case's HDF5 file holds, and how samples become a batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

__all__ = ["CASES", "Case", "samples_of"]


@dataclass(frozen=True)
class Case:
    """One file.

    Parameters
    ----------
    name, about : str
        Short, and in words.
    write : callable
        Writes a file of so many rows.
    n_rows : int
        How many, by default.
    """

    name: str
    about: str
    write: Callable[[Path, int], None]
    n_rows: int

    def collate(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch of samples: stacked, or padded where they differ in length."""
        batch = {}
        for name in samples[0]:
            rows = [torch.as_tensor(sample[name]) for sample in samples]
            if name == "tokens":
                batch[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            else:
                batch[name] = torch.stack(rows)
        return batch


def _write_images(path: Path, n_rows: int, chunk_rows: int, compression: str | None) -> None:
    generator = np.random.default_rng(0)
    shape = (3, 64, 64)
    with h5py.File(path, "w") as file:
        images = file.create_dataset(
            "images",
            (n_rows, *shape),
            "u1",
            chunks=(min(chunk_rows, n_rows), *shape),
            compression=compression,
        )
        for first in range(0, n_rows, 500):
            count = min(500, n_rows - first)
            coarse = generator.integers(0, 256, (count, 3, 8, 8), np.uint8)
            smooth = coarse.repeat(8, 2).repeat(8, 3)
            noise = generator.integers(0, 8, smooth.shape, np.uint8)
            images[first : first + count] = smooth // 2 + noise
        file["labels"] = generator.integers(0, 10, n_rows)


def _write_table(path: Path, n_rows: int) -> None:
    values = np.random.default_rng(0).standard_normal((n_rows, 100), np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(min(1024, n_rows), 100))


def _write_tokens(path: Path, n_rows: int) -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(10, 400, n_rows)
    with h5py.File(path, "w") as file:
        values = generator.integers(0, 50_000, lengths.sum())
        file.create_dataset("values", data=values, chunks=(min(65_536, len(values)),))
        file["offsets"] = np.append(0, lengths.cumsum())


CASES = {
    case.name: case
    for case in (
        Case(
            "images",
            "(3, 64, 64) uint8, chunks of 64 rows, no filter",
            partial(_write_images, chunk_rows=64, compression=None),
            10_000,
        ),
        Case(
            "images-gzip",
            "(3, 64, 64) uint8, chunks of 64 rows, gzip",
            partial(_write_images, chunk_rows=64, compression="gzip"),
            10_000,
        ),
        Case(
            "images-gzip-1",
            "(3, 64, 64) uint8, chunks of one row, gzip",
            partial(_write_images, chunk_rows=1, compression="gzip"),
            10_000,
        ),
        Case("table", "100 float32, chunks of 1,024 rows, no filter", _write_table, 200_000),
        Case("tokens", "10 to 400 int64, padded to the longest of a batch", _write_tokens, 50_000),
    )
}


def samples_of(source: Path) -> Iterator[dict[str, np.ndarray]]:
    """Read the rows of a case's file in order, as one converts them."""
    with h5py.File(source) as file:
        if "offsets" in file:
            offsets, values = file["offsets"][:], file["values"][:]
            for start, stop in itertools.pairwise(offsets):
                yield {"tokens": values[start:stop]}
            return
        names = list(file)
        n_rows = len(file[names[0]])
        for first in range(0, n_rows, 1024):
            block = {name: file[name][first : first + 1024] for name in names}
            for row in range(len(block[names[0]])):
                yield {name: values[row] for name, values in block.items()}
