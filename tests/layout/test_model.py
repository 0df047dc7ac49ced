from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from h5stream.layout import DatasetLayout, Storage

LAYOUT = DatasetLayout("f.h5", "/x", (10, 5, 3), np.dtype("<i4"), Storage.CHUNKED, chunks=(4, 2, 3))


def test_a_layout_counts_rows_and_bytes() -> None:
    assert (LAYOUT.n_rows, LAYOUT.row_shape) == (10, (5, 3))
    assert (LAYOUT.row_nbytes, LAYOUT.nbytes, LAYOUT.chunk_nbytes) == (60, 600, 96)
    assert (LAYOUT.chunk_rows, LAYOUT.grid, LAYOUT.chunks_per_chunk_row) == (4, (3, 3, 1), 3)


@pytest.mark.parametrize(
    ("index", "offset"), [(0, (0, 0, 0)), (2, (0, 4, 0)), (3, (4, 0, 0)), (8, (8, 4, 0))]
)
def test_a_place_in_the_grid_has_element_coordinates(index: int, offset: tuple[int, ...]) -> None:
    assert LAYOUT.chunk_offset(index) == offset


def test_a_layout_without_chunks_has_no_grid() -> None:
    layout = replace(LAYOUT, storage=Storage.CONTIGUOUS, chunks=None)
    assert (layout.chunk_rows, layout.grid, layout.chunk_nbytes) == (None, (), 0)


def test_a_layout_can_be_pickled() -> None:
    found = pickle.loads(pickle.dumps(LAYOUT))
    assert (found.path, found.shape, found.dtype, found.chunks) == (
        "/x",
        LAYOUT.shape,
        LAYOUT.dtype,
        LAYOUT.chunks,
    )
