"""Fetches many ranges of a file in few reads, counting bytes and seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from h5stream.decode import Scratch
from h5stream.fetch import DataFile, coalesce_ranges
from h5stream.reader.asking import is_in_memory
from h5stream.reader.stats import Stats

__all__ = ["fetch_pieces", "read_counted"]


def read_counted(file: DataFile, offset: int, buffers: Sequence[np.ndarray], stats: Stats) -> None:
    """Fill buffers with the bytes from `offset` on."""
    started = time.perf_counter()
    nbytes = file.read_into(offset, buffers)
    stats.add(fetched_bytes=nbytes, fetch_s=time.perf_counter() - started)


def fetch_pieces(
    file: DataFile, offsets: np.ndarray, sizes: np.ndarray, scratch: Scratch, stats: Stats
) -> Iterator[np.ndarray]:
    """Yield the bytes of each range, good until the next one is asked for.

    Parameters
    ----------
    file : DataFile
        Where they come from.
    offsets, sizes : numpy.ndarray
        int64: the ranges, sorted by offset.
    scratch : Scratch
        Working memory of the calling thread.
    stats : Stats
        Where bytes and seconds are counted.
    """
    if is_in_memory(file):
        for offset, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
            yield np.frombuffer(file.view(offset, size), np.uint8)
        return
    limits = file.limits
    reads = coalesce_ranges(
        offsets, sizes, max_gap_bytes=limits.max_gap_bytes, max_bytes=limits.max_bytes
    ).tolist()
    for first, last in pairwise(reads):
        origin = int(offsets[first])
        nbytes = int((offsets[first:last] + sizes[first:last]).max()) - origin
        fetched = scratch.take("fetch", nbytes)
        read_counted(file, origin, [fetched], stats)
        for at in range(first, last):
            relative = int(offsets[at]) - origin
            yield fetched[relative : relative + int(sizes[at])]
