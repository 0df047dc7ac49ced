"""Decodes chunks and puts their rows to their places.

A chunk whose rows stay together is decoded where they belong; any other is decoded into scratch
memory, and its rows are copied to their places.
"""

from __future__ import annotations

import time

import numpy as np

from h5stream.decode import Pipeline
from h5stream.errors import DecodeError
from h5stream.plan import expand_spans
from h5stream.reader.execution.destination import Columns, columns_of
from h5stream.reader.execution.natively import without_interpreter
from h5stream.reader.execution.run import Run
from h5stream.reader.planning.direct import damaged_chunk
from h5stream.reader.tasks import Chunks

__all__ = ["read_chunks"]

_MOST_READS_AGAIN = 4
_FEW = 4
"""More segments of a chunk are put to their places together."""


def read_chunks(body: Chunks, run: Run) -> None:
    """Decode every chunk of some chunk rows."""
    columns = columns_of(body.destination, run.memory)
    columns.fill_all(body.layout, body.fills)
    work = _Work(without_interpreter(body, columns, run), columns, run)
    if work.body.chunk_bounds is None:
        work.read_whole_rows()
    else:
        work.read_split_rows(work.body.chunk_bounds.tolist())


class _Work:
    """The chunks of one task."""

    def __init__(self, body: Chunks, columns: Columns, run: Run) -> None:
        self.body = body
        self.columns = columns
        self._layout = body.layout
        self._run = run
        self._pipeline = Pipeline(body.layout.filters, body.layout.chunk_nbytes)
        self._bounds = body.bounds.tolist()
        segments = (body.start.tolist(), body.rows.tolist(), body.dest.tolist())
        self._segments = list(zip(*segments, strict=True))

    def read_whole_rows(self) -> None:
        """Decode chunks of whole rows, straight to their place if their rows stay together."""
        layout, columns = self._layout, self.columns
        chunk_rows = layout.chunk_rows or 1
        in_place = columns.places is None and columns.fits(layout)
        pieces = self._run.pieces(self.body.offset, self.body.size)
        for number, data in enumerate(pieces):
            begin, end = self._bounds[number], self._bounds[number + 1]
            _start, rows, first = self._segments[begin]
            if in_place and rows == chunk_rows and end - begin == 1:
                (decoded,) = columns.raw_rows(first, chunk_rows)
                self._decode(number, data, decoded)
                if not layout.dtype.isnative:
                    columns.targets[0][1][first : first + chunk_rows].byteswap(inplace=True)
                continue
            decoded = self._run.scratch.take("chunk", layout.chunk_nbytes)
            self._decode(number, data, decoded)
            self._put(self._elements(decoded), number)

    def read_split_rows(self, chunk_bounds: list[int]) -> None:
        """Decode chunks that are parts of rows, one chunk row after the other."""
        for number in range(len(chunk_bounds) - 1):
            self._read_chunk_row(number, chunk_bounds[number], chunk_bounds[number + 1])

    def _read_chunk_row(self, number: int, begin: int, end: int) -> None:
        """Put together rows that are to be scattered; others go to their places part by part."""
        layout, body, scratch = self._layout, self.body, self._run.scratch
        rows = min(layout.chunk_rows or 1, layout.n_rows - int(body.first_row[number]))
        whole: np.ndarray | None = None
        if self.columns.places is not None:
            memory = scratch.take("rows", rows * layout.row_nbytes)
            whole = memory.view(layout.dtype).reshape(rows, *layout.row_shape)
            if end - begin < layout.chunks_per_chunk_row:
                whole[...] = layout.fill
        pieces = self._run.pieces(body.offset[begin:end], body.size[begin:end])
        for chunk, data in enumerate(pieces, begin):
            decoded = scratch.take("chunk", layout.chunk_nbytes)
            self._decode(chunk, data, decoded)
            inside, kept = self._part_of_row(chunk)
            piece = self._elements(decoded)[(slice(0, rows), *kept)]
            if whole is not None:
                whole[(slice(None), *inside)] = piece
            else:
                self._put(piece, number, inside)
        if whole is not None:
            self._put(whole, number)

    def _elements(self, decoded: np.ndarray) -> np.ndarray:
        """View a decoded chunk with the sample axis in front."""
        elements = decoded.view(self._layout.dtype).reshape(self._layout.stored_chunks)
        return np.moveaxis(elements, self._layout.axis, 0)

    def _part_of_row(self, chunk: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Say which part of a row a chunk holds, and which part of the chunk that is."""
        layout = self._layout
        offset = layout.chunk_offset(int(self.body.index[chunk]))
        sizes = zip(offset[1:], (layout.chunks or ())[1:], layout.row_shape, strict=True)
        inside = tuple(slice(o, min(o + c, n)) for o, c, n in sizes)
        return inside, tuple(slice(0, part.stop - part.start) for part in inside)

    def _put(self, elements: np.ndarray, number: int, inside: tuple[slice, ...] = ()) -> None:
        """Copy the wanted rows of one decoded chunk row."""
        started = time.perf_counter()
        begin, end = self._bounds[number], self._bounds[number + 1]
        if end - begin > _FEW and not inside:
            self._put_scattered(elements, begin, end)
        else:
            for start, rows, first in self._segments[begin:end]:
                self.columns.put(elements[start : start + rows], first, inside)
        self._run.gather_s += time.perf_counter() - started

    def _put_scattered(self, elements: np.ndarray, begin: int, end: int) -> None:
        body = self.body
        start, rows, dest = body.start[begin:end], body.rows[begin:end], body.dest[begin:end]
        within, numbers = expand_spans(start, start + rows), expand_spans(dest, dest + rows)
        self.columns.put_scattered(elements, within, numbers, self._run.scratch)

    def _decode(self, chunk: int, data: np.ndarray, out: np.ndarray) -> None:
        started = time.perf_counter()
        mask = int(self.body.filter_mask[chunk])
        for reads_again in range(_MOST_READS_AGAIN + 1):
            try:
                self._pipeline.decode(data, mask, out, self._run.scratch)
                break
            except DecodeError as error:
                again = None
                offset = int(self.body.offset[chunk])
                if reads_again < _MOST_READS_AGAIN:
                    again = self._run.read_again(offset, int(self.body.size[chunk]))
                if again is None:
                    index = int(self.body.index[chunk])
                    raise damaged_chunk(self._layout, index, offset, str(error)) from error
                data = again
        self._run.decode_s += time.perf_counter() - started
        self._run.decoded_bytes += out.nbytes
