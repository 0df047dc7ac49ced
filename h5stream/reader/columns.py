"""How columns are made of a window's buffers: data that is planned, and applied to memory.

A column can be made before its values are there; it is good once they are, and `check` passed.
"""

from __future__ import annotations

import codecs
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from h5stream.columns import Column, Ragged, Text
from h5stream.errors import DecodeError
from h5stream.fields import RegionField, VlenField
from h5stream.fields.region import Form, PatchForm
from h5stream.reader.tasks import Value

__all__ = [
    "BufferColumn",
    "ColumnPlan",
    "ElementColumn",
    "PatchColumn",
    "RaggedColumn",
    "ReadyColumn",
    "StoredText",
]

_FIRST_NON_ASCII = 0x80
_FIRST_OF_SEVERAL = 0xC0
"""Bytes from the one to the other continue a character of UTF-8."""

Memory = Sequence[np.ndarray]
"""The buffers of a window, by their numbers."""


class ColumnPlan(Value):
    """What is made of buffers."""

    __slots__ = ()

    @property
    def buffers(self) -> tuple[int, ...]:
        """Numbers of the buffers that it is made of."""
        return ()

    @abstractmethod
    def make(self, memory: Memory) -> Column:
        """Make the column."""

    def check(self, memory: Memory, column: Column) -> None:
        """Raise DecodeError if what was read cannot be right; the last steps are done here."""
        return


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class BufferColumn(ColumnPlan):
    """A buffer as it is."""

    buffer: int

    @property
    def buffers(self) -> tuple[int, ...]:
        """The one."""
        return (self.buffer,)

    def make(self, memory: Memory) -> Column:
        """Return the buffer."""
        return memory[self.buffer]


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class ReadyColumn(ColumnPlan):
    """What was in memory before."""

    column: Column

    def make(self, memory: Memory) -> Column:
        """Return it."""
        return self.column


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class PatchColumn(ColumnPlan):
    """Patches of volumes, one volume a file.

    Parameters
    ----------
    form : PatchForm
        What patches are.
    volumes : tuple of int
        Their buffers.
    which : numpy.ndarray
        int64: the volume of each row.
    placed : tuple of numpy.ndarray
        int64: where the patch of each row lies in it.
    """

    form: PatchForm
    volumes: tuple[int, ...]
    which: np.ndarray
    placed: tuple[np.ndarray, ...]

    @property
    def buffers(self) -> tuple[int, ...]:
        """The volumes."""
        return self.volumes

    def make(self, memory: Memory) -> Column:
        """Cut the patches."""
        return self.form.cut([memory[n] for n in self.volumes], self.which, self.placed)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class ElementColumn(ColumnPlan):
    """Regions of elements, in the form that their fields ask for.

    Parameters
    ----------
    form : Form
        What a row is.
    parts : tuple of int
        The buffer of each part.
    placed : tuple of numpy.ndarray
        int64: where each row lies.
    fields : tuple of RegionField
        Of each file.
    ends : numpy.ndarray
        int64: where the elements of each file end, in every buffer.
    """

    form: Form
    parts: tuple[int, ...]
    placed: tuple[np.ndarray, ...]
    fields: tuple[RegionField, ...]
    ends: np.ndarray

    @property
    def buffers(self) -> tuple[int, ...]:
        """The parts."""
        return self.parts

    def make(self, memory: Memory) -> Column:
        """Make the column."""
        return self.form.make(tuple(memory[n] for n in self.parts), self.placed)

    def check(self, memory: Memory, column: Column) -> None:
        """Look at what the form wants to be looked at."""
        elements = (np.split(memory[n], self.ends[:-1]) for n in self.parts)
        by_file = list(zip(*elements, strict=True))
        for check in self.form.checks(self.fields, by_file, column):
            check()


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class StoredText(Value):
    """Rows of one file that must be UTF-8.

    Parameters
    ----------
    field : VlenField
        The column.
    rows, lengths : numpy.ndarray
        int64: rows of the file, and the bytes of each.
    span : (int, int)
        Where they lie in the buffer, one after the other.
    """

    field: VlenField
    rows: np.ndarray
    lengths: np.ndarray
    span: tuple[int, int]


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class RaggedColumn(ColumnPlan):
    """Rows of unequal length that lie anywhere in a buffer.

    Parameters
    ----------
    buffer : int
        Their elements.
    starts, lengths : numpy.ndarray
        int64: of each row.
    text : bool or "replace"
        Rows are `str`; see `h5stream.columns.Ragged`.
    stored : tuple of StoredText
        What must be UTF-8.
    """

    buffer: int
    starts: np.ndarray
    lengths: np.ndarray
    text: Text = False
    stored: tuple[StoredText, ...] = ()

    @property
    def buffers(self) -> tuple[int, ...]:
        """The one."""
        return (self.buffer,)

    def make(self, memory: Memory) -> Column:
        """Make the column."""
        return Ragged.placed(memory[self.buffer], self.starts, self.lengths, text=self.text)

    def check(self, memory: Memory, column: Column) -> None:
        """Refuse rows that are not UTF-8."""
        for stored in self.stored:
            _check_text(stored, memory[self.buffer][slice(*stored.span)])


def _check_text(stored: StoredText, data: np.ndarray) -> None:
    """Refuse rows that are not UTF-8, one after the other in `data`."""
    field, rows, lengths = stored.field, stored.rows, stored.lengths
    if not len(data) or data.max() < _FIRST_NON_ASCII:
        return
    starts = np.cumsum(lengths) - lengths
    first_bytes = data[starts[lengths > 0]]
    inside = (first_bytes >= _FIRST_NON_ASCII) & (first_bytes < _FIRST_OF_SEVERAL)
    try:
        codecs.utf_8_decode(data.data, "strict", True)
    except UnicodeDecodeError as error:
        row = int(np.searchsorted(starts, error.start, side="right")) - 1
    else:
        if not inside.any():
            return
        # A character begins in one row and ends in the next.
        row = int(np.flatnonzero(lengths > 0)[np.argmax(inside)])
    value = data[starts[row] : starts[row] + lengths[row]].tobytes()
    layout = field.layout
    raise DecodeError(
        f"{layout.file}: row {int(rows[row])} of {layout.path!r} holds bytes that are not UTF-8 "
        f'({value[:40]!r}); read the field with h5stream.Vlen({layout.path!r}, errors="replace")',
        url=layout.file,
        dataset=layout.path,
    )
