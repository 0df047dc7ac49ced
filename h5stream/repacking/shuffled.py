"""Rows in an order that is drawn, within a bound of memory.

Each row has a key, drawn by the seed and its number. Rows go into buckets of neighbouring keys, on
disk; then each bucket is read, sorted and given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from h5stream.columns import take
from h5stream.conventions.schema import ROWS
from h5stream.errors import ConfigError
from h5stream.plan.seeds import row_seeds
from h5stream.repacking.rows import Plan, Stored, batch_rows_of, batches, infer_columns
from h5stream.stream import H5Stream
from h5stream.write import Writer
from h5stream.write.values import At, fit
from h5stream.write.written import columns_of, rows_of

__all__ = ["Shuffled"]

_MOST_BUCKETS = 512
_SHARE = 8
"""A bucket may take one part in so many of the memory: it is read, sorted, and written."""


class Shuffled(Stored):
    """Rows in the order of their keys.

    Parameters
    ----------
    plan : Plan
        With the numbers of the rows among its columns.
    seed : int
        Of the keys.
    memory_bytes : int
        What may be taken.
    """

    def __init__(self, plan: Plan, seed: int, memory_bytes: int) -> None:
        super().__init__(plan)
        self._seed = seed
        room = memory_bytes // _SHARE
        self._count = max(1, -(-plan.n_rows * plan.row_nbytes // room))
        if self._count > _MOST_BUCKETS:
            needed = plan.n_rows * plan.row_nbytes * _SHARE // _MOST_BUCKETS
            raise ConfigError(
                f"{plan.n_rows} rows of {plan.row_nbytes} bytes cannot be shuffled within "
                f"{memory_bytes} bytes of memory; allow {needed}"
            )
        self._paths = [plan.folder / f"bucket-{number}.h5" for number in range(self._count)]
        done = plan.folder / "buckets"
        if not done.exists():
            for path in self._paths:
                path.unlink(missing_ok=True)
            self._fill(max(2**12, min(2**20, room // (4 * self._count))))
            done.touch()

    def _keys(self, rows: Mapping[str, Any]) -> np.ndarray:
        return row_seeds(np.asarray(rows[ROWS]), seed=self._seed, epoch=0)

    def _fill(self, chunk_bytes: int) -> None:
        """Put each row into the bucket of its key."""
        done, specs = 0, infer_columns(self.plan.stream)
        with contextlib.ExitStack() as stack:
            writers = [
                stack.enter_context(
                    Writer(path, specs, compression=None, checksum=False, chunk_bytes=chunk_bytes)
                )
                for path in self._paths
            ]
            for batch in batches(self.plan.stream):
                columns = {
                    name: fit(batch[name], spec, At(name, done)) for name, spec in specs.items()
                }
                buckets = self._buckets(self._keys(batch))
                for number in np.unique(buckets).tolist():
                    rows = np.flatnonzero(buckets == number)
                    writers[number].extend({name: take(c, rows) for name, c in columns.items()})
                done += len(buckets)
                self.plan.tell("sorting into buckets", done, self.plan.n_rows)

    def _buckets(self, keys: np.ndarray) -> np.ndarray:
        """Return the bucket of each key: those of a bucket are neighbours."""
        half = np.uint64(32)
        return ((keys >> half) * np.uint64(self._count) >> half).astype(np.int64)

    def begin(self, first: int) -> Iterator[dict[str, Any]]:
        """Give the buckets in order, each sorted by key."""
        for path in self._paths:
            count = rows_of(path)
            if first < count:
                rows = _read_all(path, count)
                order = np.argsort(self._keys(rows), kind="stable")[first:]
                size = batch_rows_of(self.plan.stream)
                for at in range(0, len(order), size):
                    some = order[at : at + size]
                    yield {name: take(column, some) for name, column in rows.items()}
            first = max(0, first - count)


def _read_all(path: Path, n_rows: int) -> dict[str, Any]:
    stream = H5Stream(path, list(columns_of(path)), batch_size=n_rows, layout=False, output="numpy")
    return dict(next(iter(stream)))
