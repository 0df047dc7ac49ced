from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

import h5stream as h5s
from h5stream.columns import Sparse
from tests.columns.kinds import sparse

MATRIX = Sparse(
    np.array([5.0, 7.0, 9.0], np.float32), np.array([2, 0, 1]), np.array([0, 1, 3]), (2, 3)
)
DENSE = [[0, 0, 5], [7, 9, 0]]


def test_sparse_rows_become_a_csr_tensor() -> None:
    found = h5s.collate({"x": MATRIX})["x"]
    assert found.layout == torch.sparse_csr
    assert found.to_dense().tolist() == DENSE
    assert (found @ torch.ones(3, 1)).tolist() == [[5], [16]]


@given(sparse())
def test_csr_tensors_are_valid_whatever_is_stored(drawn: Any) -> None:
    column, rows = drawn
    found = h5s.collate({"x": column})["x"]
    checked = torch.sparse_csr_tensor(
        found.crow_indices(),
        found.col_indices(),
        found.values(),
        found.shape,
        check_invariants=True,
    )
    assert checked.to_dense().tolist() == [row.tolist() for row in rows]


def test_sparse_rows_become_dense_or_pairs() -> None:
    assert h5s.collate({"x": MATRIX}, sparse="dense")["x"].tolist() == DENSE
    indices, values, indptr = h5s.collate({"x": MATRIX}, sparse={"x": "pairs"})["x"]
    assert indices.tolist() == [2, 0, 1]
    assert values.tolist() == [5, 7, 9]
    assert indptr.tolist() == [0, 1, 3]


def test_a_sparse_sample_is_a_vector_if_dense_and_else_one_row() -> None:
    sample = {"x": MATRIX[1]}
    assert h5s.collate(sample, sparse="dense")["x"].tolist() == DENSE[1]
    assert h5s.collate(sample)["x"].to_dense().tolist() == DENSE[1:]
    block = h5s.Block(sample)
    assert h5s.collate(block, sparse="dense")["x"].tolist() == DENSE[1:]


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32])
def test_indices_of_any_type_are_taken(kind: Any) -> None:
    column = Sparse(np.ones(2), np.array([0, 1], kind), np.array([0, 2]), (1, 2))
    assert h5s.collate({"x": column})["x"].to_dense().tolist() == [[1, 1]]


def test_torchs_warning_about_csr_tensors_does_not_reach_users() -> None:
    code = """
import warnings
import numpy as np
import h5stream as h5s
from h5stream.columns import Sparse
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    h5s.collate({"x": Sparse(np.ones(1), np.zeros(1, int), np.array([0, 1]), (1, 1))})
assert not caught, caught
"""
    subprocess.run([sys.executable, "-c", code], check=True)
