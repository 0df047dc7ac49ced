from __future__ import annotations

import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

import h5stream as h5s
from h5stream.collation.ragged import pad
from h5stream.columns import Ragged
from tests.columns.kinds import ragged

TOKENS = Ragged(np.array([1, 2, 3, 4, 5, 6], np.int32), np.array([0, 3, 3, 5, 6]))


def rows_of_lists(*rows: list[Any]) -> Ragged:
    return Ragged.from_rows([np.array(row, np.int64) for row in rows])


@given(ragged(), st.integers(0, 5), st.booleans())
def test_padding_is_what_a_loop_over_rows_does(drawn: Any, width: int, left: bool) -> None:
    column, rows = drawn
    expected = np.zeros((len(rows), width, *column.element_shape), column.dtype)
    for place, row in enumerate(rows):
        kept = row[:width]
        start = width - len(kept) if left else 0
        expected[place, start : start + len(kept)] = kept
    found = pad(column, width, left=left)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("longest", [7, 5000], ids=["short", "long"])
def test_padding_equals_pad_sequence(longest: int, left: bool) -> None:
    generator = np.random.default_rng(0)
    rows = [generator.normal(size=n).astype("f4") for n in generator.integers(0, longest, 50)]
    expected = pad_sequence(
        list(map(torch.from_numpy, rows)),
        batch_first=True,
        padding_value=-1,
        padding_side="left" if left else "right",
    )
    order = generator.permutation(50)
    batch = h5s.collate(
        {"x": Ragged.from_rows(rows)[order]},
        padding_value=-1,
        padding_side="left" if left else "right",
    )
    assert torch.equal(batch["x"], expected[torch.from_numpy(order)])


def test_rows_are_padded_to_the_longest_with_their_lengths_beside() -> None:
    batch = h5s.collate({"t": TOKENS})
    assert batch["t"].tolist() == [[1, 2, 3], [0, 0, 0], [4, 5, 0], [6, 0, 0]]
    assert batch["t"].dtype == torch.int32
    assert batch["t_lengths"].tolist() == [3, 0, 2, 1]
    assert batch["t_lengths"].dtype == torch.int64
    assert list(batch) == ["t", "t_lengths"]


@pytest.mark.parametrize(
    ("options", "width", "lengths"),
    [
        ({"pad_to_multiple_of": 8}, 8, [3, 0, 2, 1]),
        ({"pad_to_multiple_of": 3}, 3, [3, 0, 2, 1]),
        ({"pad_to": 5}, 5, [3, 0, 2, 1]),
        ({"pad_to": 2}, 2, [2, 0, 2, 1]),
        ({"max_length": 2}, 2, [2, 0, 2, 1]),
        ({"max_length": 9}, 3, [3, 0, 2, 1]),
        ({"max_length": 2, "pad_to_multiple_of": 4}, 4, [2, 0, 2, 1]),
        ({"pad_to": {"t": 2}}, 2, [2, 0, 2, 1]),
        ({"pad_to": {"u": 2}}, 3, [3, 0, 2, 1]),
    ],
    ids=str,
)
def test_width_can_be_chosen(options: Any, width: int, lengths: list[int]) -> None:
    batch = h5s.collate({"t": TOKENS, "u": TOKENS}, **options)
    assert batch["t"].shape == (4, width)
    assert batch["t_lengths"].tolist() == lengths


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_mask_is_true_where_elements_are(side: Any) -> None:
    batch = h5s.collate(
        {"t": TOKENS}, padding_info="both", padding_side=side, padding_value=-1, pad_to=4
    )
    assert torch.equal(batch["t_mask"], batch["t"] != -1)
    assert batch["t_mask"].sum(1).tolist() == batch["t_lengths"].tolist()


@pytest.mark.parametrize(
    ("info", "keys"),
    [
        ("lengths", {"t", "t_lengths"}),
        ("mask", {"t", "t_mask"}),
        ("both", {"t", "t_lengths", "t_mask"}),
        ("none", {"t"}),
    ],
)
def test_what_tells_the_padding_can_be_chosen(info: Any, keys: set[str]) -> None:
    assert h5s.collate({"t": TOKENS}, padding_info=info).keys() == keys


