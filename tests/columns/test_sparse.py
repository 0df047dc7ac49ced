from __future__ import annotations

import numpy as np
import pytest

from h5stream.columns import Sparse, concat
from h5stream.errors import ConfigError


def matrix(n_columns: int = 3) -> Sparse:
    return Sparse(np.arange(4.0), np.array([2, 0, 0, 1]), np.array([0, 2, 4]), (2, n_columns))


def test_unsorted_and_repeated_indices_are_added() -> None:
    rows = Sparse(np.array([1, 2, 4]), np.array([1, 0, 1], "u8"), np.array([0, 3]), (1, 2))
    assert rows.dense().tolist() == [[2, 5]]


def test_parts_follow_the_rows_that_were_taken() -> None:
    rows = matrix()[np.array([1, 1])]
    assert rows.data.tolist() == [2, 3, 2, 3]
    assert (rows.indices.tolist(), rows.indptr.tolist()) == ([0, 1, 0, 1], [0, 2, 4])
    assert rows.shape == (2, 3)


@pytest.mark.parametrize(
    ("indices", "indptr", "message"),
    [
        ([0, 3], [0, 1, 2], "outside its 3 columns"),
        ([0, -1], [0, 1, 2], "outside its 3 columns"),
        ([0, 1, 2], [0, 1, 2], "of equal length"),
        ([0, 1], [0, 2], "3 offsets"),
        ([0, 1], [0, 1, 3], "there are 2 values"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    indices: list[int], indptr: list[int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Sparse(np.ones(2), np.array(indices), np.array(indptr), (2, 3))


def test_matrices_of_different_widths_are_not_joined() -> None:
    with pytest.raises(ConfigError, match="different widths"):
        concat([matrix(3), matrix(4)])
