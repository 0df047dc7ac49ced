"""Files that others wrote: every dataset of numbers is what h5py reads."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.data import _FILES
from tests.h5files import assert_same_bits, native
from tests.places import Place


def streamable_datasets() -> list[tuple[str, str]]:
    """List (example, dataset path) of everything that has rows of flat elements."""
    found: list[tuple[str, str]] = []

    def visit(example: str, name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.shape:
            flat = not h5py.check_vlen_dtype(node.dtype) and not _holds_references(node.dtype)
            if flat and not h5py.check_string_dtype(node.dtype):
                found.append((example, name))

    for example in _FILES:
        with h5py.File(h5s.example_file(example), "r") as file:
            file.visititems(lambda name, node, example=example: visit(example, name, node))
    return found


def _holds_references(dtype: np.dtype) -> bool:
    if dtype.names is not None:
        return any(_holds_references(dtype[name]) for name in dtype.names)
    return dtype.base.kind == "O"


DATASETS = streamable_datasets()


def test_the_examples_have_many_datasets() -> None:
    assert len(DATASETS) >= 10


@pytest.mark.parametrize(("example", "name"), DATASETS)
@pytest.mark.parametrize("target_bytes", [1, 2**20], ids=["chunk by chunk", "joined"])
def test_a_stream_is_what_h5py_reads(
    place: Place, example: str, name: str, target_bytes: int
) -> None:
    path = h5s.example_file(example)
    with h5py.File(path, "r") as file:
        expected = native(file[name][...])
    source = place(path)
    pipe = h5s.open_files(source, {"x": name}).list_chunks(target_bytes).read_chunks().batch(37)
    assert_same_bits(np.concatenate([block["x"] for block in pipe]), expected)
    assert pipe.catalog.routes[source, f"/{name}"].direct


@pytest.mark.parametrize("example", _FILES)
def test_the_default_fields_are_what_h5py_reads(place: Place, example: str) -> None:
    path = h5s.example_file(example)
    pipe = h5s.open_files(place(path), convention=None).list_chunks().read_chunks().batch(64)
    batches = list(pipe)
    with h5py.File(path, "r") as file:
        for name in pipe.catalog.columns:
            found = np.concatenate([batch[name] for batch in batches])
            assert_same_bits(found, native(file[name][...]))


def test_members_of_a_table_are_what_h5py_reads(place: Place) -> None:
    path = h5s.example_file("cells")
    with h5py.File(path, "r") as file:
        table = file["obs"][...]
    members = [name for name in table.dtype.names if table.dtype[name].kind in "iufb"]
    fields = {name: f"obs[{name}]" for name in members}
    batches = list(h5s.open_files(place(path), fields).list_chunks().read_chunks().batch(100))
    for name in members:
        found = np.concatenate([batch[name] for batch in batches])
        assert_same_bits(found, native(np.ascontiguousarray(table[name])))


def test_the_examples_are_the_published_files() -> None:
    for name in _FILES.values():
        assert Path(h5s.example_file("cells")).with_name(name).stat().st_size > 100_000
