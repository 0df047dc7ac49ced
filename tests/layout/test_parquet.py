"""References in folders of Parquet files: the same facts as in JSON, and nothing on trust."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.index import write_folder
from h5stream.layout import ChunkTable, DatasetLayout, FileLayout, FilterSpec, Storage
from h5stream.layout.kerchunk import JsonReferences, ParquetReferences, pack_json, pack_parquet
from tests.h5files import DIRECT_PIPELINES, Recipe, random_elements, write

GOLDEN = Path(__file__).parent / "references"
"""What kerchunk and fsspec wrote themselves."""


def read_golden(name: str) -> np.ndarray:
    with h5py.File(GOLDEN / "weather.h5") as file:
        return file[name][...]


def folder(files: Mapping[str, bytes | None]) -> ParquetReferences:
    """Open references that lie in memory."""
    return ParquetReferences(lambda names: [files.get(name) for name in names], "it")


def make_layout(
    shape: Sequence[int], chunks: Sequence[int], stored: Iterable[int], file: str = "a.h5"
) -> FileLayout:
    """Make up a file with one chunked dataset ``g/x``."""
    index = np.array(sorted(stored), np.int64)
    table = ChunkTable(index, 100 + index * 64, index % 60 + 1, np.zeros(len(index), np.uint32))
    dataset = DatasetLayout(
        file=file,
        path="/g/x",
        shape=tuple(shape),
        dtype=np.dtype("<i4"),
        storage=Storage.CHUNKED,
        chunks=tuple(chunks),
        filters=(FilterSpec(2, "shuffle", (4,)), FilterSpec(1, "deflate", (4,))),
        table=table,
        stored_bytes=int(table.size.sum()),
    )
    return FileLayout(file, {"g/x": dataset})


def assert_same(found: DatasetLayout, expected: DatasetLayout) -> None:
    assert (found.table is None) == (expected.table is None)
    for fact in ("path", "shape", "chunks", "dtype", "filters", "stored_bytes"):
        assert getattr(found, fact) == getattr(expected, fact), fact
    if found.table is not None and expected.table is not None:
        assert found.file == (expected.file if len(expected.table) else "")
        for column in ("index", "byte_offset", "size", "filter_mask"):
            one, two = getattr(found.table, column), getattr(expected.table, column)
            assert one.dtype == two.dtype
            assert one.tolist() == two.tolist(), column


@st.composite
def layouts(draw: st.DrawFn) -> FileLayout:
    rank = draw(st.integers(1, 3))
    shape = [draw(st.integers(0, 20)) for _axis in range(rank)]
    chunks = [draw(st.integers(1, 6)) for _axis in range(rank)]
    most = int(np.prod([-(-n // c) for n, c in zip(shape, chunks, strict=True)]))
    stored = draw(st.sets(st.integers(0, most - 1), max_size=20)) if most else set()
    return make_layout(shape, chunks, stored)


@given(layouts(), st.integers(1, 9))
def test_layouts_survive_parquet(layout: FileLayout, record_rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("h5stream.layout.kerchunk.as_parquet._RECORD_ROWS", record_rows)
        files = dict(pack_parquet(layout))
    found = folder(files).locate(["g/x"])["g/x"]
    assert_same(found, layout.datasets["g/x"])
    assert_same(JsonReferences(pack_json(layout), "it").locate(["g/x"])["g/x"], found)


def rows_by_key(files: Mapping[str, bytes], name: str) -> dict[str, list[Any]]:
    """Look up chunks as fsspec's reader does, one key after the other."""
    said = json.loads(files[".zmetadata"])
    array = said["metadata"][f"{name}/.zarray"]
    grid = [-(-n // c) for n, c in zip(array["shape"], array["chunks"], strict=True)]
    found = {}
    for at in np.ndindex(*grid):
        number = 0
        for place, count in zip(at, grid, strict=True):
            number = number * count + place
        record, row = divmod(number, said["record_size"])
        table = pq.read_table(pa.BufferReader(files[f"{name}/refs.{record}.parq"])).to_pydict()
        assert table["raw"][row] is None
        if table["path"][row] is not None:
            place = [table[column][row] for column in ("path", "offset", "size")]
            found[f"{name}/{'.'.join(map(str, at))}"] = place
    return found


@settings(max_examples=20)
@given(layouts())
def test_each_key_leads_to_the_range_that_json_has(layout: FileLayout) -> None:
    said = json.loads(pack_json(layout))["refs"]
    chunks = {key: value for key, value in said.items() if "/.z" not in key and key[0] != "."}
    assert rows_by_key(dict(pack_parquet(layout)), "g/x") == chunks


def test_columns_have_the_types_that_readers_expect() -> None:
    files = dict(pack_parquet(make_layout([8], [2], [])))
    file = pq.ParquetFile(pa.BufferReader(files["g/x/refs.0.parq"]))
    assert [str(kind) for kind in file.schema_arrow.types] == ["string", "int64", "int64", "binary"]
    column = file.metadata.row_group(0).column(1)
    assert column.statistics.null_count == 0, "fastparquet makes floats of integers without"


def test_references_in_a_folder_lead_to_the_rows(tmp_path: Path) -> None:
    path, output = tmp_path / "file.h5", tmp_path / "refs.parq"
    recipe = Recipe(np.dtype("<i4"), (20, 5), (6, 5), DIRECT_PIPELINES["shuffle gzip"])
    with h5py.File(path, "w") as file:
        write(file, "g/x", recipe, random_elements((20, 5), recipe.dtype, smooth=True))
        file["whole"] = np.arange(20)
        file.create_dataset("never", (20,), "f4", chunks=(3,), fillvalue=7)
        expected = {name: file[name][...] for name in ("g/x", "whole", "never")}
    for _twice in range(2):
        assert h5s.index_files(str(path), output) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.h5", "refs.parq"]
    for layout in (output, f"{output}/"):
        (batch,) = h5s.H5Stream(str(path), batch_size=20, output="numpy", layout=layout)
        assert {name: rows.tolist() for name, rows in batch.items()} == {
            name: rows.tolist() for name, rows in expected.items()
        }


@pytest.mark.parametrize("layout", ["weather.json", "weather.parq"])
def test_what_kerchunk_wrote_is_read(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    for fields in (None, ["t"], ["plain", "small"], ["small"]):
        stream = h5s.H5Stream("weather.h5", fields, batch_size=40, output="numpy", layout=layout)
        (batch,) = stream
        assert list(batch) == (fields or ["plain", "small", "t"])
        assert all((rows == read_golden(name)).all() for name, rows in batch.items())
        assert all(route.direct for route in stream.catalog.routes.values())
    with pytest.raises(h5s.ConfigError, match=r"'g/check' of weather[.]h5 was not indexed"):
        len(h5s.H5Stream("weather.h5", ["g/check"], layout=layout))
    with pytest.raises(h5s.ConfigError, match="scalar"):
        len(h5s.H5Stream("weather.h5", ["scalar"], layout=layout))
    with pytest.raises(h5s.ConfigError, match="there is no layout of"):
        len(h5s.H5Stream(h5s.example_file(), {"t": "t"}, layout=layout))


def test_a_chunk_that_is_missing_from_references_is_not_made_up(tmp_path: Path) -> None:
    """Whether it was lost or never written, the file knows."""
    files = dict(pack_parquet(make_layout([8], [2], [1])))
    del files["g/x/refs.0.parq"]
    assert folder(files).locate(["g/x"])["g/x"].indirect == "some of its references are not there"


def test_only_the_files_of_wanted_arrays_are_read() -> None:
    asked: list[str] = []
    files = {path.relative_to(GOLDEN / "weather.parq").as_posix(): path.read_bytes()
             for path in (GOLDEN / "weather.parq").rglob("*") if path.is_file()}  # fmt: skip

    def read(names: Sequence[str]) -> list[bytes | None]:
        asked.extend(names)
        return [files.get(name) for name in names]

    ParquetReferences(read, "it").locate(["t"])
    assert asked == [".zmetadata", "t/refs.0.parq", "t/refs.1.parq"]


def test_what_is_no_folder_of_references_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file.parq").write_bytes(b"data")
    (tmp_path / "store.parquet" / "x").mkdir(parents=True)
    (tmp_path / "store.parquet" / ".zmetadata").write_text("{}")
    (tmp_path / "store.parquet" / "x" / "0.0").write_bytes(b"data")
    for name in ("file.parq", "store.parquet"):
        with pytest.raises(h5s.ConfigError, match="name another output"):
            h5s.index_files(h5s.example_file(), tmp_path / name)
    assert (tmp_path / "store.parquet" / "x" / "0.0").read_bytes() == b"data"
    with pytest.raises(h5s.ConfigError, match="written to local paths"):
        h5s.index_files(h5s.example_file(), "s3://bucket/refs.parq")
    with pytest.raises(h5s.LayoutError, match="cannot be written"):
        h5s.index_files(h5s.example_file(), tmp_path / "none" / "refs.parq", fields=["X"])


def test_an_output_that_cannot_be_written_stays_what_it_was(tmp_path: Path) -> None:
    write_folder(tmp_path / "refs.parq", [(".zmetadata", b"{}")])

    def failing() -> Iterable[tuple[str, bytes]]:
        yield "x/refs.0.parq", b"data"
        raise OSError(28, "no space left")

    with pytest.raises(h5s.LayoutError, match="no space left"):
        write_folder(tmp_path / "refs.parq", failing())
    assert [path.name for path in tmp_path.rglob("*")] == ["refs.parq", ".zmetadata"]


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "masks": ("skip a filter", {"masks": {1: 1}}),
    "lzf": ("compressed with lzf", {"filters": DIRECT_PIPELINES["lzf"]}),
    "compound": ("its elements are", {"dtype": np.dtype([("a", "<i4")])}),
    "the parent folder": ("its name means", {"name": "../../x"}),
    "a name of the format": ("its name means", {"name": "refs.0.parq/x"}),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("suffix", ["json", "parq"])
def test_what_references_cannot_hold_is_refused(kind: str, suffix: str, tmp_path: Path) -> None:
    reason, facts = REFUSED[kind]
    facts = {"filters": DIRECT_PIPELINES["shuffle gzip"], "name": "x", **facts}
    name, dtype = facts.pop("name"), facts.pop("dtype", np.dtype("<i4"))
    if dtype.names:
        facts["filters"] = ()
    with h5py.File(tmp_path / "file.h5", "w") as file:
        recipe = Recipe(dtype, (20,), (6,), **facts)
        write(file, name, recipe, random_elements((20,), dtype))
    with pytest.raises(h5s.UnsupportedError, match=reason):
        h5s.index_files(tmp_path / "file.h5", tmp_path / f"refs.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["file.h5"]


def test_a_grid_that_is_too_large_for_parquet_is_refused() -> None:
    layout = make_layout([2**40], [2], [3])
    with pytest.raises(h5s.UnsupportedError, match="a row for each place"):
        list(pack_parquet(layout))


def test_pyarrow_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(h5s.ConfigError, match=r"h5stream\[kerchunk\]"):
        h5s.index_files(h5s.example_file(), tmp_path / "refs.parq", fields=["X"])
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(h5s.ConfigError, match=r"h5stream\[kerchunk\]"):
        len(h5s.H5Stream("weather.h5", layout="weather.parq"))


def table(**columns: Any) -> bytes:
    said = {"path": ["a.h5", None], "offset": [100, 0], "size": [8, 0], "raw": pa.nulls(2)}
    chosen = {name: each for name, each in {**said, **columns}.items() if each is not None}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(chosen), sink)
    return sink.getvalue().to_pybytes()


def records(data: bytes, record_rows: Any = 2, **facts: Any) -> dict[str, bytes]:
    """Make a folder with one array ``x`` of two chunks."""
    array = {"shape": [4], "chunks": [2], "dtype": "<i4", "filters": None, **facts}
    said = {"metadata": {"x/.zarray": array}, "record_size": record_rows}
    return {".zmetadata": json.dumps(said).encode(), "x/refs.0.parq": data}


READABLE = {
    "as written": {},
    "categories": {"path": pa.array(["a.h5", None]).dictionary_encode()},
    "large": {"path": pa.array(["a.h5", None], pa.large_string())},
    "small numbers": {"offset": pa.array([100, 0], pa.uint8())},
    "no data": {"raw": None},
    "data that is not a number": {"raw": pa.array([np.nan, np.nan])},
}


@pytest.mark.parametrize("kind", READABLE)
def test_all_that_writers_make_of_columns_is_read(kind: str) -> None:
    found = folder(records(table(**READABLE[kind]))).locate(["x"])["x"]
    assert found.table is not None
    assert found.table.byte_offset.tolist() == [100]
    assert found.file == "a.h5"


def test_chunks_inside_the_references_are_left_to_the_file() -> None:
    data = table(path=pa.array([None, None], pa.string()), raw=[b"12345678", None])
    assert "in the references" in str(folder(records(data)).locate(["x"])["x"].indirect)


WRONG = {
    "paths are numbers": {"path": [1, 2]},
    "offsets are text": {"offset": ["100", "0"]},
    "sizes are fractions": {"size": [1.5, 0]},
    "sizes are lists": {"size": [[8], [0]]},
    "negative": {"offset": [-1, 0]},
    "too large": {"offset": pa.array([2**63, 0], pa.uint64())},
    "no offsets": {"offset": None},
    "no paths": {"path": None},
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_columns_are_damage(kind: str) -> None:
    with pytest.raises(h5s.LayoutError, match="no kerchunk references"):
        folder(records(table(**WRONG[kind]))).locate(["x"])


LYING = {
    "too many rows": records(table(), 1),
    "too few rows": records(table(), 3, shape=[6]),
    "more chunks than there are": records(table(path=["a.h5", "a.h5"]), chunks=[4]),
    "no Parquet": records(b"rubbish"),
    "truncated": records(table()[:-20]),
    "rows that are no number": records(table(), "2"),
    "no rows at all": records(table(), 0),
    "too many files": records(table(), 1, shape=[10**6]),
    "no JSON": {".zmetadata": b"\xff"},
    "no object": {".zmetadata": b"[]"},
    "no arrays": {".zmetadata": b'{"metadata": {}, "record_size": 2}'},
    "nothing": {},
}


@pytest.mark.parametrize("kind", LYING)
def test_damaged_folders_are_refused(kind: str) -> None:
    with pytest.raises(h5s.LayoutError):
        folder(LYING[kind]).locate(["x"])


@pytest.mark.parametrize("name", ["../x", "/x", "a//x", "a/./x", "a\\..\\x", ".zmetadata", ""])
def test_names_that_lead_out_of_the_folder_are_refused(name: str) -> None:
    said = json.loads(records(b"")[".zmetadata"])
    metadata = {f"{name}/.zarray": said["metadata"]["x/.zarray"]}
    files = {".zmetadata": json.dumps({**said, "metadata": metadata}).encode()}
    with pytest.raises(h5s.LayoutError, match="cannot be the name"):
        folder(files)


def test_text_that_is_repeated_many_times_is_not_unpacked() -> None:
    """Half a terabyte of paths, which a dictionary holds in a megabyte."""
    rows, text = 2**19, "a" * 2**20
    paths = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([text]))
    places = np.arange(rows)
    data = table(path=paths, offset=places, size=places + 1, raw=paths)
    facts = records(data, rows, shape=[2 * rows])
    assert "in the references" in str(folder(facts).locate(["x"])["x"].indirect)


def test_files_of_several_parts_are_read() -> None:
    data = pq.read_table(pa.BufferReader(table(path=["a.h5", "a.h5"], offset=[5, 9], size=[1, 2])))
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink, row_group_size=1)
    found = folder(records(sink.getvalue().to_pybytes())).locate(["x"])["x"]
    assert found.table is not None
    assert found.table.index.tolist() == [0, 1]
    assert found.table.byte_offset.tolist() == [5, 9]


@given(st.integers(0, 2000), st.integers(1, 255), st.integers(0, 60))
def test_damaged_parquet_is_an_error_or_told_by_a_checksum(at: int, flip: int, cut: int) -> None:
    files = dict(pack_parquet(make_layout([40], [2], range(0, 20, 2))))
    good = folder(files).locate(["g/x"])["g/x"]
    data = bytearray(files["g/x/refs.0.parq"])
    data[at % len(data)] ^= flip
    for damaged in (bytes(data), bytes(data[: len(data) - cut])):
        with contextlib.suppress(h5s.LayoutError):
            found = folder({**files, "g/x/refs.0.parq": damaged}).locate(["g/x"])["g/x"]
            assert found.table is None or found.table.index.max(initial=0) < 20
    assert good.table is not None
