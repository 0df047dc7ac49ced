from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

import h5stream as h5s
from tests.streams import blocks_of, write_columns, write_rows

NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_become_tensors_of_their_type_without_a_copy(kind: str) -> None:
    column = np.array([[0, 1], [2, 3]]).astype(kind)
    tensor = h5s.collate({"x": column})["x"]
    assert tensor.numpy().dtype == column.dtype
    assert np.shares_memory(tensor.numpy(), column)


def test_bfloat16_keeps_its_bits() -> None:
    column = np.array([[1.5, -2], [3.140625, 0]], ml_dtypes.bfloat16)
    tensor = h5s.collate({"x": column})["x"]
    assert tensor.dtype == torch.bfloat16
    assert tensor.float().tolist() == [[1.5, -2], [3.140625, 0]]


def test_single_values_become_tensors_without_axes() -> None:
    item = h5s.collate({"a": np.float32(2), "b": ml_dtypes.bfloat16(1.5), "c": 3})
    assert [tuple(tensor.shape) for tensor in item.values()] == [(), (), ()]
    assert (item["a"].dtype, item["b"].item(), item["c"].item()) == (torch.float32, 1.5, 3)


def test_strings_become_lists_of_str() -> None:
    column = np.array([["é".encode(), b"b"], [b"", b"cd"]])
    batch = h5s.collate({"s": column, "one": np.bytes_(b"ab"), "text": "as it is"})
    assert batch == {"s": [["é", "b"], ["", "cd"]], "one": "ab", "text": "as it is"}


def test_strings_that_are_not_utf8_raise_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"utf-8|UTF-8"):
        h5s.collate({"s": np.array([b"\xff\xfe"])})


def test_compounds_become_dicts_of_their_members() -> None:
    kind = np.dtype([("a", "<i4"), ("inner", [("b", "<f4", (2,)), ("s", "S2")])])
    column = np.zeros(3, kind)
    column["a"], column["inner"]["s"] = [1, 2, 3], b"x"
    item = h5s.collate({"c": column})["c"]
    assert item["a"].tolist() == [1, 2, 3]
    assert item["inner"]["b"].shape == (3, 2)
    assert item["inner"]["s"] == ["x"] * 3


def test_tensors_pass_as_they_are() -> None:
    tensor = torch.ones(3)
    assert h5s.collate({"x": tensor})["x"] is tensor


@pytest.mark.parametrize(
    "column",
    [np.zeros(2, np.longdouble), np.zeros(2, "V3"), np.zeros(2, [("a", np.longdouble)])],
    ids=["longdouble", "opaque", "member"],
)
def test_types_that_torch_lacks_are_refused_by_name(column: np.ndarray) -> None:
    with pytest.raises(h5s.UnsupportedError, match=r"no type for field 'x(\[a\])?' of .*numpy"):
        h5s.collate({"x": column})


def test_pipe_collates_batches_and_samples(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 6)
    batch = next(iter(blocks_of(path, seed=None).batch(4).collate()))
    sample = next(iter(blocks_of(path, seed=None).unbatch().collate()))
    assert (batch["x"].shape, sample["x"].shape, sample["row"].item()) == ((4, 3), (3,), 0)


def test_pipe_takes_a_function_of_a_dict(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 6)
    pipe = blocks_of(path, seed=None).batch(4).collate(lambda columns: columns["row"].sum())
    assert list(pipe) == [6, 9]
    assert type(next(iter(blocks_of(path).batch(4).collate(lambda columns: columns)))) is dict


def test_stream_decodes_strings_of_a_file(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.h5", {"s": np.array([b"one", b"two"])}, chunk_rows=None)
    assert next(iter(h5s.H5Stream(path, ["s"], batch_size=2)))["s"] == ["one", "two"]
