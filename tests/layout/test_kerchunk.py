"""References that other tools read, and that we read back."""

from __future__ import annotations

import base64
import bz2
import json
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.layout import DatasetLayout, scan_file
from h5stream.layout.kerchunk import JsonReferences, pack_json
from tests.h5files import DIRECT_PIPELINES, DTYPES, Recipe, random_elements, write

FITTING = ["none", "gzip", "shuffle gzip", "fletcher32", "shuffle gzip fletcher32", "bzip2"]


def write_one(path: Path, **facts: Any) -> np.ndarray:
    """Write a dataset `g/x`; return its rows."""
    recipe = Recipe(**{"dtype": np.dtype("<i4"), "shape": (20, 5), "chunks": (6, 5), **facts})
    with h5py.File(path, "w") as file:
        write(file, "g/x", recipe, random_elements(recipe.shape, recipe.dtype, smooth=True))
        return file["g/x"][...]


def decode(stored: bytes, codecs: list[dict[str, Any]], nbytes: int) -> bytes:
    """Undo codecs as Zarr's readers do, with other code than ours."""
    for codec in reversed(codecs):
        if codec["id"] == "zlib":
            stored = zlib.decompress(stored)
        elif codec["id"] == "bz2":
            stored = bz2.decompress(stored)
        elif codec["id"] == "fletcher32":
            stored = stored[:-4]
        elif codec["id"] == "shuffle":
            width = codec["elementsize"]
            stored = np.frombuffer(stored, np.uint8).reshape(width, -1).T.tobytes()
    assert len(stored) == nbytes
    return stored


