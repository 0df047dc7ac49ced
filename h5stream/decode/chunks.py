"""Undoes a dataset's whole filter pipeline for one chunk at a time.

1. The filters run in reverse, without those that the chunk's filter mask says were skipped.
2. What each step must give is known: a pipeline has at most one compressor (others are not read
   directly), and all other filters keep the size or add a fixed number of bytes, counted from
   the chunk's size before the compressor and from the stored size after it.
3. The last decoder writes straight to where the rows belong; what lies between decoders goes
   through the thread's scratch memory, with room in front for a SIMD unshuffle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from h5stream.decode.filters import DECODERS, FRAME_ROOM, SHUFFLE, describe_filter, unshuffle_framed
from h5stream.decode.scratch import Scratch
from h5stream.errors import DecodeError
from h5stream.layout import FilterSpec

__all__ = ["Pipeline", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One filter to undo.

    Parameters
    ----------
    filter : FilterSpec
        The filter.
    nbytes : int or None
        How many bytes undoing it must give; None: fixed by what is stored.
    """

    filter: FilterSpec
    nbytes: int | None

    def size_from(self, stored_nbytes: int) -> int:
        """Return how many bytes undoing this filter must give."""
        added = DECODERS[self.filter.id].added_bytes or 0
        if self.nbytes is None:
            return max(0, stored_nbytes - added)
        return self.nbytes


@dataclass(frozen=True)
class Pipeline:
    """The filters of a dataset, in the order in which writing applied them."""

    filters: tuple[FilterSpec, ...]
    chunk_nbytes: int

    @staticmethod
    def misfit(filters: Sequence[FilterSpec]) -> str | None:
        """Say why chunks with these filters cannot be decoded here, None if they can."""
        for spec in filters:
            decoder = DECODERS.get(spec.id)
            if decoder is None:
                return f"it is compressed with {describe_filter(spec.id, spec.name)}"
            if reason := decoder.misfit(spec.values):
                return reason
        compressors = [spec for spec in filters if DECODERS[spec.id].added_bytes is None]
        return "it has two compressors" if len(compressors) > 1 else None

    def is_raw(self, filter_mask: int) -> bool:
        """Tell whether a chunk with this mask is stored as it is in memory."""
        return not self.steps(filter_mask)

    def stored_nbytes(self, filter_mask: int) -> int | None:
        """Return how long a chunk with this mask is on disk, None if its content decides."""
        nbytes = self.chunk_nbytes
        for position, spec in enumerate(self.filters):
            if filter_mask >> position & 1:
                continue
            decoder = DECODERS.get(spec.id)
            if decoder is None or decoder.added_bytes is None:
                return None
            nbytes += decoder.added_bytes
        return nbytes

    def decode(self, data: np.ndarray, filter_mask: int, out: np.ndarray, scratch: Scratch) -> None:
        """Decode one chunk.

        Parameters
        ----------
        data : numpy.ndarray
            uint8: the stored bytes.
        filter_mask : int
            Bit i set: filter i was skipped.
        out : numpy.ndarray
            uint8, contiguous, `chunk_nbytes` long.
        scratch : Scratch
            Working memory of the calling thread.

        Raises
        ------
        DecodeError
            If the bytes do not decode to exactly `chunk_nbytes` bytes, or a checksum differs.
        """
        steps = self.steps(filter_mask)
        if not steps:
            _expect_size(data.nbytes, out.nbytes, "the unfiltered chunk")
            out[:] = data
            return
        frame: np.ndarray | None = None
        for position, step in enumerate(steps):
            nbytes = step.size_from(data.nbytes)
            shuffled = step.filter.id == SHUFFLE
            if shuffled and frame is None:
                frame = scratch.take("frame", FRAME_ROOM + data.nbytes)
                frame[FRAME_ROOM:] = data
            if position == len(steps) - 1:
                _expect_size(nbytes, out.nbytes, "the decoded chunk")
                target, next_frame = out, None
            elif not shuffled and steps[position + 1].filter.id == SHUFFLE:
                next_frame = scratch.take("frame", FRAME_ROOM + nbytes)
                target = next_frame[FRAME_ROOM:]
            else:
                target, next_frame = scratch.take(f"step {position % 2}", nbytes), None
            _run(step.filter, data, frame, target)
            data, frame = target, next_frame

    def steps(self, filter_mask: int) -> tuple[Step, ...]:
        """Return the filters to undo for a chunk with this mask, in order."""
        return _plan_steps(self.filters, self.chunk_nbytes, filter_mask)


@lru_cache(maxsize=1024)
def _plan_steps(
    filters: tuple[FilterSpec, ...], chunk_nbytes: int, filter_mask: int
) -> tuple[Step, ...]:
    steps: list[Step] = []
    nbytes: int | None = chunk_nbytes
    for position, spec in enumerate(filters):
        if filter_mask >> position & 1:
            continue
        steps.append(Step(spec, nbytes))
        added = DECODERS[spec.id].added_bytes
        nbytes = None if nbytes is None or added is None else nbytes + added
    return tuple(reversed(steps))


def _run(spec: FilterSpec, data: np.ndarray, frame: np.ndarray | None, out: np.ndarray) -> None:
    decoder = DECODERS[spec.id]
    if not data.nbytes:
        raise DecodeError(f"{decoder.name}: nothing is stored")
    if decoder.added_bytes is not None:
        _expect_size(data.nbytes, out.nbytes + decoder.added_bytes, f"{decoder.name} data")
    try:
        if frame is None:
            written = decoder.run(data, out, spec.values)
        else:
            written = unshuffle_framed(frame, out, spec.values)
    except (RuntimeError, ValueError) as error:
        raise DecodeError(
            f"{decoder.name}: {error} (in {data.nbytes} stored bytes, expected {out.nbytes} "
            "decoded)"
        ) from error
    _expect_size(written, out.nbytes, f"{decoder.name} output")


def _expect_size(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise DecodeError(f"{what} has {found} bytes, expected {expected}")
