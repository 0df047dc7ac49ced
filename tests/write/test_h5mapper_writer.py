"""Files of `H5mapperWriter`, beside files that h5mapper itself wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import h5stream as h5s

GOLDEN = Path(__file__).parents[1] / "golden" / "h5mapper"
FILES = ["experiment.h5", "logs.h5", "vshape.h5"]

Sources = dict[str, dict[str, Any]]


def by_h5py(path: Path) -> Sources:
    """Read what each source has, one reference after the other."""
    with h5py.File(path) as file:
        ids = [str(name) for name in file["__src__/id"].asstr()[()]]
        found: Sources = {source: {} for source in ids}
        for key in file["__src__/ds_keys"].asstr()[()]:
            array, table = file[f"{key}/__arr__"], file[f"{key}/__ref__"][()]
            is_text = h5py.check_string_dtype(array.dtype) is not None
            for source, reference in zip(ids, table, strict=True):
                if reference:
                    rows = (array.asstr() if is_text else array)[reference]
                    shape = array.regionref.selection(reference)
                    found[source][str(key)] = np.reshape(rows, shape)
    return found


def assert_same(found: Sources, expected: Sources) -> None:
    assert list(found) == list(expected)
    for source, features in expected.items():
        assert found[source].keys() == features.keys()
        for name, rows in features.items():
            assert found[source][name].dtype == rows.dtype
            np.testing.assert_array_equal(found[source][name], rows)


def layout_of(path: Path) -> dict[str, Any]:
    """List what is in a file, but for how it is chunked."""
    found: dict[str, Any] = {}

    def note(name: str, node: Any) -> None:
        is_dataset = isinstance(node, h5py.Dataset)
        found[name] = (node.shape, node.dtype, node.maxshape) if is_dataset else None

    with h5py.File(path) as file:
        file.visititems(note)
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_same_sources_give_the_file_that_h5mapper_wrote(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sources = by_h5py(GOLDEN / name)
    with h5s.H5mapperWriter(path) as writer:
        for source, features in sources.items():
            writer.add(source, features)
    assert layout_of(path) == layout_of(GOLDEN / name)
    assert_same(by_h5py(path), sources)
    rows = [list(h5s.H5Stream(each, output="numpy")) for each in (path, GOLDEN / name)]
    assert len(rows[0]) == len(rows[1]) > 0
    for one, other in zip(*rows, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_h5mapper_grows_by_sources(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((GOLDEN / name).read_bytes())
    sources = by_h5py(path)
    first = next(iter(sources.values()))
    with h5s.H5mapperWriter(path, mode="append") as writer:
        writer.add("another", first)
        writer.add("one more", {"new/feature": [1.5, 2.5]})
    expected = sources | {"another": first, "one more": {"new/feature": np.array([1.5, 2.5])}}
    assert_same(by_h5py(path), expected)


@given(data=st.data())
@settings(deadline=None)
def test_sources_come_back_whatever_they_have_and_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("mapper") / "file.h5"
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    expected: Sources = {}
    for step in range(data.draw(st.integers(1, 3))):
        with h5s.H5mapperWriter(path, mode="append", chunk_bytes=64) as writer:
            for number in range(data.draw(st.integers(1, 4))):
                made = {
                    "wave": rng.random(data.draw(st.integers(0, 30))).astype("f4"),
                    "image/plain": rng.integers(0, 256, (2, 3, 5), np.uint8),
                    "image/words": np.array(["a", "zwei", "τρία"], object),
                }
                kept = data.draw(st.sets(st.sampled_from(sorted(made)), min_size=1))
                source = f"{step}/{number}"
                expected[source] = {name: made[name] for name in kept}
                writer.add(source, expected[source])
    assert_same(by_h5py(path), expected)
    for name in ("wave", "image/plain"):
        owners = [rows[name] for rows in expected.values() if name in rows]
        if owners:
            stream = h5s.H5Stream(path, [name], output="numpy")
            for one, other in zip(stream, owners, strict=True):
                np.testing.assert_array_equal(one[name], other)


@pytest.mark.parametrize(
    ("source", "features", "message"),
    [
        ("a", {"x": [1]}, "source 'a' is there already"),
        ("", {"x": [1]}, "is no id of a source"),
        ("b", [1], "expected a mapping"),
        ("b", {"x": [[1, 2]]}, r"source 'b': row 0: 'x' has shape \(2,\)"),
        ("b", {"x": [1.5]}, r"source 'b': row 0: 'x' has the value 1\.5"),
        ("b", {"x": [2**40]}, "'x' has the value 1099511627776"),
        ("b", {"y": ["a\0"], "x": [1]}, "has a NUL"),
        ("b", {"z": [None]}, "which no column holds"),
        ("b", {"z": [[1], [1, 2]]}, "rows of unequal shape"),
        ("b", {"x/__arr__": [1]}, "no name of a feature"),
        ("b", {"x": {"more": [1]}}, "'x/more' and 'x' would lie in one another"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_its_source_and_leaves_no_trace(
    tmp_path: Path, source: str, features: Any, message: str
) -> None:
    path = tmp_path / "file.h5"
    good = {"x": np.array([1, 2], "i4"), "y": ["ä"]}
    with h5s.H5mapperWriter(path) as writer:
        writer.add("a", good)
        with pytest.raises(h5s.WriteError, match=message):
            writer.add(source, features)
        writer.add("c", good)
        assert len(writer) == 2
    found = by_h5py(path)
    assert list(found) == ["a", "c"]
    assert found["c"].keys() == {"x", "y"}


def test_numbers_and_empty_arrays_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    columns = {"loss": h5s.DenseColumn((), "f8")}
    with h5s.H5mapperWriter(path, columns) as writer:
        writer.add("a", {"loss": 1})
        writer.add("b", {"loss": []})
        writer.add("c", {"loss": None, "epoch": 3})
        writer.add("d", {"loss": np.float32(0.5)})
    batch = list(h5s.H5Stream(path, ["loss"], output="numpy"))
    assert [rows["loss"].tolist() for rows in batch] == [[1.0], [], [0.5]]


def test_other_files_are_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(h5s.LayoutError, match="is no file of h5mapper"):
        h5s.H5mapperWriter(path, mode="append")
    with pytest.raises(h5s.ConfigError, match="must be a DenseColumn with a dtype"):
        h5s.H5mapperWriter(tmp_path / "new.h5", {"x": h5s.RaggedColumn("i4")})