def test_options_can_differ_by_field() -> None:
    batch = h5s.collate(
        {"a": TOKENS, "b": TOKENS, "c": TOKENS},
        padding_value={"a": 7},
        ragged={"b": "packed"},
        padding_info={"c": "none"},
    )
    assert batch["a"][1].tolist() == [7, 7, 7]
    assert isinstance(batch["b"], h5s.Packed)
    assert batch["c"][1].tolist() == [0, 0, 0]
    assert list(batch) == ["a", "a_lengths", "b", "c"]


def test_packed_rows_are_what_variable_length_attention_takes() -> None:
    values, cu_seqlens, max_seqlen = h5s.collate({"t": TOKENS}, ragged="packed")["t"]
    assert values.tolist() == [1, 2, 3, 4, 5, 6]
    assert (cu_seqlens.tolist(), cu_seqlens.dtype) == ([0, 3, 3, 5, 6], torch.int32)
    assert max_seqlen == 3


def test_nested_rows_are_jagged_and_cut() -> None:
    nested = h5s.collate({"t": TOKENS}, ragged="nested", max_length=2)["t"]
    assert nested.layout == torch.jagged
    assert [row.tolist() for row in nested.unbind()] == [[1, 2], [], [4, 5], [6]]


def test_nested_rows_compute_and_learn() -> None:
    column = Ragged(np.arange(10, dtype=np.float32).reshape(5, 2), np.array([0, 2, 5]))
    nested = h5s.collate({"x": column}, ragged="nested")["x"]
    layer = torch.nn.Linear(2, 3)
    out = layer(nested)
    assert [tuple(row.shape) for row in out.unbind()] == [(2, 3), (3, 3)]
    out.values().sum().backward()
    assert layer.weight.grad is not None


def test_rows_can_be_a_list() -> None:
    rows = h5s.collate({"t": TOKENS[np.array([2, 1])]}, ragged="list")["t"]
    assert [row.tolist() for row in rows] == [[4, 5], []]


def test_text_becomes_str_and_bytes_on_request() -> None:
    column = Ragged.from_rows(["né", "", "abc"])
    assert h5s.collate({"s": column}) == {"s": ["né", "", "abc"]}
    expected = {"s": ["né".encode(), b"", b"abc"]}
    assert h5s.collate({"s": column}, ragged={"s": "bytes"}) == expected
    raw = Ragged(column.values, column.offsets)
    assert h5s.collate({"s": raw}, ragged={"s": "bytes"}) == expected
    with pytest.raises(h5s.ConfigError, match="'t' has rows of int32"):
        h5s.collate({"t": TOKENS}, ragged="bytes")


@pytest.mark.parametrize("form", ["padded", "nested", "packed", "list"])
def test_trailing_axes_and_empty_batches_are_kept(form: Any) -> None:
    column = Ragged(np.ones((3, 2, 2), np.float32), np.array([0, 1, 3]))
    full = h5s.collate({"x": column}, ragged=form)["x"]
    empty = h5s.collate({"x": column[:0]}, ragged=form)["x"]
    rowless = h5s.collate({"x": column[np.array([0])]}, ragged=form, max_length=1)["x"]
    shapes = {
        "padded": lambda x: tuple(x.shape),
        "nested": lambda x: tuple(x.values().shape),
        "packed": lambda x: tuple(x.values.shape),
        "list": lambda x: [tuple(row.shape) for row in x],
    }[form]
    assert (
        shapes(full)
        == {
            "padded": (2, 2, 2, 2),
            "nested": (3, 2, 2),
            "packed": (3, 2, 2),
            "list": [(1, 2, 2), (2, 2, 2)],
        }[form]
    )
    assert len(shapes(empty)) == (0 if form == "list" else len(shapes(full)))
    assert len(shapes(rowless)) == (1 if form == "list" else len(shapes(full)))


def test_elements_of_any_kind_are_padded() -> None:
    lengths = np.array([0, 1, 3])
    compound = np.zeros(3, [("a", "i4"), ("b", "f4")])
    item = h5s.collate(
        {
            "s": Ragged(np.array([b"a", b"bc", b"d"]), lengths),
            "c": Ragged(compound, lengths),
            "h": Ragged(np.ones(3, ml_dtypes.bfloat16), lengths),
        },
        padding_info="none",
    )
    assert item["s"] == [["a", ""], ["bc", "d"]]
    assert item["c"]["a"].shape == (2, 2)
    assert item["h"].tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("form", ["nested", "packed", "list"])
