from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.layout.names import natural_key, split_members


@pytest.mark.parametrize(
    ("name", "path", "members"),
    [
        pytest.param("images", "images", (), id="plain"),
        pytest.param("a/b", "a/b", (), id="path"),
        pytest.param("obs[louvain]", "obs", ("louvain",), id="member"),
        pytest.param("/log[pose][x]", "/log", ("pose", "x"), id="nested member"),
        pytest.param("t[my member]", "t", ("my member",), id="member with a blank"),
        pytest.param("x[]", "x[]", (), id="empty brackets"),
        pytest.param("x[a", "x[a", (), id="open bracket"),
        pytest.param("[a]", "[a]", (), id="no path"),
        pytest.param("x[a]b", "x[a]b", (), id="brackets in the middle"),
    ],
)
def test_a_name_splits_into_path_and_members(
    name: str, path: str, members: tuple[str, ...]
) -> None:
    assert split_members(name) == (path, members)


def test_numbers_in_names_sort_by_value() -> None:
    names = ["shard-10.h5", "shard-9.h5", "shard-2b.h5", "shard-02.h5", "shard-.h5", "a10/b2"]
    assert sorted(names, key=natural_key) == [
        "a10/b2",
        "shard-02.h5",
        "shard-2b.h5",
        "shard-9.h5",
        "shard-10.h5",
        "shard-.h5",
    ]


@given(st.lists(st.text("ab1209²٣-/", max_size=8)))
def test_names_that_differ_have_keys_that_differ(names: list[str]) -> None:
    ordered = sorted(names, key=natural_key)
    assert sorted(ordered) == sorted(names)
    assert all(a == b or natural_key(a) != natural_key(b) for a in names for b in names)
