"""Reads whole datasets while a file is scanned: offsets, lengths, descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from h5stream.columns import Ragged
from h5stream.decode import Scratch
from h5stream.errors import DecodeError, UnsupportedError
from h5stream.fetch import Access, DataFile
from h5stream.fields import DenseField, VlenField
from h5stream.fields.vlen import checked_descriptors, expected_places
from h5stream.layout import DatasetLayout, Fingerprint
from h5stream.opening.kinds import SoundKinds, kind_of
from h5stream.opening.routes import reason_against
from h5stream.reader.catalog import Route
from h5stream.reader.execution.executor import Executor
from h5stream.reader.execution.fallback import FallbackFile
from h5stream.reader.execution.heap import walk_heap
from h5stream.reader.execution.run import Run
from h5stream.reader.execution.threads import run_here
from h5stream.reader.planning.datasets import DatasetPlans
from h5stream.reader.planning.heap import plan_heap_rows
from h5stream.reader.stats import Stats
from h5stream.reader.tasks import Destination, HeapObjects, Target

__all__ = ["read_whole"]

_CHECKED_ROWS = 4
_MOST_OBJECTS = 2**24
"""So many elements of variable length are read through h5py at most: they stay in memory."""


def read_whole(
    layout: DatasetLayout,
    marks: Mapping[str, Fingerprint],
    routes: Mapping[tuple[str, str], Route],
    access: Access,
    made: Mapping[tuple[str, str], tuple[Any, ...]] | None = None,
    sound: SoundKinds | None = None,
) -> Any:
    """Read all rows of a dataset.

    Parameters
    ----------
    layout : DatasetLayout
        With its chunk table.
    marks : mapping
        Fingerprints of the files.
    routes : mapping
        Key of a layout -> how it is read.
    access : Access
        The way to the files.
    made : mapping, optional
        Key of a layout -> how HDF5 wrote it; see `FileLayout.made`.
    sound : SoundKinds, optional
        The kinds of elements of variable length that need no more checks.

    Returns
    -------
    numpy.ndarray or list
        The rows; for elements of variable length their descriptors, or, if those cannot be read
        directly, a list of the elements themselves.
    """
    mark = marks[layout.file]
    fallback = FallbackFile(layout.file, access.reopen(layout.file, mark))
    if not layout.shape:
        return fallback.read_scalar(layout)
    if layout.vlen is None:
        return _read_rows(layout, marks, routes[layout.key], access)
    if reason_against(layout) is None:
        stored = _read_rows(replace(layout, vlen=None), marks, Route(), access)
        written = (made or {}).get(layout.key)
        kind = None if written is None else kind_of(layout, written)
        if access.is_remote(layout.file) or (sound is not None and kind in sound):
            return stored
        file = access.data_file(layout.file, mark)
        same = _same_as_h5py(layout, stored, file, mark, fallback)
        if same and sound is not None and kind is not None:
            sound.add(kind)
        if same is not False:
            return stored
    if layout.n_rows > _MOST_OBJECTS:
        raise UnsupportedError(
            f"{layout.file}: {layout.path!r} has {layout.n_rows} elements of variable length that "
            "only HDF5 can read; rewrite it with gzip, lz4 or zstd, or unfiltered"
        )
    return _through_h5py(fallback, layout, 0, layout.n_rows)


def _read_rows(
    layout: DatasetLayout, marks: Mapping[str, Fingerprint], route: Route, access: Access
) -> np.ndarray:
    field = DenseField("whole", layout)
    rows = np.empty((field.n_rows, *field.row_shape), field.dtype)
    spans = (np.array([0]), np.array([field.n_rows]), np.array([0]))
    plans = DatasetPlans({layout.key: route}, access)
    executor = Executor(plans, Stats())
    if len(rows):
        tasks = list(plans.rows(marks, spans, Destination((Target(field, 0),))))
        run_here(executor, tasks, [rows], executor.scratch())
    executor.files.release()
    return rows


def _through_h5py(
    fallback: FallbackFile, layout: DatasetLayout, start: int, stop: int
) -> list[Any]:
    """Read elements of variable length, strings as arrays of bytes."""
    try:
        rows = fallback.read(layout, start, stop).tolist()
    finally:
        fallback.close()
    return [np.frombuffer(row, np.uint8) if isinstance(row, bytes) else row for row in rows]


def _same_as_h5py(
    layout: DatasetLayout,
    stored: np.ndarray,
    file: DataFile,
    mark: Fingerprint,
    fallback: FallbackFile,
) -> bool | None:
    """Read the first and the last rows both ways; None if no row could be compared."""
    descriptors = checked_descriptors(layout, stored, mark.size_bytes)
    assert layout.vlen is not None, "only elements of variable length lie in a heap"
    dtype = layout.vlen.dtype.newbyteorder("=")
    expected = expected_places(descriptors, dtype.itemsize)
    field = VlenField("checked", layout, descriptors, expected, dtype)
    n, same = layout.n_rows, None
    for start in {0, max(0, n - _CHECKED_ROWS)}:
        stop = min(n, start + _CHECKED_ROWS)
        rows = np.arange(start, stop)
        lengths = descriptors["length"][rows].astype(np.int64)
        out = np.empty(int(lengths.sum()), dtype)
        task = plan_heap_rows(field, rows, 0, (0, len(out)), mark)
        assert isinstance(task.body, HeapObjects), "that is how they are planned"
        try:
            sound = walk_heap(task.body, Run(file.fetch(task.offset, task.size), [out], Scratch()))
        except DecodeError:
            continue  # reading it will say so, with the row
        if not sound:
            continue  # HDF5 may walk a damaged heap without end
        found = Ragged(out, np.concatenate([[0], np.cumsum(lengths)]))
        theirs = _through_h5py(fallback, layout, start, stop)
        if not all(map(_alike, found, theirs)):
            return False
        same = same or (True if stop > start else None)
    return same


def _alike(mine: np.ndarray, theirs: Any) -> bool:
    """Compare bits."""
    other = np.asarray(theirs).astype(mine.dtype, copy=False)
    return mine.tobytes() == other.tobytes()
