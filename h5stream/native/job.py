"""One call of the executor: its tables, and the memory that they point to.

The structures mirror those of executor.c, field by field.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from h5stream.decode import Scratch
from h5stream.native.library import Library

__all__ = ["FRAME_ROOM", "Bytes", "Done", "Pieces", "Plans", "Sizes", "Window", "run_job"]

FRAME_ROOM = 24
"""Bytes in front of working memory, for the header of a frame."""

_INT64, _POINTER = ctypes.c_int64, ctypes.c_void_p
_OUTPUTS = ("fetched_bytes", "decoded_bytes", "fetch_ns", "decode_ns", "place_ns")


class _Job(ctypes.Structure):
    _fields_ = (
        ("descriptor", _INT64),
        ("n_parts", _INT64),
        ("part_offset", _POINTER),
        ("part_size", _POINTER),
        ("part_data", _POINTER),
        ("max_gap", _INT64),
        ("max_read", _INT64),
        ("n_pieces", _INT64),
        ("offset", _POINTER),
        ("size", _POINTER),
        ("plan", _POINTER),
        ("first_segment", _POINTER),
        ("n_segments", _INT64),
        ("start", _POINTER),
        ("rows", _POINTER),
        ("number", _POINTER),
        ("n_plans", _INT64),
        ("n_steps", _INT64),
        ("first_step", _POINTER),
        ("steps", _POINTER),
        ("chunk_nbytes", _INT64),
        ("chunk_rows", _INT64),
        ("row_nbytes", _INT64),
        ("n_axes", _INT64),
        ("row_shape", _POINTER),
        ("chunk_shape", _POINTER),
        ("corner", _POINTER),
        ("window", _POINTER),
        ("window_rows", _INT64),
        ("places", _POINTER),
        ("n_places", _INT64),
        ("read_memory", _POINTER),
        ("read_nbytes", _INT64),
        ("work_memory", _POINTER * 3),
        ("work_nbytes", _INT64),
        ("codecs", _POINTER),
        ("status", _POINTER),
        *((name, _INT64) for name in _OUTPUTS),
    )


@dataclass(frozen=True, eq=False, slots=True)
class Bytes:
    """Where the bytes of a file come from: a descriptor, or what is in memory of it.

    Parameters
    ----------
    descriptor : int
        Open for reading; not used if there are parts.
    max_gap_bytes, max_read_bytes : int
        How far neighbours are read together.
    offset : numpy.ndarray
        int64: where each part begins in the file, sorted.
    parts : sequence of numpy.ndarray
        uint8, contiguous: their bytes.
    """

    descriptor: int
    max_gap_bytes: int
    max_read_bytes: int
    offset: np.ndarray
    parts: Sequence[np.ndarray] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Pieces:
    """What is read, sorted by offset.

    Parameters
    ----------
    offset, size : numpy.ndarray
        int64: the range of each.
    plan : numpy.ndarray
        int64: number of the plan that decodes it.
    first_segment : numpy.ndarray
        int64, one more than there are pieces: the segments of piece i are those from
        ``first_segment[i]`` to ``first_segment[i + 1]``.
    start, rows, number : numpy.ndarray
        int64, of each segment: its first row in the piece, how many rows it has, and the number
        of the first in the window.
    corner : numpy.ndarray
        int64, shape (pieces, axes): where in a row each piece begins.
    """

    offset: np.ndarray
    size: np.ndarray
    plan: np.ndarray
    first_segment: np.ndarray
    start: np.ndarray
    rows: np.ndarray
    number: np.ndarray
    corner: np.ndarray

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True, eq=False, slots=True)
class Plans:
    """Filters to undo.

    Parameters
    ----------
    first_step : numpy.ndarray
        int64, one more than there are plans.
    steps : numpy.ndarray
        int64, shape (steps, 4): id of the filter, item size of the shuffle, bytes that it must
        give (-1: what is stored, without the added ones), bytes that writing added (-1: a
        compressor).
    """

    first_step: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True, eq=False, slots=True)
class Sizes:
    """Of chunks and rows.

    Parameters
    ----------
    chunk_nbytes, chunk_rows : int
        Of a decoded chunk; zero if pieces are runs of rows.
    row_nbytes : int
        Of a row.
    row_shape, chunk_shape : numpy.ndarray
        int64: the axes of a row, and what a chunk holds of them, the last in bytes; empty if
        chunks hold whole rows.
    work_nbytes : int
        The largest that lies between two filters.
    """

    chunk_nbytes: int
    chunk_rows: int
    row_nbytes: int
    row_shape: np.ndarray
    chunk_shape: np.ndarray
    work_nbytes: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """Where rows go.

    Parameters
    ----------
    column : numpy.ndarray
        Contiguous; of rows as they are stored.
    places : numpy.ndarray or None
        int64: row i of the window goes to ``places[i]``; None: it stays.
    """

    column: np.ndarray
    places: np.ndarray | None


@dataclass(frozen=True, eq=False, slots=True)
class Done:
    """What came of a job.

    Parameters
    ----------
    status : numpy.ndarray
        int64: 0 for each piece that was brought.
    fetched_bytes, decoded_bytes : int
        Bytes read, and bytes after decoding.
    fetch_s, decode_s, place_s : float
        Seconds.
    """

    status: np.ndarray
    fetched_bytes: int
    decoded_bytes: int
    fetch_s: float
    decode_s: float
    place_s: float


def run_job(
    library: Library,
    source: Bytes,
    pieces: Pieces,
    plans: Plans,
    sizes: Sizes,
    window: Window,
    scratch: Scratch,
) -> Done:
    """Do a job without the interpreter.

    Parameters
    ----------
    library : Library
        The executor.
    source, pieces, plans, sizes, window
        The job.
    scratch : Scratch
        Working memory of the calling thread.
    """
    job, status = _Job(), np.empty(len(pieces), np.int64)
    part_size = np.array([len(part) for part in source.parts], np.int64)
    part_data = np.array([part.ctypes.data for part in source.parts], np.uintp)
    read_nbytes = 0
    if not source.parts:
        read_nbytes = max(source.max_read_bytes, int(pieces.size.max(initial=0)))
    work_nbytes = FRAME_ROOM + max(sizes.chunk_nbytes, sizes.work_nbytes)
    work = [scratch.take(f"native {number}", work_nbytes) for number in range(3)]
    read = scratch.take("native read", read_nbytes)
    job.descriptor, job.n_parts = source.descriptor, len(source.parts)
    job.part_offset, job.part_size = _at(source.offset), _at(part_size)
    job.part_data = _at(part_data)
    job.max_gap, job.max_read = source.max_gap_bytes, source.max_read_bytes
    job.n_pieces, job.n_segments = len(pieces), len(pieces.start)
    for name in ("offset", "size", "plan", "first_segment", "start", "rows", "number", "corner"):
        setattr(job, name, _at(getattr(pieces, name)))
    job.n_plans, job.n_steps = len(plans.first_step) - 1, len(plans.steps)
    job.first_step, job.steps = _at(plans.first_step), _at(plans.steps)
    job.chunk_nbytes, job.chunk_rows = sizes.chunk_nbytes, sizes.chunk_rows
    job.row_nbytes, job.n_axes = sizes.row_nbytes, len(sizes.row_shape)
    job.row_shape, job.chunk_shape = _at(sizes.row_shape), _at(sizes.chunk_shape)
    job.window, job.window_rows = _at(window.column), len(window.column)
    if window.places is not None:
        job.places, job.n_places = _at(window.places), len(window.places)
    job.read_memory, job.read_nbytes = _at(read), read_nbytes
    job.work_memory[:] = [_at(memory) for memory in work]
    job.work_nbytes = work_nbytes
    job.codecs, job.status = ctypes.addressof(library.codecs), _at(status)
    if library.run(ctypes.addressof(job)) < 0:
        status[:] = 1
    ns = (job.fetch_ns / 1e9, job.decode_ns / 1e9, job.place_ns / 1e9)
    return Done(status, job.fetched_bytes, job.decoded_bytes, *ns)


def _at(array: np.ndarray) -> int:
    assert array.flags.c_contiguous, "the executor walks memory without strides"
    return array.ctypes.data
