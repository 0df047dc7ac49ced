from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import h5stream as h5s
from h5stream.columns import Slices, Sparse
from tests.streams import as_ragged, blocks_of, write_columns, write_rows

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


def test_strings_that_are_not_utf8_are_named() -> None:
    column = np.array([[b"a", b"b"], [b"c", b"\xe9t\xe9"], [b"\xff", b"d"]])
    with pytest.raises(
        h5s.DecodeError, match=r"^sample 1 of a batch holds bytes in field 's' .*xe9t"
    ):
        h5s.collate({"s": column})
    with pytest.raises(h5s.DecodeError, match=r"^the sample holds bytes in field 's'"):
        h5s.collate({"s": column[1, 1]})


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


def as_sparse(columns: dict[str, Any]) -> dict[str, Any]:
    row = columns["row"]
    rows = Sparse(row * 1.0, row % 3, np.arange(len(row) + 1), (len(row), 3))
    return {"row": row, "x": rows, "s": Slices(np.arange(100), row, 2)}


def plain(batch: dict[str, Any]) -> dict[str, Any]:
    """Turn a batch into lists, whatever its tensors are."""
    return {key: _plain(value) for key, value in batch.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout == torch.jagged:
        return [row.tolist() for row in value.unbind()]
    return value.to_dense().tolist() if value.layout == torch.sparse_csr else value.tolist()


def test_pipe_pads_ragged_columns_and_counts_the_padding(tmp_path: Path) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 8), seed=None).map(as_ragged)
    batches = list(tensors := pipe.batch(4).collate(padding_value=-1, padding_side="left"))
    assert batches[0]["tokens"].tolist() == [[-1, -1, -1], [-1, -1, 1], [-1, 2, 2], [3, 3, 3]]
    assert batches[1]["tokens_lengths"].tolist() == [4, 5, 6, 0]
    stats = tensors.stats()
    assert (stats["batch_elements"], stats["padding_elements"]) == (12 + 24, 6 + 9)
    assert stats["padding_waste"] == 15 / 36


def test_without_padding_there_is_no_waste(tmp_path: Path) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 8)).map(as_ragged).batch(4)
    packed = pipe.collate(ragged="packed")
    list(packed)
    assert packed.stats()["padding_waste"] == 0


def test_single_samples_keep_the_length_of_their_row(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 8)
    samples = list(blocks_of(path, seed=None).map(as_ragged).unbatch().collate())
    assert [sample["tokens"].tolist() for sample in samples[:4]] == [[], [1], [2, 2], [3, 3, 3]]
    found = list(blocks_of(path, seed=None).map(as_sparse).unbatch().collate(sparse="dense"))
    assert found[2]["x"].tolist() == [0, 0, 2]
    assert found[2]["s"].tolist() == [2, 3]


def test_text_of_single_samples_stays_str(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 4)
    pipe = blocks_of(path, seed=None).map(lambda c: {"s": ["a" * int(r) for r in c["row"]]})
    assert [sample["s"] for sample in pipe.unbatch().collate()] == ["", "a", "aa", "aaa"]


def test_rebatched_samples_are_ragged_again(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 8)
    pipe = blocks_of(path, seed=None).map(as_ragged).unbatch().batch(4)
    assert next(iter(pipe.collate()))["tokens_lengths"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("form", ["padded", "nested", "packed", "list"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_ragged_batches_come_from_workers(tmp_path: Path, form: Any, context: str) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 20)).map(as_ragged).batch(4)
    pipe = pipe.collate(ragged=form, padding_info="both")
    expected = [plain(batch) for batch in pipe]
    pipe.set_epoch(0)
    loader: DataLoader[Any] = DataLoader(
        pipe, batch_size=None, num_workers=1, multiprocessing_context=context
    )
    assert [plain(batch) for batch in loader] == expected


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_nested_and_csr_batches_come_from_a_loader(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 20)
    for make, form in ((as_ragged, {"ragged": "nested"}), (as_sparse, {"sparse": "csr"})):
        pipe = blocks_of(path).map(make).batch(4).collate(**form)  # type: ignore[arg-type]
        expected = [plain(batch) for batch in pipe]
        pipe.set_epoch(0)
        assert [plain(batch) for batch in h5s.Loader(pipe, num_workers=1)] == expected


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("form", ["csr", "dense", "pairs"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_sparse_batches_come_from_workers(tmp_path: Path, form: Any, context: str) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 20)).map(as_sparse).batch(4).collate(sparse=form)
    expected = [plain(batch) for batch in pipe]
    pipe.set_epoch(0)
    loader: DataLoader[Any] = DataLoader(
        pipe, batch_size=None, num_workers=1, multiprocessing_context=context
    )
    assert [plain(batch) for batch in loader] == expected


def test_a_pipe_with_options_is_pickled(tmp_path: Path) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 8)).map(as_ragged).batch(4)
    pipe = pipe.collate(ragged={"tokens": "packed"}, max_length=2)
    copy = pickle.loads(pickle.dumps(pipe))
    assert [plain(batch) for batch in copy] == [plain(batch) for batch in pipe]


def test_options_beside_a_function_are_refused(tmp_path: Path) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 4)).batch(4)
    with pytest.raises(h5s.ConfigError, match="so padding_value would do nothing"):
        pipe.collate(as_ragged, padding_value=0)


def test_stream_takes_the_options_of_collate(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 4)
    stream = h5s.H5Stream(path, ["x"], batch_size=4, ragged={"x": "padded"}, pad_to=5)
    assert next(iter(stream))["x"].shape == (4, 5)
    with pytest.raises(h5s.ConfigError, match="padding_side must be one of 'right', 'left'"):
        h5s.H5Stream(path, batch_size=4, padding_side="up")
    with pytest.raises(h5s.ConfigError, match="so pad_to would do nothing"):
        h5s.H5Stream(path, batch_size=4, pad_to=8, output="numpy")
    with pytest.raises(TypeError, match="no argument 'batchsize'"):
        h5s.H5Stream(path, batchsize=4)
    stream = h5s.H5Stream(path, ["x"], batch_size=4, padding_value={"y": 0})
    with pytest.raises(h5s.ConfigError, match=r"name \['y'\], but the fields are \['x'\]"):
        next(iter(stream))
