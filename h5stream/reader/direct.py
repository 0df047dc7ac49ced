"""Reads one dataset without HDF5: finds chunks, fetches them together, decodes into place.

Rows that are stored as they are in memory are read straight to where they belong. Other chunks
are fetched in coalesced reads; a chunk whose rows all go to one place is decoded there, any
other is decoded into scratch memory and its parts copied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from h5stream.decode import Pipeline, Scratch
from h5stream.errors import DecodeError
from h5stream.fetch import LocalFile, coalesce_ranges
from h5stream.fields import DenseField
from h5stream.layout import ChunkTable, DatasetLayout
from h5stream.plan import Segments, split_at_chunks
from h5stream.reader.stats import Stats

__all__ = ["DirectDataset", "Job", "Target", "place_rows"]

Job = Callable[[Scratch], None]
"""Work for any thread: fills part of a window's buffers."""

Target = tuple[DenseField, np.ndarray]
"""A field of the dataset, and the column that its rows go to."""

_JOB_BYTES = 2 * 2**20
_MAX_GAP_BYTES = 16 * 2**10
_MAX_READ_BYTES = 256 * 2**10


class DirectDataset:
    """Plans and does the direct reads of one dataset.

    Parameters
    ----------
    layout : DatasetLayout
        Chunked with a table, or contiguous.
    file : LocalFile
        The file that holds the bytes.
    stats : Stats
        Where bytes and seconds are counted.
    """

    def __init__(self, layout: DatasetLayout, file: LocalFile, stats: Stats) -> None:
        self.layout = layout
        self._file = file
        self._stats = stats
        self._pipeline = Pipeline(layout.filters, layout.chunk_nbytes)
        self._whole_rows = layout.chunks is None or layout.chunks[1:] == layout.row_shape
        self._as_in_memory = self._whole_rows and not layout.filters

    def jobs(
        self, start: np.ndarray, stop: np.ndarray, dest: np.ndarray, *, targets: Sequence[Target]
    ) -> Iterator[Job]:
        """Yield the jobs that bring rows ``start[i]`` to ``stop[i]`` to ``dest[i]`` and on."""
        layout = self.layout
        per_job = max(1, _JOB_BYTES // max(1, layout.row_nbytes))
        chunk_rows = layout.chunk_rows or per_job
        segments = split_at_chunks(start, stop, dest, chunk_rows=chunk_rows)
        read = self._read_rows if self._as_in_memory else self._read_chunks
        for part in segments.jobs(chunk_rows_per_job=max(1, per_job // chunk_rows)):
            yield partial(self._run, read, part, targets)

    def _run(
        self,
        read: Callable[[Segments, Sequence[Target], Scratch], None],
        segments: Segments,
        targets: Sequence[Target],
        scratch: Scratch,
    ) -> None:
        """Read; that the file changed meanwhile explains any other error, so it goes first."""
        try:
            read(segments, targets, scratch)
        finally:
            self._file.check_unchanged()

    def _read_rows(self, segments: Segments, targets: Sequence[Target], scratch: Scratch) -> None:
        """Read rows that are stored as they are in memory."""
        layout = self.layout
        offsets = self._row_offsets(segments)
        sizes = (segments.stop - segments.start) * layout.row_nbytes
        whole = len(targets) == 1 and self._fits_in_place(targets[0])
        order = np.argsort(offsets, kind="stable")
        run: list[np.ndarray] = []
        run_start = run_end = -1
        parts = zip(offsets[order].tolist(), sizes[order].tolist(), order.tolist(), strict=True)
        for offset, size, at in parts:
            dest, rows = int(segments.dest[at]), int(segments.stop[at] - segments.start[at])
            if offset < 0:
                self._fill(dest, rows, targets)
                continue
            if not whole:
                stored = scratch.take("fetch", size)
                self._fetch(offset, [stored])
                elements = stored.view(layout.dtype).reshape(rows, *layout.row_shape)
                place_rows(elements, slice(dest, dest + rows), targets)
                continue
            if offset != run_end and run:
                self._fetch(run_start, run)
                run = []
            if not run:
                run_start = offset
            run.append(targets[0][1][dest : dest + rows].reshape(-1).view(np.uint8))
            run_end = offset + size
        if run:
            self._fetch(run_start, run)
        if whole and not layout.dtype.isnative:
            for dest, rows in zip(
                segments.dest[offsets >= 0].tolist(),
                (segments.stop - segments.start)[offsets >= 0].tolist(),
                strict=True,
            ):
                targets[0][1][dest : dest + rows].byteswap(inplace=True)

    def _row_offsets(self, segments: Segments) -> np.ndarray:
        """Byte offset of each segment's first row, -1 where nothing is stored."""
        layout = self.layout
        if layout.chunk_rows is None:
            if layout.byte_offset is None:
                return np.full(len(segments), -1, np.int64)
            return layout.byte_offset + segments.start * layout.row_nbytes
        table = self._table
        if not len(table):
            return np.full(len(segments), -1, np.int64)
        at = np.searchsorted(table.index, segments.chunk_row)
        at = np.minimum(at, len(table) - 1)
        stored = table.index[at] == segments.chunk_row
        wrong = stored & (table.size[at] != layout.chunk_nbytes)
        if wrong.any():
            entry = int(at[wrong][0])
            raise self._damaged(
                entry,
                f"{int(table.size[entry])} bytes are stored, expected {layout.chunk_nbytes}",
            )
        within = (segments.start - segments.chunk_row * layout.chunk_rows) * layout.row_nbytes
        return np.where(stored, table.byte_offset[at] + within, -1)

    def _read_chunks(self, segments: Segments, targets: Sequence[Target], scratch: Scratch) -> None:
        """Fetch and decode every chunk of the segments' chunk rows."""
        layout, table = self.layout, self._table
        per_row = layout.chunks_per_chunk_row
        rows, bounds = segments.groups()
        firsts, lasts = bounds[:-1], bounds[1:]
        begin = np.searchsorted(table.index, rows * per_row)
        end = np.searchsorted(table.index, (rows + 1) * per_row)
        for at in np.flatnonzero(end - begin < per_row).tolist():
            for i in range(firsts[at], lasts[at]):
                count = int(segments.stop[i] - segments.start[i])
                self._fill(int(segments.dest[i]), count, targets)
        entries = np.concatenate(
            [np.empty(0, np.int64), *map(np.arange, begin.tolist(), end.tolist())]
        )
        owner = np.repeat(np.arange(len(rows)), end - begin)
        order = np.argsort(table.byte_offset[entries], kind="stable")
        entries, owner = entries[order], owner[order]
        offsets, sizes = table.byte_offset[entries], table.size[entries]
        reads = coalesce_ranges(
            offsets, sizes, max_gap_bytes=_MAX_GAP_BYTES, max_bytes=_MAX_READ_BYTES
        ).tolist()
        for first, last in pairwise(reads):
            origin = int(offsets[first])
            nbytes = int((offsets[first:last] + sizes[first:last]).max()) - origin
            fetched = scratch.take("fetch", nbytes)
            self._fetch(origin, [fetched])
            started = time.perf_counter()
            for at in range(first, last):
                relative = int(offsets[at]) - origin
                group = int(owner[at])
                self._decode(
                    int(entries[at]),
                    fetched[relative : relative + int(sizes[at])],
                    segments[int(firsts[group]) : int(lasts[group])],
                    targets,
                    scratch,
                )
            self._stats.add(
                decode_s=time.perf_counter() - started,
                decoded_bytes=(last - first) * layout.chunk_nbytes,
            )

    def _decode(
        self,
        entry: int,
        stored: np.ndarray,
        segments: Segments,
        targets: Sequence[Target],
        scratch: Scratch,
    ) -> None:
        layout, table = self.layout, self._table
        chunk_rows = layout.chunk_rows or 1
        in_place = (
            self._whole_rows
            and len(segments) == 1
            and len(targets) == 1
            and int(segments.stop[0] - segments.start[0]) == chunk_rows
            and self._fits_in_place(targets[0])
        )
        if in_place:
            dest = int(segments.dest[0])
            chunk = targets[0][1][dest : dest + chunk_rows]
            decoded = chunk.reshape(-1).view(np.uint8)
        else:
            decoded = scratch.take("chunk", layout.chunk_nbytes)
        try:
            self._pipeline.decode(stored, int(table.filter_mask[entry]), decoded, scratch)
        except DecodeError as error:
            raise self._damaged(entry, str(error)) from error
        if in_place:
            if not layout.dtype.isnative:
                chunk.byteswap(inplace=True)
            return
        offset = layout.chunk_offset(int(table.index[entry]))
        elements = decoded.view(layout.dtype).reshape(layout.chunks or ())
        inside = tuple(
            slice(o, min(o + c, n))
            for o, c, n in zip(offset[1:], (layout.chunks or ())[1:], layout.row_shape, strict=True)
        )
        kept = tuple(slice(0, part.stop - part.start) for part in inside)
        spans = (segments.start.tolist(), segments.stop.tolist(), segments.dest.tolist())
        for start, stop, dest in zip(*spans, strict=True):
            part = elements[(slice(start - offset[0], stop - offset[0]), *kept)]
            place_rows(part, slice(dest, dest + stop - start), targets, inside)

    @property
    def _table(self) -> ChunkTable:
        table = self.layout.table
        assert table is not None, "direct reads of chunks need a table"
        return table

    def _fits_in_place(self, target: Target) -> bool:
        """Whether stored elements, at most byte-swapped, are the column's elements."""
        field, _column = target
        return not field.members and (self.layout.dtype.isnative or self.layout.dtype.names is None)

    def _fill(self, dest: int, rows: int, targets: Sequence[Target]) -> None:
        fill = self.layout.fill
        assert fill is not None, "direct reads need a fill value"
        for field, column in targets:
            column[dest : dest + rows] = field.select(fill)

    def _fetch(self, offset: int, buffers: Sequence[np.ndarray]) -> None:
        started = time.perf_counter()
        nbytes = self._file.read_into(offset, buffers)
        self._stats.add(fetched_bytes=nbytes, fetch_s=time.perf_counter() - started)

    def _damaged(self, entry: int, what: str) -> DecodeError:
        layout, table = self.layout, self._table
        place = layout.chunk_offset(int(table.index[entry]))
        return DecodeError(
            f"{layout.file}: the chunk of {layout.path!r} at {place} (byte "
            f"{int(table.byte_offset[entry])}) is damaged: {what}; restore the file from a copy",
            url=layout.file,
            dataset=layout.path,
            chunk_offset=place,
        )


def place_rows(
    elements: np.ndarray,
    rows: slice,
    targets: Sequence[Target],
    inside: tuple[slice, ...] = (),
) -> None:
    """Copy decoded elements to rows (and a part of each row) of their columns."""
    for field, column in targets:
        column[(rows, *inside)] = field.select(elements)
