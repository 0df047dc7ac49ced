"""Which elements of a sequence make up each row. Pure.

Many kinds of field are slices of one long sequence of elements: rows between offsets, explicit
bounds, slices at regular steps inside given bounds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Bounds", "Grid", "Offsets", "Placed", "Regions", "Spans", "Steps"]


class Regions(ABC):
    """Row -> range of elements."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the rows."""

    @abstractmethod
    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where rows start and stop, as int64."""

    @abstractmethod
    def first_at(self, elements: np.ndarray) -> np.ndarray | None:
        """Count the rows that start before each of some elements, None if rows are unordered."""


@dataclass(frozen=True, eq=False)
class Offsets(Regions):
    """Row i has elements ``offsets[i]`` to ``offsets[i + 1]``."""

    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look them up."""
        return self.offsets[rows], self.offsets[rows + 1]

    def first_at(self, elements: np.ndarray) -> np.ndarray:
        """Search the offsets."""
        return np.searchsorted(self.offsets[:-1], elements)


@dataclass(frozen=True, eq=False)
class Bounds(Regions):
    """Row i has elements ``starts[i]`` to ``stops[i]``.

    Parameters
    ----------
    starts, stops : numpy.ndarray
        int64.
    sequence : numpy.ndarray or None
        int64: which sequence each row lies in, if they are slices.
    """

    starts: np.ndarray
    stops: np.ndarray
    sequence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look them up."""
        return self.starts[rows], self.stops[rows]

    def parents(self, rows: np.ndarray) -> np.ndarray:
        """Return the sequence of each row."""
        assert self.sequence is not None, "slices know the sequence that they lie in"
        return self.sequence[rows]

    def first_at(self, elements: np.ndarray) -> np.ndarray | None:
        """Search the starts, if they are sorted."""
        return np.searchsorted(self.starts, elements) if self._sorted else None

    @cached_property
    def _sorted(self) -> bool:
        return bool((np.diff(self.starts) >= 0).all())


class Spans(Bounds):
    """Ranges of elements, each of a sequence of its own."""


@dataclass(frozen=True, eq=False)
class Grid(Regions):
    """Boxes at the points of a grid, the last axis first to change.

    Parameters
    ----------
    places : tuple of numpy.ndarray
        int64, increasing, for each axis: where boxes begin.
    length : int
        Elements of a box along axis 0.
    """

    places: tuple[np.ndarray, ...]
    length: int

    def __len__(self) -> int:
        return int(np.prod([len(some) for some in self.places]))

    def _points(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        at = np.unravel_index(rows, tuple(map(len, self.places)))
        return tuple(some[own] for some, own in zip(self.places, at, strict=True))

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look up where boxes begin along axis 0."""
        start = self._points(rows)[0]
        return start, start + self.length

    def corners(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return where boxes begin along each of the other axes."""
        return self._points(rows)[1:]

    def first_at(self, elements: np.ndarray) -> np.ndarray:
        """Search the places along axis 0."""
        each = len(self) // max(1, len(self.places[0]))
        return np.searchsorted(self.places[0], elements) * each


@dataclass(frozen=True, eq=False)
class Steps(Regions):
    """Slices at regular steps inside sequences.

    Slice k of sequence j starts at ``low[j] + first + shift + k * stride``.

    Parameters
    ----------
    low, high : numpy.ndarray
        int64: where each sequence starts and stops.
    counts : numpy.ndarray
        int64: slices of each.
    span : int
        Elements from the start to the end of a slice.
    stride, first, shift : int
        See above.
    needs : int
        Elements that a sequence needs for a slice, those of all fields counted.
    random : bool
        Slices begin up to `stride` elements later, as far as their sequence goes; see `moved`.
    """

    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    span: int
    stride: int
    first: int = 0
    shift: int = 0
    needs: int = 0
    random: bool = False

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def parents(self, rows: np.ndarray) -> np.ndarray:
        """Return the sequence of each row."""
        return np.searchsorted(self._ends, rows, side="right")

    def _within(self, rows: np.ndarray, parent: np.ndarray) -> np.ndarray:
        """Return how far from the first start of their sequence slices start."""
        return (rows - (self._ends - self.counts)[parent]) * self.stride

    def _nominal(self, rows: np.ndarray, parent: np.ndarray) -> np.ndarray:
        return self.low[parent] + (self.first + self.shift) + self._within(rows, parent)

    def nominal(self, rows: np.ndarray) -> np.ndarray:
        """Return where slices start, even before their sequence."""
        return self._nominal(rows, self.parents(rows))

    def moved(self, rows: np.ndarray, seeds: np.ndarray) -> Placed:
        """Let slices begin anywhere in their stretches.

        Parameters
        ----------
        rows : numpy.ndarray
            int64.
        seeds : numpy.ndarray
            uint64, one for each.

        Returns
        -------
        Placed
            Row i is ``rows[i]``.
        """
        parent = self.parents(rows)
        room = (self.high - self.low)[parent] - self.needs - self._within(rows, parent)
        stretch = np.minimum(room + 1, self.stride).astype(np.uint64)
        starts = self._nominal(rows, parent) + (seeds % stretch).astype(np.int64)
        own = (self.low, self.high, self.counts, self.span, self.stride)
        return Placed(*own, self.first, self.shift, starts=starts, sequence=parent)

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parts of slices that lie inside their sequences, and what a mirror shows."""
        parent = self.parents(rows)
        start = self._nominal(rows, parent)
        low, high = self.low[parent], self.high[parent]
        stop = start + self.span
        if (start >= low).all() and (stop <= high).all():
            return start, stop
        mirrored_stop = np.where(start < low, 2 * low - start + 1, stop)
        mirrored_start = np.where(stop > high, 2 * high - stop - 1, start)
        begin = np.clip(np.minimum(start, mirrored_start), low, np.maximum(high - 1, low))
        return begin, np.minimum(np.maximum(stop, mirrored_stop), high)

    def first_at(self, elements: np.ndarray) -> np.ndarray | None:
        """Divide, if the sequences follow each other."""
        if not len(self.low) or not (np.diff(self.low) >= 0).all():
            return None
        parent = np.maximum(np.searchsorted(self.low, elements, side="right") - 1, 0)
        within = elements - self.low[parent] - self.first - self.shift
        number = np.clip(-(-within // self.stride), 0, self.counts[parent])
        return (self._ends - self.counts)[parent] + number


@dataclass(frozen=True, eq=False, kw_only=True)
class Placed(Steps):
    """Slices that begin at places of their own.

    Parameters
    ----------
    starts, sequence : numpy.ndarray
        int64: where each begins, and which sequence it lies in.
    """

    starts: np.ndarray
    sequence: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def parents(self, rows: np.ndarray) -> np.ndarray:
        """Look them up."""
        return self.sequence[rows]

    def _nominal(self, rows: np.ndarray, parent: np.ndarray) -> np.ndarray:
        return self.starts[rows]

    def first_at(self, elements: np.ndarray) -> np.ndarray | None:
        """Search the starts, if they are sorted."""
        in_order = bool((np.diff(self.starts) >= 0).all())
        return np.searchsorted(self.starts, elements) if in_order else None
