"""Compose the pipes by hand: what each gives to the next, and where functions of yours go.

`H5Stream` is this chain with defaults. By hand, stages may be left out, or come with functions:
`where` keeps rows, `map` changes them, before batching (on blocks of many rows, fast) or after
`unbatch` (on single samples, simple).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

import h5stream as h5s

FIELDS = {"x": "X", "cluster": "obs[louvain]", "n_genes": "obs[n_genes]"}


def has_many_genes(columns: dict[str, np.ndarray]) -> np.ndarray:
    return columns["n_genes"] > 1200


def add_norm(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**columns, "norm": np.linalg.norm(columns["x"], axis=1)}


def two_noisy_copies(sample: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    generator = np.random.default_rng(int(sample["n_genes"]))
    for _copy in range(2):
        noise = generator.normal(scale=0.1, size=sample["x"].shape)
        yield {"x": sample["x"] + noise.astype(np.float32), "cluster": sample["cluster"]}


def main() -> None:
    files = h5s.open_files(h5s.example_file(), FIELDS)
    print("open_files     ", next(iter(files)).n_rows, "rows")

    chunks = files.list_chunks(target_bytes=1)
    print("list_chunks    ", *islice(chunks, 2), f"... {len(chunks)} in all")

    shuffled = chunks.shuffle_chunks(seed=0)
    print("shuffle_chunks ", *islice(shuffled, 2), "...")

    blocks = shuffled.shard().read_chunks(prefetch=4)
    print("read_chunks    ", next(iter(blocks)))

    windows = blocks.shuffle_rows(buffer_size=256)
    print("shuffle_rows   ", next(iter(windows)))

    chosen = windows.where(has_many_genes).map(add_norm)
    print("where, map     ", next(iter(chosen)))

    batches = chosen.batch(64).collate()
    shapes = {name: tuple(column.shape) for name, column in next(iter(batches)).items()}
    print("batch, collate ", shapes)

    rows = sum(len(batch["x"]) for batch in batches)
    print("in one epoch   ", rows, "cells with more than 1200 genes")

    augmented = windows.unbatch().map(two_noisy_copies).batch(64).collate()
    copies = sum(len(batch["x"]) for batch in augmented)
    print("unbatch, map   ", copies, "samples made of 700 cells")


if __name__ == "__main__":
    main()