def test_strings_are_only_padded(form: Any) -> None:
    column = Ragged(np.array([b"a", b"bc"]), np.array([0, 0, 2]))
    with pytest.raises(h5s.UnsupportedError, match="can only be padded"):
        h5s.collate({"s": column}, ragged=form)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("u1", -1),
        ("u1", 256),
        ("i4", 0.5),
        ("i8", np.nan),
        ("?", 2),
        ("f4", 1j),
        ([("a", "i2")], "x"),
    ],
    ids=str,
)
def test_a_padding_value_that_the_type_cannot_hold_is_refused(kind: Any, value: Any) -> None:
    column = Ragged(np.zeros(3, kind), np.array([0, 1, 3]))
    with pytest.raises(h5s.ConfigError, match="padding_value"):
        h5s.collate({"x": column}, padding_value=value)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 0.1, 5])
def test_floats_take_any_padding_value(value: float) -> None:
    column = Ragged(np.zeros(3, np.float32), np.array([0, 1, 3]))
    found = h5s.collate({"x": column}, padding_value=value)["x"][0, 1]
    assert torch.equal(found, torch.tensor(value, dtype=torch.float32)) or np.isnan(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ragged": "pad"}, "ragged must be one of 'padded', 'nested', 'packed', 'list', 'bytes'"),
        ({"padding_side": "top"}, "padding_side must be one of 'right', 'left', not 'top'"),
        ({"padding_info": {"t": True}}, "padding_info of field 't' must be one of 'lengths'"),
        ({"padding_value": "0"}, "padding_value must be a number, not '0'"),
        ({"pad_to": 0}, "pad_to must be a positive integer or None, not 0"),
        ({"pad_to_multiple_of": 1.5}, "pad_to_multiple_of must be a positive integer"),
        ({"max_length": True}, "max_length must be a positive integer"),
        ({"sparse": "coo"}, "sparse must be one of 'csr', 'dense', 'pairs', not 'coo'"),
        ({"pad_to": 3, "max_length": 2}, "pass it or max_length, not both"),
        ({"pad_to": {"t": 3}, "pad_to_multiple_of": 2}, "pass it or pad_to_multiple_of"),
        ({"padding_value": {"tt": 1}}, r"name \['tt'\], but the fields are \['t'\]"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(h5s.ConfigError, match=message):
        h5s.collate({"t": TOKENS}, **options)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="no argument 'padding'; options of collate are ragged, "):
        h5s.collate({"t": TOKENS}, padding=1)  # type: ignore[call-arg]


def test_a_key_that_is_taken_is_refused() -> None:
    item = {"t": TOKENS, "t_lengths": np.arange(4)}
    with pytest.raises(h5s.ConfigError, match="'t_lengths' would be the key of a field and of"):
        h5s.collate(item)
    assert "t_mask" in h5s.collate(item, padding_info="mask")


def test_a_named_field_is_ragged_even_if_its_rows_are_equally_long() -> None:
    block = h5s.Block({"t": np.ones((2, 3))})
    assert h5s.collate(block).keys() == {"t"}
    assert h5s.collate(block, ragged={"t": "padded"}).keys() == {"t", "t_lengths"}
    with pytest.raises(h5s.ConfigError, match="single elements as rows"):
        h5s.collate(h5s.Block({"t": np.ones(2)}), ragged={"t": "padded"})


def test_read_only_values_are_copied() -> None:
    values = np.arange(3)
    values.flags.writeable = False
    batch = h5s.collate({"t": Ragged(values, np.array([0, 1, 3]))}, ragged="packed")
    batch["t"].values[0] = 5
    assert values[0] == 0


def test_packed_and_pairs_are_pickled() -> None:
    packed = h5s.collate({"t": TOKENS}, ragged="packed")["t"]
    assert pickle.loads(pickle.dumps(packed)).cu_seqlens.tolist() == [0, 3, 3, 5, 6]
