"""Plans the reads of datasets: directly or through h5py, one dataset or many in a row. Pure.

Knows routes and datasets, but not windows: whoever asks says which rows go where.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from h5stream.fetch import Access
from h5stream.fields import DenseField, Elements
from h5stream.layout import Fingerprint, Storage
from h5stream.plan import Cover, Segments, cut_by_weight, split_at_bounds, split_at_chunks
from h5stream.reader.catalog import Route
from h5stream.reader.planning.direct import Spans, plan_direct, plan_raw_rows
from h5stream.reader.planning.ranges import ranges_of_rows
from h5stream.reader.tasks import Destination, ReadTask, Target, Tasks, ThroughHDF5

__all__ = ["DatasetPlans"]

_FALLBACK_TASK_BYTES = 4 * 2**20
_RAW_TASK_BYTES = 4 * 2**20
_DATASETS_PER_TASK = 16

Marks = Mapping[str, Fingerprint]
"""Path -> fingerprint."""


@dataclass(frozen=True, eq=False)
class DatasetPlans:
    """Plans reads of the datasets of a catalog.

    Parameters
    ----------
    routes : mapping
        Key of a layout -> how it is read.
    access : Access
        Tells which files are remote.
    """

    routes: Mapping[tuple[str, str], Route]
    access: Access

    def rows(self, marks: Marks, spans: Spans, destination: Destination) -> Iterator[ReadTask]:
        """Yield the tasks that read rows of the dataset of a destination."""
        layout = destination.targets[0].field.layout
        if not layout.nbytes:
            return
        version, remote = marks[layout.file], self.access.is_remote(layout.file)
        if self.routes[layout.key].direct:
            yield from plan_direct(layout, version, spans, destination, remote=remote)
            return
        per_task = max(1, _FALLBACK_TASK_BYTES // max(1, layout.row_nbytes))
        segments = split_at_chunks(*spans, chunk_rows=layout.chunk_rows or per_task)
        for part in segments.jobs(chunk_rows_per_job=1):
            body = ThroughHDF5(layout, destination, version, part.start, part.stop, part.dest)
            ranges = ranges_of_rows(layout, *body.extent)
            yield ReadTask(body, layout.file, version, *ranges)

    def elements(
        self, marks: Marks, part: Elements, spans: Spans, buffer: int
    ) -> Iterator[ReadTask]:
        """Yield the tasks that read elements of a part into a buffer."""
        if len(part.datasets) == 1:
            yield from self.rows(marks, spans, Destination((Target(part.first, buffer),)))
            return
        pieces = split_at_bounds(*spans, bounds=part.bounds)
        offsets = np.array([self._place(field, part.first) for field in part.datasets], np.int64)
        simple = offsets[pieces.chunk_row] >= 0
        raw = pieces.chosen(simple)
        if len(raw):
            yield from self._raw(marks, part, raw, offsets, buffer)
        yield from _together(self._one_by_one(marks, part, pieces.chosen(~simple), buffer))

    def whole_rows(
        self, marks: Marks, part: Elements, cover: Cover, begins: np.ndarray, buffer: int
    ) -> Iterator[ReadTask]:
        """Yield the tasks that read rows of datasets that differ in shape into a buffer.

        Parameters
        ----------
        marks : mapping
            Path -> fingerprint.
        part : Elements
            The datasets.
        cover : Cover
            Rows, counted over all datasets.
        begins : numpy.ndarray
            int64: where each row of the cover begins in the buffer, and where the last ends.
        buffer : int
            Number of the buffer.
        """
        pieces = split_at_bounds(cover.start, cover.stop, cover.dest, bounds=part.bounds)
        numbers, bounds = pieces.groups()
        for number, first, last in zip(numbers.tolist(), bounds, bounds[1:], strict=False):
            some, field = pieces[int(first) : int(last)], part.datasets[number]
            origin, low = int(part.bounds[number]), int(some.dest[0])
            rows = int((some.stop - some.start).sum())
            span = (int(begins[low]), int(begins[low + rows]))
            spans = (some.start - origin, some.stop - origin, some.dest - low)
            yield from self.rows(marks, spans, Destination((Target(field, buffer, span),)))

    def _place(self, field: DenseField, first: DenseField) -> int:
        """Return where a dataset lies if it can be read as the first one is, else -1."""
        layout = field.layout
        direct = self.routes[layout.key].direct and layout.storage is Storage.CONTIGUOUS
        if not direct or field.members or layout.byte_offset is None:
            return -1
        kind, expected = (
            (each.layout.file, each.layout.dtype, each.layout.row_shape, each.inner)
            for each in (field, first)
        )
        alike = kind == expected
        return layout.byte_offset if alike and field.packing == first.packing else -1

    def _raw(
        self, marks: Marks, part: Elements, pieces: Segments, offsets: np.ndarray, buffer: int
    ) -> Iterator[ReadTask]:
        """Read datasets that lie in one piece: many with one task."""
        layout = part.first.layout
        within = (pieces.start - part.bounds[pieces.chunk_row]) * layout.row_nbytes
        where = offsets[pieces.chunk_row] + within
        destination = Destination((Target(part.first, buffer),))
        version, remote = marks[layout.file], self.access.is_remote(layout.file)
        ends = np.cumsum((pieces.stop - pieces.start) * layout.row_nbytes)
        for first, last in itertools.pairwise(cut_by_weight(ends, target=_RAW_TASK_BYTES).tolist()):
            some = slice(first, last)
            yield plan_raw_rows(
                layout, version, pieces[some], where[some], destination, remote=remote
            )

    def _one_by_one(
        self, marks: Marks, part: Elements, pieces: Segments, buffer: int
    ) -> Iterator[ReadTask]:
        """Read from datasets one after the other."""
        numbers, bounds = pieces.groups()
        for number, first, last in zip(numbers.tolist(), bounds, bounds[1:], strict=False):
            some, field = pieces[int(first) : int(last)], part.datasets[number]
            origin = int(part.bounds[number])
            spans = (some.start - origin, some.stop - origin, some.dest)
            yield from self.rows(marks, spans, Destination((Target(field, buffer),)))


def _together(tasks: Iterator[ReadTask]) -> Iterator[ReadTask]:
    """Put small tasks on the same file together, so that a thread has enough to do."""
    for _file, some in itertools.groupby(tasks, key=lambda task: task.file):
        for few in _batched(some):
            yield few[0] if len(few) == 1 else _joined(few)


def _batched(tasks: Iterator[ReadTask]) -> Iterator[tuple[ReadTask, ...]]:
    while few := tuple(itertools.islice(tasks, _DATASETS_PER_TASK)):
        yield few


def _joined(tasks: tuple[ReadTask, ...]) -> ReadTask:
    offset = np.concatenate([task.offset for task in tasks])
    size = np.concatenate([task.size for task in tasks])
    return ReadTask(Tasks(tasks), tasks[0].file, tasks[0].version, offset, size)
