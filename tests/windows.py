"""Reads rows the two ways that tests compare with h5py: as windows of pieces, and as streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import h5stream as h5s
from h5stream.opening import open_catalog
from h5stream.plan import Pieces
from h5stream.reader import Catalog, Reader, Stats


def read_pieces(
    catalog: Catalog,
    ranges: Sequence[tuple[int, int, int]],
    *,
    places: np.ndarray | None = None,
    stats: Stats | None = None,
) -> dict[str, np.ndarray]:
    """Read (file number, start, stop) ranges as one window, its last task first."""
    reader = Reader(catalog, stats or Stats())
    file, start, stop = np.array(ranges, np.int64).reshape(-1, 3).T
    window = reader.window(Pieces(file, start, stop), places)
    try:
        reader.run(window, window.plan.tasks[::-1])
    finally:
        window.check_unchanged()
        reader.release_files()
    return window.columns


def read_field(path: object, name: str = "x") -> np.ndarray:
    """Read all rows of one dataset as one window."""
    catalog = open_catalog(str(path), {"x": name})
    return read_pieces(catalog, [(0, 0, catalog.n_rows)])["x"]


def stream_field(pipe: h5s.Pipe, batch_size: int = 16) -> np.ndarray:
    """Join the batches of the field `x`; at least one batch must come."""
    return np.concatenate([block["x"] for block in pipe.batch(batch_size)])