@pytest.mark.parametrize("pipeline", FITTING)
def test_references_lead_to_the_rows(pipeline: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    rows = write_one(path, filters=DIRECT_PIPELINES[pipeline], missing=frozenset({1}))
    h5s.index_files(str(path), tmp_path / "refs.json")
    refs = json.loads((tmp_path / "refs.json").read_text())["refs"]
    assert json.loads(refs["g/.zgroup"]) == {"zarr_format": 2}
    array = json.loads(refs["g/x/.zarray"])
    found = np.full(array["shape"], array["fill_value"], array["dtype"])
    for number in range(4):
        if f"g/x/{number}.0" not in refs:
            continue
        file, offset, size = refs[f"g/x/{number}.0"]
        stored = Path(file).read_bytes()[offset : offset + size]
        chunk = np.frombuffer(decode(stored, array["filters"] or [], 6 * 5 * 4), array["dtype"])
        part = found[number * 6 : number * 6 + 6]
        part[...] = chunk.reshape(6, 5)[: len(part)]
    assert (found == rows).all()


@pytest.mark.parametrize("pipeline", [*FITTING, "contiguous"])
def test_a_stream_starts_from_references(pipeline: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    facts: dict[str, Any] = {"filters": DIRECT_PIPELINES.get(pipeline, ())}
    if pipeline == "contiguous":
        facts["chunks"] = None
    rows = write_one(path, **facts)
    h5s.index_files(str(path), tmp_path / "refs.json")
    stream = h5s.H5Stream(
        str(path), {"x": "g/x"}, batch_size=20, output="numpy", layout=tmp_path / "refs.json"
    )
    (batch,) = stream
    assert (batch["x"] == rows).all()


REFUSED = {
    "masks": {"filters": DIRECT_PIPELINES["shuffle gzip"], "masks": {1: 1}},
    "lzf": {"filters": DIRECT_PIPELINES["lzf"]},
    "compound": {"dtype": DTYPES["compound"], "chunks": None},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_references_cannot_hold_is_refused(kind: str, tmp_path: Path) -> None:
    write_one(tmp_path / "file.h5", **REFUSED[kind])
    with pytest.raises(h5s.UnsupportedError, match="cannot be written as kerchunk references"):
        h5s.index_files(str(tmp_path / "file.h5"), tmp_path / "refs.json")
    assert not (tmp_path / "refs.json").exists()


def test_elements_of_variable_length_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["x"] = ["a", "bc"]
    with pytest.raises(h5s.UnsupportedError, match="its elements vary in length"):
        h5s.index_files(tmp_path / "file.h5", tmp_path / "references.json")


def references(**changes: Any) -> bytes:
    array = {"shape": [4], "chunks": [2], "dtype": "<i4", "fill_value": 0, "filters": None}
    refs: dict[str, Any] = {
        "x/.zarray": json.dumps({**array, "order": "C", "compressor": None}),
        "x/0": ["a.h5", 100, 8],
        "x/1": ["a.h5", 108, 8],
    }
    return json.dumps({"version": 1, "refs": {**refs, **changes}}).encode()


def array_of(**facts: Any) -> str:
    said = {"shape": [4], "chunks": [2], "dtype": "<i4", "filters": None, "compressor": None}
    return json.dumps({**said, **facts})


def locate(data: bytes) -> DatasetLayout:
    return JsonReferences(data, "it").locate(["x"])["x"]


def test_good_references_are_read() -> None:
    layout = locate(references())
    assert layout.file == "a.h5"
    assert layout.table is not None
    assert layout.table.byte_offset.tolist() == [100, 108]


def test_the_places_of_chunks_may_be_written_with_slashes() -> None:
    facts = {"shape": [4, 4], "chunks": [2, 2], "dimension_separator": "/"}
    changes = {"x/0/1": ["a.h5", 1, 16], "x/1/0": ["a.h5", 17, 16]}
    said = json.loads(references(**{"x/.zarray": array_of(**facts), **changes}))["refs"]
    layout = locate(json.dumps({k: v for k, v in said.items() if k not in ("x/0", "x/1")}).encode())
    assert layout.table is not None
    assert layout.table.index.tolist() == [1, 2]


UNUSABLE = {
    "inline": {"x/0": "base64:" + base64.b64encode(bytes(8)).decode()},
    "whole files": {"x/0": ["a.h5"], "x/1": ["a.h5"]},
    "codec": {"x/.zarray": array_of(compressor={"id": "lzma"})},
    "order": {"x/.zarray": array_of(order="F")},
    "objects": {"x/.zarray": array_of(dtype="|O", filters=[{"id": "vlen-utf8"}])},
    "compound": {"x/.zarray": array_of(dtype=[["a", "<i4"]])},
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_the_file_must_be_asked_for_is_said(kind: str) -> None:
    layout = locate(references(**UNUSABLE[kind]))
    assert layout.indirect
    assert layout.table is None


DAMAGED = {
    "outside": {"x/2": ["a.h5", 100, 8]},
    "two numbers": {"x/0": ["a.h5", 100]},
    "empty": {"x/.zarray": "{}"},
    "no JSON": {"x/.zarray": "nonsense"},
    "too far": {"x/0": ["a.h5", 2**70, 8]},
    "negative": {"x/0": ["a.h5", -1, 8]},
    "twice": {"x/00": ["a.h5", 100, 8]},
    "many axes": {"x/.zarray": array_of(shape=[1] * 99, chunks=[1] * 99)},
    "no chunks": {"x/.zarray": array_of(chunks=[0])},
    "many chunks": {"x/.zarray": array_of(shape=[2**60])},
    "half a row": {"x/.zarray": array_of(shape=[4.5])},
    "no type": {"x/.zarray": array_of(dtype="nonsense")},
    "traversal": {"../x/.zarray": array_of()},
    "neither text nor a range": {"x/0": {"a": 1}},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_references_are_refused(kind: str) -> None:
    with pytest.raises(h5s.LayoutError, match="no kerchunk references"):
        locate(references(**DAMAGED[kind]))


def test_templates_are_refused() -> None:
    said = {**json.loads(references()), "templates": {"u": "a.h5"}}
    with pytest.raises(h5s.LayoutError, match="templates"):
        locate(json.dumps(said).encode())


def test_references_of_several_files_are_refused() -> None:
    with pytest.raises(h5s.LayoutError, match="lead to 2 files"):
        locate(references(**{"x/0": ["b.h5", 100, 8]}))


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_json_is_references_or_an_error(value: Any) -> None:
    for data in (json.dumps(value).encode(), references(**{"x/.zarray": value, "x/1": value})):
        with pytest.raises(h5s.LayoutError):
            locate(data)


def test_packing_needs_no_chunk_tables_of_empty_datasets(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("x", (10, 2), "f4", chunks=(5, 2), fillvalue=np.nan)
    refs = json.loads(pack_json(scan_file(str(tmp_path / "file.h5"))))["refs"]
    assert json.loads(refs["x/.zarray"])["fill_value"] == "NaN"
    assert "x/0.0" not in refs
