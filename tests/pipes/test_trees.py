"""Samples of any shape keep it through batch and collate, or are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate

import h5stream as h5s
from tests.streams import write_columns

N = 8
ROWS = {"x": np.arange(N), "z": np.arange(3.0 * N).reshape(N, 3)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_columns(tmp_path_factory.mktemp("trees") / "a.h5", ROWS)


def samples(path: str) -> Any:
    return h5s.open_files(path, ["x", "z"]).list_chunks().shard().read_chunks().unbatch()


class Pair(NamedTuple):
    """Two leaves."""

    left: Any
    right: Any


def shapes() -> st.SearchStrategy[Any]:
    leaves = st.sampled_from(["x", "z"])
    keys = st.sampled_from(["a", "b", "c"])
    return st.recursive(
        leaves,
        lambda inner: (
            st.dictionaries(keys, inner, min_size=1, max_size=3)
            | st.lists(inner, min_size=1, max_size=3)
            | st.tuples(inner, inner)
            | st.builds(Pair, inner, inner)
        ),
        max_leaves=6,
    )


def filled(shape: Any, sample: dict[str, Any]) -> Any:
    if isinstance(shape, str):
        return np.asarray(sample[shape])
    if isinstance(shape, dict):
        return {key: filled(branch, sample) for key, branch in shape.items()}
    if isinstance(shape, Pair):
        return Pair(*(filled(branch, sample) for branch in shape))
    return type(shape)([filled(branch, sample) for branch in shape])


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return bool(torch.equal(found, expected))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    return len(found) == len(expected) and all(map(same, found, expected))


@given(shape=shapes(), batch_size=st.integers(1, N))
def test_trees_are_batched_as_torch_does(path: str, shape: Any, batch_size: int) -> None:
    def made(sample: dict[str, Any]) -> Any:
        return filled(shape, sample)

    found = list(samples(path).map(made).batch(batch_size).collate())
    rows = [made({name: ROWS[name][row] for name in ROWS}) for row in range(N)]
    expected = [default_collate(rows[a : a + batch_size]) for a in range(0, N, batch_size)]
    assert len(found) == len(expected)
    assert all(map(same, found, expected))
    assert type(found[0]) is type(made({name: ROWS[name][0] for name in ROWS})) or isinstance(
        shape, str
    )


def test_tuples_keep_their_order(path: str) -> None:
    x, z = next(iter(samples(path).map(lambda s: (s["x"], s["z"])).batch(4).collate()))
    assert x.tolist() == [0, 1, 2, 3]
    assert z.shape == (4, 3)


def test_single_samples_keep_their_shape_too(path: str) -> None:
    x, (z,) = next(iter(samples(path).map(lambda s: (s["x"], [s["z"]])).collate()))
    assert (int(x), z.tolist()) == (0, [0.0, 1.0, 2.0])


def test_a_function_of_batches_gets_the_tree_and_may_return_another(path: str) -> None:
    pairs = samples(path).map(lambda s: (s["x"], s["z"])).batch(4)
    swapped = pairs.map(lambda pair: {"z": pair[1], "x": (pair[0], pair[0] + 1)}).collate()
    batch = next(iter(swapped))
    assert [part.tolist() for part in batch["x"]] == [[0, 1, 2, 3], [1, 2, 3, 4]]


def test_rows_of_a_tree_can_be_taken_apart_again(path: str) -> None:
    again = samples(path).map(lambda s: (s["x"], s["z"])).batch(4).unbatch()
    assert [int(x) for x, _z in again] == list(range(N))


DIFFERENCES = [
    pytest.param(lambda s: (1, 2) if s["x"] else (1,), r"sample 1 has \[0, 1\]", id="length"),
    pytest.param(lambda s: {"a": 1} if s["x"] else {"b": 1}, r"sample 1 has \['a'\]", id="keys"),
    pytest.param(lambda s: {"a": {"b": 1}} if s["x"] else {"a": 1}, "'a' is a dict", id="depth"),
    pytest.param(lambda s: [(1,)] if s["x"] else ((1,),), "is a list", id="kind"),
    pytest.param(lambda s: {"a": None if s["x"] else 1}, "'a' is None", id="none"),
]


@pytest.mark.parametrize(("function", "said"), DIFFERENCES)
def test_samples_of_unlike_shapes_are_refused(path: str, function: Any, said: str) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        next(iter(samples(path).map(function).batch(4).collate()))


def test_ragged_leaves_are_padded_or_say_what_to_write(path: str) -> None:
    tree = samples(path).map(lambda s: (s["z"][: int(s["x"]) % 3 + 1], s["x"])).batch(3)
    with pytest.raises(h5s.ConfigError, match='pass padding_info="none"'):
        next(iter(tree.collate()))
    z, x = next(iter(tree.collate(padding_info="none")))
    assert (z.shape, x.tolist()) == ((3, 3), [0, 1, 2])


def windows(block: dict[str, Any]) -> Iterator[Any]:
    for row in block["z"]:
        yield {"z": row}


def test_a_generator_over_blocks_must_say_that_it_yields_rows(path: str) -> None:
    blocks = h5s.open_files(path, ["z"]).list_chunks().shard().read_chunks()
    with pytest.raises(h5s.ConfigError, match=r"must yield h5stream\.Block.*\.unbatch\(\)"):
        next(iter(blocks.map(windows).batch(2).collate()))


def test_a_function_that_returns_a_generator_is_refused(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match="returns a generator"):
        next(iter(samples(path).map(lambda s: (s for _ in range(2))).batch(2).collate()))
