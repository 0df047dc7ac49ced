"""Damaged tables and data for the native executor: nothing is read or written out of bounds.

Each case makes a job of pieces, filters and rows that fits together, runs it, then damages numbers
of its tables or bytes of its data, many times, and runs it again. What counts as a finding: the
process ends, or bytes beside the window are touched. Compiled with sanitizers, any other access
that is out of bounds, and any undefined arithmetic, ends the process as well::

    CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all" python h5stream/native/build.py
    LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
        python -m fuzz.native --count 200

Afterwards ``python h5stream/native/build.py`` compiles it again as it should be.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np

from fuzz.harness import main
from h5stream.decode import Scratch
from h5stream.native.job import Bytes, Pieces, Plans, Sizes, Window, run_job
from h5stream.native.library import load_library

__all__ = ["RUNS", "run_case"]

RUNS = 1000
"""Executions of a case."""

_GUARD = 4096
_PIPELINES = {
    "none": ((), lambda chunk: chunk),
    "deflate": ((1,), imagecodecs.deflate_encode),
    "lz4": ((32004,), imagecodecs.lz4h5_encode),
    "zstd": ((32015,), imagecodecs.zstd_encode),
    "lzf": ((32000,), imagecodecs.lzf_encode),
    "blosc": ((32001,), lambda chunk: imagecodecs.blosc_encode(chunk, typesize=4)),
    "bzip2": ((307,), imagecodecs.bz2_encode),
    "shuffle deflate": ((1, 2), imagecodecs.deflate_encode),
    "shuffle fletcher32 zstd": ((32015, 3, 2), imagecodecs.zstd_encode),
}
"""Filters as they are undone, and the compressor; what lies between them may be anything."""

_ADDED = {2: 0, 3: 4}
_TABLES = ("offset", "size", "plan", "first_segment", "start", "rows", "number", "corner")
_NUMBERS = (0, 1, -1, -2, 2, 7, 255, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))


def run_case(seed: int, folder: Path) -> str:
    """Run a job, and damage it again and again."""
    rng, library = np.random.default_rng(seed), load_library()
    assert library.run is not None, library.reason
    name = list(_PIPELINES)[seed % len(_PIPELINES)]
    pieces, plans, sizes, data = _make_job(rng, *_PIPELINES[name])
    path = folder / "data"
    scratch, ends = Scratch(), 0
    rows = int(rng.integers(1, 40))
    for number in range(RUNS):
        stored, damaged = data.copy(), pieces
        some_plans, some_sizes = plans, sizes
        places = rng.permutation(rows) if rng.random() < 0.5 else None
        if number:
            if rng.random() < 0.7:
                _damage_bytes(rng, stored)
            if rng.random() < 0.7:
                damaged = _damage_pieces(rng, pieces)
            if rng.random() < 0.2:
                some_plans = replace(plans, steps=_damaged(rng, plans.steps))
            if rng.random() < 0.1:
                some_sizes = _damage_sizes(rng, sizes)
            if places is not None and rng.random() < 0.2:
                places = _damaged(rng, places)
        row_nbytes = max(1, min(some_sizes.row_nbytes, 2**16))
        memory = np.full(2 * _GUARD + rows * row_nbytes, 0xEE, np.uint8)
        column = memory[_GUARD : _GUARD + rows * row_nbytes].reshape(rows, row_nbytes)
        if row_nbytes != some_sizes.row_nbytes:
            some_sizes = replace(some_sizes, row_nbytes=row_nbytes)
        given = (some_plans, some_sizes, Window(column, places), scratch)
        if rng.random() < 0.9:
            parts = [stored[:100].copy(), stored[100:].copy()] if number % 3 else [stored]
            offset = np.array([0, 100][: len(parts)], np.int64)
            done = run_job(library, Bytes(-1, 0, 0, offset, parts), damaged, *given)
        else:
            path.write_bytes(stored.tobytes())
            # A piece of a damaged table may claim any size: memory is bounded by the file.
            damaged = replace(damaged, size=np.minimum(damaged.size, len(stored) + 8))
            with path.open("rb") as raw:
                source = Bytes(raw.fileno(), int(rng.integers(0, 64)), 512, np.empty(0, np.int64))
                done = run_job(library, source, damaged, *given)
        assert (memory[:_GUARD] == 0xEE).all(), "bytes before the window were touched"
        assert (memory[-_GUARD:] == 0xEE).all(), "bytes behind the window were touched"
        ends += int((done.status != 0).any())
    return "damage noticed" if ends else "no damage noticed"


def _make_job(
    rng: np.random.Generator, filters: tuple[int, ...], encode: object
) -> tuple[Pieces, Plans, Sizes, np.ndarray]:
    n, chunk_rows = int(rng.integers(1, 8)), int(rng.integers(1, 6))
    split = rng.random() < 0.4
    row_shape = np.array([4, 48] if split else [], np.int64)
    chunk_shape = np.array([3, 20] if split else [], np.int64)
    row_nbytes = 192 if split else int(rng.choice([1, 12, 200, 2048]))
    chunk_nbytes = chunk_rows * (60 if split else row_nbytes)
    added = sum(_ADDED.get(number, 0) for number in filters)
    chunks = [
        encode(rng.integers(0, 3, chunk_nbytes + added, np.uint8).tobytes()) for _ in range(n)
    ]
    size = np.array([len(chunk) for chunk in chunks], np.int64)
    steps, nbytes = [], chunk_nbytes + added
    for number in filters:
        steps.append((number, 4, nbytes, _ADDED.get(number, -1)))
        nbytes -= _ADDED.get(filters[len(steps)], 0) if len(steps) < len(filters) else 0
    plans = Plans(np.array([0, len(steps)]), np.array(steps, np.int64).reshape(-1, 4))
    rows = np.full(n, chunk_rows, np.int64)
    corner = np.zeros((n, 2), np.int64) if split else np.empty(0, np.int64)
    plan = np.zeros(n, np.int64)
    pieces = Pieces(
        np.cumsum(size) - size,
        size,
        plan,
        np.arange(n + 1),
        np.zeros(n, np.int64),
        rows,
        np.zeros(n, np.int64),
        corner,
    )
    sizes = Sizes(chunk_nbytes, chunk_rows, row_nbytes, row_shape, chunk_shape, chunk_nbytes + 8)
    return pieces, plans, sizes, np.frombuffer(b"".join(chunks), np.uint8).copy()


def _damage_bytes(rng: np.random.Generator, data: np.ndarray) -> None:
    for _ in range(int(rng.integers(1, 5))):
        data[rng.integers(0, len(data))] = rng.integers(0, 256)


def _damage_pieces(rng: np.random.Generator, pieces: Pieces) -> Pieces:
    name = str(rng.choice(_TABLES))
    return replace(pieces, **{name: _damaged(rng, getattr(pieces, name))})


def _damaged(rng: np.random.Generator, table: np.ndarray) -> np.ndarray:
    table = table.astype(np.int64)
    if table.size:
        flat = table.reshape(-1)
        flat[rng.integers(0, flat.size)] = _number(rng)
    return table


def _damage_sizes(rng: np.random.Generator, sizes: Sizes) -> Sizes:
    name = str(rng.choice(["chunk_nbytes", "chunk_rows", "row_nbytes", "row_shape", "chunk_shape"]))
    found = getattr(sizes, name)
    if isinstance(found, np.ndarray):
        return replace(sizes, **{name: _damaged(rng, found)})
    number = _number(rng)
    if name == "chunk_nbytes" and number > 2**20:  # memory is taken by it, in Python
        number = -number - 1
    return replace(sizes, **{name: number})


def _number(rng: np.random.Generator) -> int:
    return int(rng.choice(_NUMBERS)) if rng.random() < 0.5 else int(rng.integers(-3, 300))


if __name__ == "__main__":
    sys.exit(len(main("fuzz.native", run_case).findings))
