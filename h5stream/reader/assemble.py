"""Plans the columns of a window that are not dense: their values are read in file order.

1. For each file, the rows' regions are covered by the fewest ranges of elements.
2. The elements of all files go to one buffer for each part, in the order in which they lie in the
   files, so that long runs are read straight into place; overlapping rows share them.
3. Where each row begins is permuted in place of the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from h5stream.columns import Column, Ragged, concat, take
from h5stream.errors import DecodeError
from h5stream.fields import FileFields, GivenField, RegionField, VlenField
from h5stream.fields.region import SparseForm
from h5stream.plan import cover_ranges
from h5stream.reader.asking import Job
from h5stream.reader.buffers import BufferPool
from h5stream.reader.datasets import DatasetReads
from h5stream.reader.heap import heap_jobs
from h5stream.reader.stats import Stats

__all__ = ["Assembler", "Planned", "Rows"]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Rows of one file, and where they come in the window.

    Parameters
    ----------
    file : FileFields
        The file.
    rows : numpy.ndarray
        int64: rows of its fields.
    numbers : numpy.ndarray
        int64: numbers of these rows in the window, before it is permuted.
    """

    file: FileFields
    rows: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True, eq=False, slots=True)
class Planned:
    """A column whose values are there once its jobs are done and its checks passed."""

    column: Column
    jobs: list[Job] = field(default_factory=list)
    checks: list[Callable[[], None]] = field(default_factory=list)


class Assembler:
    """Plans the columns of one reader.

    Parameters
    ----------
    reads : DatasetReads
        Makes the jobs.
    pool : BufferPool
        Where buffers come from.
    stats : Stats
        Where bytes and seconds are counted.
    """

    def __init__(self, reads: DatasetReads, pool: BufferPool, stats: Stats) -> None:
        self._reads = reads
        self._pool = pool
        self._stats = stats

    def plan(self, name: str, rows: list[Rows], order: np.ndarray | None) -> Planned:
        """Plan a column.

        Parameters
        ----------
        name : str
            Key of the column.
        rows : list of Rows
            Of each file in the window.
        order : numpy.ndarray or None
            int64: number of the row that comes first, second and so on; None: as they are.
        """
        first = rows[0].file.fields[name]
        if isinstance(first, GivenField):
            return self._given(name, rows, order)
        if isinstance(first, VlenField):
            return self._vlen(name, rows, order)
        return self._regions(name, rows, order)

    def _given(self, name: str, rows: list[Rows], order: np.ndarray | None) -> Planned:
        parts: list[Any] = []
        for part in rows:
            given = part.file.fields[name]
            assert isinstance(given, GivenField), "files agree on fields"
            parts.append(take(given.data, part.rows))
        numbers = np.concatenate([part.numbers for part in rows])
        places = np.empty(len(numbers), np.int64)
        places[numbers] = np.arange(len(numbers))
        return Planned(
            take(
                parts[0] if len(parts) == 1 else concat(parts),
                places if order is None else places[order],
            )
        )

    def _regions(self, name: str, rows: list[Rows], order: np.ndarray | None) -> Planned:
        fields = [_as_region(part.file, name) for part in rows]
        covers = [
            cover_ranges(*field.regions.of(part.rows))
            for field, part in zip(fields, rows, strict=True)
        ]
        ends = np.cumsum([cover.size for cover in covers])
        first = fields[0]
        buffers = tuple(
            self._pool.array((int(ends[-1]), *part.first.row_shape), part.first.dtype)
            for part in first.parts
        )
        jobs: list[Job] = []
        placed: list[tuple[np.ndarray, ...]] = []
        for field_, part, cover, end in zip(fields, rows, covers, ends.tolist(), strict=True):
            origin = end - cover.size
            spans = (cover.start, cover.stop, cover.dest + origin)
            for sequence, buffer in zip(field_.parts, buffers, strict=True):
                jobs += self._reads.part_jobs(part.file.fingerprints, sequence, spans, buffer)
            placed.append(field_.form.place(field_.regions, part.rows, cover.at + origin))
        column = first.form.make(buffers, _arranged(placed, rows, order))
        if isinstance(first.form, SparseForm):
            return Planned(column, jobs, [_index_check(first, buffers[1])])
        return Planned(column, jobs)

    def _vlen(self, name: str, rows: list[Rows], order: np.ndarray | None) -> Planned:
        jobs: list[Job] = []
        placed: list[tuple[np.ndarray, ...]] = []
        fields = [_as_vlen(part.file, name) for part in rows]
        lengths = [
            field.descriptors["length"][part.rows].astype(np.int64)
            for field, part in zip(fields, rows, strict=True)
        ]
        ends = np.cumsum([int(some.sum()) for some in lengths])
        buffer = self._pool.array((int(ends[-1]),), fields[0].dtype)
        for field_, part, some, end in zip(fields, rows, lengths, ends.tolist(), strict=True):
            origin = end - int(some.sum())
            mark = part.file.fingerprints[field_.layout.file]
            file = self._reads.file(field_.layout.file, mark)
            out = buffer[origin:end]
            jobs += heap_jobs(field_, part.rows, out, file, mark.size_bytes, self._stats)
            placed.append((origin + np.cumsum(some) - some, some))
        arranged = _arranged(placed, rows, order)
        return Planned(Ragged.placed(buffer, *arranged, text=fields[0].text), jobs)


def _as_region(file: FileFields, name: str) -> RegionField:
    field = file.fields[name]
    assert isinstance(field, RegionField), "files agree on fields"
    return field


def _as_vlen(file: FileFields, name: str) -> VlenField:
    field = file.fields[name]
    assert isinstance(field, VlenField), "files agree on fields"
    return field


def _arranged(
    placed: list[tuple[np.ndarray, ...]], rows: list[Rows], order: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Put what was placed file by file into the order of the window."""
    n_rows = sum(len(part.rows) for part in rows)
    arranged = []
    for columns in zip(*placed, strict=True):
        all_rows = np.empty(n_rows, np.int64)
        for part, column in zip(rows, columns, strict=True):
            all_rows[part.numbers] = column
        arranged.append(all_rows if order is None else all_rows[order])
    return tuple(arranged)


def _index_check(field: RegionField, indices: np.ndarray) -> Callable[[], None]:
    """Return what refuses indices outside a sparse matrix."""
    (n_columns,) = field.column.row_shape
    layout = field.parts[1].first.layout

    def check() -> None:
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < n_columns:
            raise DecodeError(
                f"{layout.file}: {layout.path!r} has indices from {indices.min()} to "
                f"{indices.max()}, but the matrix has {n_columns} columns; the file is damaged",
                url=layout.file,
                dataset=layout.path,
            )

    return check
