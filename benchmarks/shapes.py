"""Rows of every shape: how fast they are against what people do today.

Each section is a function, and prints a table of rates with their ratio to its first line:

- collate: 256 ragged int32 rows of mean length 79, drawn from a shuffled window of 20,000, to one
  tensor, against `torch.nn.utils.rnn.pad_sequence`, all on one thread of torch, as in a worker;
- bucket: what part of padded batches is padding, and elements a second, for batches in shuffled
  order, by length, and within a budget;
- vlen, offsets, csr, trajectories, slices: files of such rows, streamed shuffled, against h5py as
  people use it;
- inner: windows over time inside the rows of simulations that are not chunked.

The ways take turns, and the best of several rounds counts for each.

Run ``python benchmarks/shapes.py [--only SECTION] [--directory DIR] [--repeats N]``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import stored_shapes
import torch
from torch.nn.utils.rnn import pad_sequence

import h5stream as h5s
from h5stream.columns import Ragged

MEAN_LENGTH = 79


def draw_lengths(n_rows: int, seed: int = 0) -> np.ndarray:
    """Draw lengths with a long tail, as texts have it."""
    drawn = np.random.default_rng(seed).lognormal(np.log(MEAN_LENGTH) - 0.18, 0.6, n_rows)
    return np.maximum(drawn.astype(np.int64), 1)


def best_rates(
    ways: Mapping[str, Callable[[], object]], *, units: int, calls: int, repeats: int
) -> dict[str, float]:
    """Units a second of each way: `calls` calls a round, each of which handles so many units."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            for _ in range(calls):
                way()
            seconds[name] = min(seconds[name], (time.perf_counter() - started) / calls)
    return {name: units / value for name, value in seconds.items()}


def print_rates(title: str, rates: Mapping[str, float], unit: str = "rows/s") -> None:
    """Print rates and their ratios to the first."""
    print(f"\n{title}\n{'':44}{unit:>16}{'ratio':>10}")
    first = next(iter(rates.values()))
    for name, rate in rates.items():
        print(f"{name:44}{rate:>16,.0f}{rate / first:>10.2f}", flush=True)


def collate_section(directory: Path, repeats: int) -> None:
    """Measure putting one batch of ragged rows together."""
    generator = np.random.default_rng(0)
    lengths = draw_lengths(20_000)
    values = generator.integers(0, 50_000, int(lengths.sum()), np.int32)
    window = h5s.Block({"tokens": Ragged(values, np.append(0, lengths.cumsum()))})
    block = window.take(generator.permutation(20_000)).part(0, 256)
    arrays = list(block["tokens"])
    tensors = [torch.from_numpy(array) for array in arrays]

    def collating(**options: Any) -> Callable[[], object]:
        return lambda: h5s.collate(block, **options)

    def padded_sequence() -> object:
        sizes = torch.tensor([len(tensor) for tensor in tensors])
        return pad_sequence(tensors, batch_first=True), sizes

    expected = h5s.collate(block)
    found = padded_sequence()
    assert torch.equal(found[0], expected["tokens"])  # type: ignore[index]
    ways = {
        "pad_sequence": lambda: pad_sequence(tensors, batch_first=True),
        "pad_sequence, and lengths": padded_sequence,
        "pad_sequence of arrays": lambda: pad_sequence(
            [torch.from_numpy(array) for array in arrays], batch_first=True
        ),
        "h5stream, padded": collating(padding_info="none"),
        "h5stream, padded, and lengths": collating(),
        "h5stream, left, and mask": collating(padding_side="left", padding_info="mask"),
        "h5stream, packed": collating(ragged="packed"),
        "h5stream, nested": collating(ragged="nested"),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = best_rates(ways, units=256, calls=100, repeats=repeats)
    torch.set_num_threads(threads)
    print_rates("collate: 256 ragged rows of mean 79, int32", rates)


class MakeRagged:
    """Turns a field of row numbers into ragged rows; stands for a file that holds them."""

    def __init__(self, lengths: np.ndarray) -> None:
        self.lengths = lengths
        self.starts = lengths.cumsum() - lengths
        self.values = np.arange(int(lengths.sum()), dtype=np.int32)

    def __call__(self, columns: dict[str, Any]) -> dict[str, Any]:
        rows = columns["row"]
        return {"tokens": Ragged.placed(self.values, self.starts[rows], self.lengths[rows])}


def bucket_section(directory: Path, repeats: int) -> None:
    """Measure the padding of batches of 64 rows, and the rate at which they come."""
    n_rows = 100_000
    path = directory / "shapes-rows.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("row", data=np.arange(n_rows), chunks=(4096,))
    lengths = draw_lengths(n_rows)
    rows = h5s.open_files(path).list_chunks(2**15).shuffle_chunks().shard().read_chunks()
    ragged = rows.shuffle_rows(20_000).map(MakeRagged(lengths))
    pipes = {
        "batch(64)": ragged.batch(64),
        'bucket(64, by="tokens")': ragged.bucket(64, by="tokens"),
        'bucket(by="tokens", max_tokens=8192)': ragged.bucket(by="tokens", max_tokens=8192),
    }
    pipes = {name: pipe.collate() for name, pipe in pipes.items()}
    ways = {name: (lambda pipe=pipe: sum(1 for _ in pipe)) for name, pipe in pipes.items()}
    rates = best_rates(ways, units=int(lengths.sum()), calls=1, repeats=repeats)
    print_rates("bucket: padded batches of a shuffled stream", rates, "elements/s")
    print(f"\n{'':44}{'padding':>16}{'batches':>10}")
    for name, pipe in pipes.items():
        stats, epochs = pipe.stats(), repeats
        print(f"{name:44}{stats['padding_waste']:>16.1%}{stats['batches'] / epochs:>10,.0f}")


SECTIONS: dict[str, Callable[[Path, int], None]] = {
    "collate": collate_section,
    "bucket": bucket_section,
    "vlen": stored_shapes.vlen_section,
    "offsets": stored_shapes.offsets_section,
    "csr": stored_shapes.csr_section,
    "trajectories": stored_shapes.trajectories_section,
    "slices": stored_shapes.slices_section,
    "inner": stored_shapes.inner_section,
}


def main() -> None:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", choices=SECTIONS, help="run this section alone")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(os.sched_getaffinity(0))} cores, best of {arguments.repeats}")
    for name, section in SECTIONS.items():
        if arguments.only in (None, name):
            section(arguments.directory, arguments.repeats)


if __name__ == "__main__":
    main()
