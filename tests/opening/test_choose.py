"""Rows of several files in an order of their own: files stay whole, and an order tells the rest."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.pipes.explain import explain
from h5stream.reader.catalog import ORDERED
from tests.streams import rows_of, write_rows

SIZES = (13, 1, 30, 9)


def write_files(folder: Path) -> list[str]:
    firsts = np.cumsum([0, *SIZES])
    return [
        write_rows(folder / f"{number}.h5", size, first=int(first))
        for number, (size, first) in enumerate(zip(SIZES, firsts, strict=False))
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_files(tmp_path_factory.mktemp("files"))


ORDERS = st.lists(st.integers(0, sum(SIZES) - 1), min_size=1, max_size=60)


@given(order=ORDERS, batch_size=st.integers(1, 9))
def test_rows_come_in_the_order_in_which_they_were_given(order: list[int], batch_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder))
        stream = h5s.H5Stream(paths, ["row", "x"], subset=order, batch_size=batch_size)
        batches = list(stream)
        data = h5s.Dataset(paths, ["row"], subset=order)
        by_number = [int(data[number]["row"]) for number in range(len(order))]
        where = stream.rows()
    assert rows_of(batches) == order == by_number
    assert np.concatenate([np.asarray(batch["x"])[:, 0] for batch in batches]).tolist() == order
    assert len(stream.catalog.files) == len(set(where.file.tolist()))
    starts = dict(zip(paths, np.cumsum([0, *SIZES]), strict=False))
    told = [starts[where.files[f]] + r for f, r in zip(where.file, where.row, strict=True)]
    assert told == order


SHUFFLED = np.random.default_rng(3).permutation(sum(SIZES))[:40].tolist()


def stream_of(files: list[str], subset: Any = SHUFFLED, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(files, ["row"], subset=subset, batch_size=4, **options)


def test_row_chunks_count_places_in_the_order(files: list[str]) -> None:
    pipe = h5s.open_files(files, ["row", "x"], subset=SHUFFLED).list_chunks(target_bytes=1)
    chunks = list(pipe)
    assert {chunk.file for chunk in chunks} == {ORDERED}
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(n, n + 4) for n in range(0, 40, 4)]
    assert rows_of(pipe.read_chunks()) == SHUFFLED
    mixed = rows_of(pipe.shuffle_chunks(1).read_chunks().shuffle_rows(9))
    assert sorted(mixed) == sorted(SHUFFLED)
    assert mixed != SHUFFLED


@pytest.mark.parametrize("workers", [0, 2])
def test_every_place_of_an_order_can_be_gone_on_from(files: list[str], workers: int) -> None:
    for done in range(0, 10, 3):
        loader = h5s.Loader(stream_of(files, lanes=2), num_workers=workers)
        whole = rows_of(loader)
        first = h5s.Loader(stream_of(files, lanes=2))
        taken = [batch for _, batch in zip(range(done), first, strict=False)]
        again = h5s.Loader(stream_of(files, lanes=2), num_workers=workers)
        again.load_state_dict(first.state_dict())
        assert rows_of([*taken, *again]) == whole


def test_a_state_of_another_order_is_refused(files: list[str]) -> None:
    running = iter(stream_of(files))
    next(running)
    other = stream_of(files, SHUFFLED[::-1])
    other.load_state_dict(running.state_dict())
    with pytest.raises(h5s.StateError, match="order"):
        next(iter(other))


def test_transforms_draw_by_place_in_the_order(files: list[str]) -> None:
    def draw(sample: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
        return {"row": sample["row"], "drawn": generator.integers(0, 2**40)}

    def drawn(stream: h5s.H5Stream) -> list[int]:
        return [int(value) for batch in stream for value in batch["drawn"]]

    mixed, sorted_rows = (stream_of(files, subset, transform=draw) for subset in (SHUFFLED, [0, 1]))
    assert drawn(mixed)[:2] == drawn(sorted_rows)
    assert len(set(drawn(mixed))) == len(SHUFFLED)


def test_what_an_order_costs_is_told(files: list[str]) -> None:
    facts = dict(explain(stream_of(files)).facts)
    assert facts["files"].startswith("4 (")
    assert facts["rows"].startswith("40 of")


def test_given_rows_that_lie_file_by_file_need_no_order(files: list[str]) -> None:
    catalog = stream_of(files, [44, 50, 3, 2, 20]).catalog
    assert catalog.order is None
    assert [Path(file.path).name for file in catalog.files] == ["3.h5", "0.h5", "2.h5"]
    assert stream_of(files, SHUFFLED, shuffle=True).catalog.order is None
