"""A run that goes on with other numbers of ranks: all are given equally many, no row twice."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from tests.streams import write_rows

FILES = (53, 31)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("growth")
    return [
        write_rows(folder / f"{number}.h5", rows, first=1000 * number)
        for number, rows in enumerate(FILES)
    ]


def by_sevens(columns: dict[str, Any]) -> dict[str, Any]:
    return {"row": columns["row"] + 0}


kinds = st.sampled_from(["plain", "in order", "subset", "mapped", "mixed", "mixed to the end"])
configurations = st.fixed_dictionaries(
    {
        "kind": kinds,
        "uneven": st.sampled_from([None, "drop", "pad", "keep"]),
        "lanes": st.sampled_from([2, 4, 6, 12]),
        "batch_size": st.sampled_from([1, 3, 10]),
        "drop_last": st.booleans(),
    }
)


def make(paths: list[str], rank: int, world_size: int, *, kind: str, **options: Any) -> h5s.Loader:
    shared = {**options, "rank": rank, "world_size": world_size, "seed": 3}
    shuffled = {**shared, "shuffle": kind != "in order"}
    if kind.startswith("mixed"):
        stop = "all_exhausted" if kind == "mixed to the end" else "first_exhausted"
        streams = [h5s.H5Stream(path, ["row"], **shuffled) for path in paths]
        return h5s.Loader(h5s.mix(streams, [2, 1], stop_criteria=stop))
    subset = np.arange(2, 77, 2) if kind == "subset" else None
    stream: Any = h5s.H5Stream(paths, ["row"], subset=subset, **shuffled)
    return h5s.Loader(stream.map(by_sevens) if kind == "mapped" else stream)


def rows(batches: list[Any]) -> list[int]:
    return [row for batch in batches for row in batch["row"].tolist()]


def fitting(lanes: int) -> list[int]:
    return [ranks for ranks in range(1, lanes + 1) if lanes % ranks == 0]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7])
def test_ranks_that_keep_all_rows_of_a_mix_differ_by_a_batch(
    paths: list[str], batch_size: int, drop_last: bool
) -> None:
    for lanes, ranks in [(6, 2), (6, 3), (4, 4), (12, 4)]:
        options = {"uneven": "keep", "lanes": lanes, "batch_size": batch_size}
        loaders = [
            make(paths, rank, ranks, kind="mixed to the end", drop_last=drop_last, **options)
            for rank in range(ranks)
        ]
        counts = [len(list(loader)) for loader in loaders]
        assert max(counts) - min(counts) <= 1, (lanes, ranks, counts)
        assert counts == [len(loader) for loader in loaders]


@given(asked=configurations, data=st.data())
def test_ranks_stay_equal_and_no_row_comes_twice(
    paths: list[str], asked: dict[str, Any], data: st.DataObject
) -> None:
    before, after = (data.draw(st.sampled_from(fitting(asked["lanes"]))) for _ in range(2))
    old = [make(paths, rank, before, **asked) for rank in range(before)]
    taken = data.draw(st.integers(0, len(old[0])))
    given_before = [batch for loader in old for batch in islice(loader, taken)]
    state = json.loads(json.dumps(old[0].state_dict()))
    new = [make(paths, rank, after, **asked) for rank in range(after)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for loader in new:
                loader.load_state_dict(state)
    except h5s.StateError:
        assert before != after
        return
    rest = [list(loader) for loader in new]
    told = [len(loader) for loader in new]
    following = [list(loader) for loader in new]
    for epoch in (rest, following):
        counts = [len(batches) for batches in epoch]
        spread = 1 if asked["uneven"] == "keep" else 0
        assert max(counts) - min(counts) <= spread
    assert told == [len(batches) for batches in following]
    if asked["uneven"] != "pad":
        everything = rows([*given_before, *(batch for batches in rest for batch in batches)])
        assert max(Counter(everything).values(), default=1) == 1
