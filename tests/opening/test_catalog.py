from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from h5stream.errors import ConfigError, LayoutError, UnsupportedError
from h5stream.opening import expand_sources, open_catalog
from h5stream.reader.catalog import Catalog
from h5stream.system import memory_bytes
from tests.windows import read_pieces


def write_rows(path: Path, n_rows: int = 6, dtype: str = "i4", width: int = 2) -> str:
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(n_rows * width, dtype=dtype).reshape(n_rows, width)
        file["y"] = np.arange(n_rows)
    return str(path)


# -------------------------------------------------------------------------------- sources


def test_matches_of_a_pattern_come_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        (tmp_path / f"part-{number}.h5").touch()
    found = expand_sources(tmp_path / "part-*.h5")
    assert [Path(path).name for path in found] == ["part-1.h5", "part-9.h5", "part-10.h5"]


def test_a_list_of_sources_keeps_its_order(tmp_path: Path) -> None:
    for name in ("b1.h5", "a2.h5", "a1.h5"):
        (tmp_path / name).touch()
    found = expand_sources([str(tmp_path / "b1.h5"), str(tmp_path / "a*.h5")])
    assert [Path(path).name for path in found] == ["b1.h5", "a1.h5", "a2.h5"]


def test_a_pattern_can_reach_into_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.h5").touch()
    assert expand_sources(str(tmp_path / "**" / "*.h5")) == [str(tmp_path / "a" / "b" / "x.h5")]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "run[1].h5").touch()
    (tmp_path / "run1.h5").touch()
    assert expand_sources(tmp_path / "run[1].h5") == [str(tmp_path / "run[1].h5")]


def test_a_pattern_without_matches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file matches '.*\*\.h5'"):
        expand_sources(tmp_path / "*.h5")


def test_no_sources_are_refused() -> None:
    with pytest.raises(ConfigError, match="no files were given"):
        expand_sources([])


# -------------------------------------------------------------------------------- catalog


def test_a_catalog_counts_rows_and_bytes_over_files(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / f"{n}.h5", n) for n in (3, 5)]
    catalog = open_catalog(paths, {"a": "x", "b": "y"})
    assert (catalog.n_rows, catalog.row_nbytes) == (8, 16)
    assert [str(column) for column in catalog.columns.values()] == ["int32 2", "int64"]
    assert set(catalog.routes) == {(path, name) for path in paths for name in ("/x", "/y")}


def test_a_catalog_without_fields_takes_what_shares_the_largest_length(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["images"], file["meta/labels"] = np.zeros((7, 9)), np.zeros(7, ">i2")
        file["classes"], file["version"] = np.zeros(3), 1.5
        file.create_dataset("texts", data=["a"] * 7)
        file["none"] = h5py.Empty("f4")
    assert list(open_catalog(path, None).columns) == ["images", "meta/labels", "texts"]


def test_a_file_with_nothing_to_stream_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["version"] = 1.5
        file.create_dataset("nested", (7,), h5py.vlen_dtype(h5py.string_dtype()))
    with pytest.raises(ConfigError, match="no dataset has one row of plain elements"):
        open_catalog(path, None)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        pytest.param("scalar", ConfigError, id="scalar"),
        pytest.param("null", ConfigError, id="null dataspace"),
        pytest.param("nested", UnsupportedError, id="nested variable length"),
        pytest.param("refs", UnsupportedError, id="references"),
    ],
)
def test_a_field_of_no_plain_rows_is_refused(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["scalar"], file["null"] = 1.5, h5py.Empty("f4")
        file.create_dataset("nested", (7,), h5py.vlen_dtype(h5py.string_dtype()))
        file.create_dataset("refs", (3,), h5py.ref_dtype)
    with pytest.raises(error, match=rf"file\.h5: '/{name}' cannot be a field: it"):
        open_catalog(path, {"x": name})


def test_files_must_agree_on_element_types(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / "a.h5"), write_rows(tmp_path / "b.h5", dtype="f4")]
    with pytest.raises(ConfigError, match=r"b\.h5: field 'x' has rows of float32 \(2,\).*int32"):
        open_catalog(paths, {"x": "x"})


def test_files_must_agree_on_row_shapes(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / "a.h5"), write_rows(tmp_path / "b.h5", width=3)]
    with pytest.raises(ConfigError, match=r"int32 \(3,\), but .*a\.h5 has int32 \(2,\)"):
        open_catalog(paths, {"x": "x"})


def test_files_may_differ_in_byte_order_chunks_and_filters(tmp_path: Path) -> None:
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    with h5py.File(first, "w") as file:
        file.create_dataset("x", data=np.arange(5, dtype=">i4"), chunks=(2,), compression="gzip")
    with h5py.File(second, "w") as file:
        file["x"] = np.arange(5, 9, dtype="<i4")
    catalog = open_catalog([first, second], {"x": "x"})
    assert read_pieces(catalog, [(0, 0, 5), (1, 0, 4)])["x"].tolist() == list(range(9))


def test_a_field_that_a_later_file_lacks_is_refused(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / "a.h5"), write_rows(tmp_path / "b.h5")]
    with h5py.File(paths[1], "a") as file:
        del file["y"]
    with pytest.raises(ConfigError, match=r"b\.h5: there is no dataset 'y'"):
        open_catalog(paths, {"x": "x", "y": "y"})


def test_a_catalog_can_be_pickled_and_read(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "file.h5")
    catalog: Catalog = pickle.loads(pickle.dumps(open_catalog(path, {"x": "x"})))
    assert read_pieces(catalog, [(0, 2, 4)])["x"].tolist() == [[4, 5], [6, 7]]


def test_rows_that_cannot_fit_in_memory_are_refused_before_any_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    rows = memory_bytes() // 2**20
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (2, rows, 2**20), "u2", chunks=(1, 1, 2**10))
    with pytest.raises(LayoutError, match=r"one chunk of rows of field 'x' takes .* memory"):
        open_catalog(path, {"x": "x"})


def test_a_field_in_another_file_is_read_from_there(tmp_path: Path) -> None:
    write_rows(tmp_path / "holder.h5")
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["z"] = h5py.ExternalLink("holder.h5", "/x")
        file["own"] = np.arange(6)
    catalog = open_catalog(tmp_path / "links.h5", {"z": "z", "own": "own"})
    assert catalog.routes[str(tmp_path / "holder.h5"), "/x"].direct
    found = read_pieces(catalog, [(0, 4, 6)])
    assert (found["z"].tolist(), found["own"].tolist()) == ([[8, 9], [10, 11]], [4, 5])


def test_equal_paths_in_two_files_are_two_datasets(tmp_path: Path) -> None:
    """Both fields are `/x`, one of them behind an external link."""
    holder, path = tmp_path / "holder.h5", tmp_path / "file.h5"
    with h5py.File(holder, "w") as file:
        file["x"] = np.arange(100, 104)
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(4)
        file["there"] = h5py.ExternalLink("holder.h5", "/x")
    found = read_pieces(open_catalog(path, {"a": "x", "b": "there"}), [(0, 0, 4)])
    assert found["a"].tolist() == [0, 1, 2, 3]
    assert found["b"].tolist() == [100, 101, 102, 103]
