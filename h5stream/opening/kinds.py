"""Tells which datasets are alike, so that one of each kind is read both ways and not all.

Two datasets are of one kind if HDF5 wrote them with the same structures, and their elements,
filters and chunks meet the same cases of reading directly. A kind is believed for the rest of a
catalog once one of its datasets was read directly and by h5py with the same result; while none
was, every one is read both ways.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from h5stream.layout import DatasetLayout

__all__ = ["SoundKinds", "kind_of"]


class SoundKinds:
    """The kinds of dataset of a catalog that were read both ways, with the same result."""

    def __init__(self) -> None:
        self._sound: set[Hashable] = set()

    def __contains__(self, kind: Hashable) -> bool:
        return kind in self._sound

    def add(self, kind: Hashable) -> None:
        """Believe a kind from now on."""
        self._sound.add(kind)


def kind_of(layout: DatasetLayout, made: tuple[Any, ...]) -> Hashable:
    """Describe all that decides how a dataset is read directly, but not where its bytes lie.

    Parameters
    ----------
    layout : DatasetLayout
        With its chunk table.
    made : tuple
        How HDF5 wrote it; see `FileLayout.made`.
    """
    return (
        made,
        layout.storage,
        layout.dtype,
        None if layout.dtype.names is None else repr(layout.dtype),
        layout.filters,
        layout.vlen,
        layout.axis,
        layout.flat,
        len(layout.shape),
        layout.byte_offset is None,
        _geometry(layout),
    )


def _geometry(layout: DatasetLayout) -> Hashable:
    """Tell which cases of chunks there are: whole rows, edges, skipped filters, missing ones."""
    table, chunks = layout.table, layout.chunks
    if table is None or chunks is None:
        return None
    axes = tuple(
        (size == chunk, bool(size % chunk), size > chunk)
        for size, chunk in zip(layout.shape, chunks, strict=True)
    )
    masks = tuple(np.unique(table.filter_mask).tolist()) if layout.filters else ()
    unfiltered = bool(layout.filters) and bool((table.size == layout.chunk_nbytes).any())
    return axes, masks, unfiltered, min(len(table), 2)
