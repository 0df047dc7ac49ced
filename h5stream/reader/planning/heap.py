"""Plans the reads of elements of variable length: which of them with one task. Pure.

Descriptors say in which heap collection each row's object lies. Where one dataset fills its
collections in order, its place there follows (`expected_places`), and so how much of each
collection is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from h5stream.fields import VlenField
from h5stream.layout import Fingerprint
from h5stream.plan import cut_by_weight
from h5stream.reader.tasks import HeapObjects, ReadTask

__all__ = ["needed_of_collections", "plan_heap", "plan_heap_rows"]

_TASK_BYTES = 2**20
_TASK_ROWS = 2**15
"""Each may need 4 KiB of a collection of its own."""


def plan_heap(
    field: VlenField, rows: np.ndarray, buffer: int, begin: int, version: Fingerprint
) -> Iterator[ReadTask]:
    """Yield the tasks that bring rows to a buffer, one after the other.

    Parameters
    ----------
    field : VlenField
        The column.
    rows : numpy.ndarray
        int64: rows of the file.
    buffer, begin : int
        Number of the buffer, and where in it the first row begins.
    version : Fingerprint
        Of the file that holds the heap.
    """
    lengths = field.descriptors["length"][rows].astype(np.int64)
    ends = np.cumsum(lengths)
    if not len(rows) or not ends[-1]:
        return
    per_task = max(1, _TASK_BYTES // field.dtype.itemsize)
    cuts = cut_by_weight(ends, target=per_task)
    bounds = np.unique([*range(0, len(rows), _TASK_ROWS), *cuts.tolist()]).tolist()
    for first, last in itertools.pairwise(bounds):
        span = (begin + int(ends[first] - lengths[first]), begin + int(ends[last - 1]))
        yield plan_heap_rows(field, rows[first:last], buffer, span, version)


def plan_heap_rows(
    field: VlenField,
    rows: np.ndarray,
    buffer: int,
    span: tuple[int, int],
    version: Fingerprint,
) -> ReadTask:
    """Make the task that brings rows to a part of a buffer."""
    filled = rows[field.descriptors["length"][rows] > 0]
    body = HeapObjects(field, filled, buffer, span, version.size_bytes)
    address, needed, _of_row = needed_of_collections(body)
    inside = needed <= body.size_bytes - address
    return ReadTask(body, field.layout.file, version, address[inside], needed[inside])


def needed_of_collections(body: HeapObjects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the collections, how much of each is needed, and which one each row lies in."""
    field, rows = body.field, body.rows
    descriptors = field.descriptors[rows]
    nbytes = descriptors["length"].astype(np.int64) * field.stored.itemsize
    addresses, of_row = np.unique(descriptors["address"].astype(np.int64), return_inverse=True)
    needed = np.zeros(len(addresses), np.int64)
    np.maximum.at(needed, of_row, field.expected[rows] + nbytes)
    return addresses, needed, of_row
