from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from h5stream.plan import RowChunks, join_bounds


def cut_row_chunks(n_rows: Sequence[int], rows: Sequence[int]) -> RowChunks:
    """Cut files into row chunks of so many rows, the last of a file shorter."""
    return join_bounds(
        [np.append(np.arange(0, n, step), n) for n, step in zip(n_rows, rows, strict=True)]
    )
