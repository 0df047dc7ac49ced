from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import h5stream as h5s
from h5stream.columns import Ragged
from tests.write.rows import SPECS, assert_equal_rows, by_h5py, by_stream, make_rows

COMPRESSIONS = ["auto", "gzip", "zstd", "lz4", None]
NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


def part_of(rows: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    return {name: column[start:stop] for name, column in rows.items()}


@given(
    names=st.sets(st.sampled_from(sorted(SPECS)), min_size=1),
    n_rows=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    compression=st.sampled_from(COMPRESSIONS),
    checksum=st.booleans(),
    chunk_bytes=st.sampled_from([1, 40, 300, 2**20]),
    mode=st.sampled_from(["new", "append"]),
    knows_length=st.booleans(),
)
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    names: set[str],
    n_rows: int,
    cuts: list[int],
    compression: Any,
    checksum: bool,
    chunk_bytes: int,
    mode: Any,
    knows_length: bool,
) -> None:
    path = tmp_path_factory.mktemp("writer") / "rows.h5"
    rows = {name: column for name, column in make_rows(n_rows).items() if name in names}
    options: dict[str, Any] = {"compression": compression, "checksum": checksum}
    if mode == "new" and knows_length:
        options["n_rows"] = n_rows
    specs = {name: SPECS[name] for name in rows}
    with h5s.Writer(path, specs, mode=mode, chunk_bytes=chunk_bytes, **options) as writer:
        for start, stop in pairwise(sorted({0, *(cut for cut in cuts if cut < n_rows), n_rows})):
            writer.extend(part_of(rows, start, stop))
            writer.flush()
    assert_equal_rows(by_h5py(path, list(rows)), rows)
    if n_rows:
        assert_equal_rows(by_stream(path, list(rows)), rows)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", NUMBERS)
def test_types_are_kept(tmp_path: Path, kind: str, compression: Any) -> None:
    values = np.arange(24).reshape(12, 2).astype(kind)
    path = tmp_path / "types.h5"
    with h5s.Writer(path, compression=compression, chunk_bytes=5 * values[0].nbytes) as writer:
        offsets = np.minimum(2 * np.arange(13), 12)
        writer.extend({"x": values, "tokens": Ragged(values, offsets)})
    with h5py.File(path) as file:
        assert file["x"].dtype == values.dtype
        np.testing.assert_array_equal(file["x"][()], values)
        np.testing.assert_array_equal(file["tokens/values"][()], values)
    batch = next(iter(h5s.H5Stream(path, ["x"], batch_size=12, output="numpy")))
    assert batch["x"].dtype == values.dtype
    np.testing.assert_array_equal(batch["x"], values)
