from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import h5py
import numpy as np
import pytest
from h5py import h5d, h5s, h5t

from h5stream.errors import ConfigError, LayoutError
from h5stream.layout import (
    DatasetLayout,
    FileLayout,
    Fingerprint,
    Storage,
    VlenType,
    fingerprint_of,
    scan_file,
    tables,
)
from h5stream.layout.source import LocalSource
from h5stream.layout.tables import build_table, check_inside
from tests.h5files import (
    BFLOAT16,
    DTYPES,
    ENUM,
    PIPELINES,
    Recipe,
    bfloat16_type,
    chunk_entries,
    create,
    find_all,
    patch,
    random_elements,
    write,
)

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "file.h5")


def scan_one(path: str, name: str = "x") -> DatasetLayout:
    return scan_file(path, [name]).datasets[name]


def write_chunked(path: str, n_rows: int = 40, **options: object) -> np.ndarray:
    """Write dataset `x` in chunks of four rows."""
    rows = np.arange(n_rows * 3, dtype="<i4").reshape(n_rows, 3)
    with h5py.File(path, "w", **options) as file:
        file.create_dataset("x", data=rows, chunks=(4, 3))
    return rows


# ------------------------------------------------------------------ what a layout says


def test_a_layout_says_what_a_chunked_dataset_is(path: str) -> None:
    with h5py.File(path, "w") as file:
        data = np.arange(30, dtype="<i2").reshape(10, 3)
        file.create_dataset("g/x", data=data, chunks=(4, 2), compression="gzip", fillvalue=7)
    layout = scan_one(path, "g/x")
    assert (layout.file, layout.path, layout.shape) == (path, "/g/x", (10, 3))
    assert (layout.dtype, layout.storage, layout.chunks) == ("<i2", Storage.CHUNKED, (4, 2))
    assert [(f.id, f.values) for f in layout.filters] == [(1, (4,))]
    assert layout.fill == 7
    assert (layout.indirect, layout.refused, layout.byte_offset) == (None, None, None)


@pytest.mark.parametrize("name", DTYPES)
def test_a_layout_has_the_element_type_as_stored(path: str, name: str) -> None:
    recipe = Recipe(DTYPES[name], (4, 2))
    with h5py.File(path, "w") as file:
        write(file, "x", recipe, random_elements(recipe.shape, recipe.dtype))
    layout = scan_one(path)
    assert layout.dtype == DTYPES[name].base
    assert layout.shape == (4, 2, *DTYPES[name].shape)
    assert (layout.indirect, layout.refused) == (None, None)


def test_a_layout_has_the_names_of_an_enumerated_type(path: str) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=[0, 1], dtype=ENUM)
    assert scan_one(path).enum == {"red": 0, "green": 1, "blue": -7}


def test_a_chunk_table_holds_what_h5py_lists(path: str) -> None:
    write_chunked(path)
    table, entries = scan_one(path).table, chunk_entries(path, "x")
    assert table.index.tolist() == list(range(10))
    assert table.byte_offset.tolist() == [entry.byte_offset for entry in entries]
    assert table.size.tolist() == [48] * 10
    assert not table.filter_mask.any()


def test_a_scan_without_tables_still_knows_what_is_stored(path: str) -> None:
    write_chunked(path)
    layout = scan_file(path, ["x"], tables=False).datasets["x"]
    assert (layout.table, layout.stored_bytes) == (None, 480)


@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("kind", ["chunked", "contiguous"])
def test_an_offset_is_where_the_bytes_lie(path: str, kind: str, userblock: int) -> None:
    rows = np.arange(1000, 1040, dtype="<i8")
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("x", data=rows, chunks=(40,) if kind == "chunked" else None)
    layout = scan_one(path)
    offset = layout.byte_offset if kind == "contiguous" else int(layout.table.byte_offset[0])
    assert list(find_all(path, rows.tobytes())) == [offset]


@pytest.mark.parametrize("userblock", [0, 512])
def test_chunks_are_found_where_hdf5_counts_from_the_end_of_the_user_block(
    path: str, userblock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of HDF5 before 2.0 do, in some functions."""
    rows = np.arange(1000, 1040, dtype="<i8")
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("x", data=rows, chunks=(10,))
    expected = [next(find_all(path, rows[at : at + 10].tobytes())) for at in range(0, 40, 10)]
    list_chunks = tables._list_chunks

    def as_older_versions_do(dataset: Any, layout: DatasetLayout) -> list[Any]:
        found = list_chunks(dataset, layout)
        return [
            each._replace(byte_offset=at - userblock)
            for each, at in zip(found, expected, strict=True)
        ]

    monkeypatch.setattr(tables, "_list_chunks", as_older_versions_do)
    assert scan_one(path).table.byte_offset.tolist() == expected


@pytest.mark.parametrize("change", ["longer", "later", "replaced"])
def test_a_file_that_changes_while_it_is_scanned_is_refused(path: str, change: str) -> None:
    write_chunked(path)

    class Changing(LocalSource):
        def run(self, action: Callable[[h5py.File], T]) -> T:
            found = super().run(action)
            if change == "longer":
                with Path(path).open("ab") as file:
                    file.write(b"more")
            elif change == "later":
                os.utime(path, ns=(1, 1))
            else:
                Path(shutil.copy2(path, f"{path}.new")).replace(path)
            return found

    with pytest.raises(LayoutError, match="changed while it was scanned"):
        scan_file(path, ["x"], source=Changing(path))


@pytest.mark.parametrize("userblock", [0, 512])
def test_a_contiguous_dataset_that_was_never_written_has_no_offset(
    path: str, userblock: int
) -> None:
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("x", (5,), "f4")
    assert scan_one(path).byte_offset is None


@pytest.mark.parametrize("rows", [slice(0, 4), slice(0, 1), slice(2, 3), None], ids=str)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("limits", [(4, None, 3), (None, 7, 3), (4, 7, None), (4, 7, 3)], ids=str)
def test_chunks_are_listed_where_they_belong_for_every_unlimited_axis(
    path: str, limits: tuple, libver: str, rows: slice | None
) -> None:
    """HDF5 lists the slots of an extensible array as if its first axis were unlimited."""
    with h5py.File(path, "w", libver=libver) as file:
        x = file.create_dataset("x", (4, 3, 2), "i4", chunks=(2, 1, 1), maxshape=limits)
        if rows is not None:
            x[rows, 1:3] = 5
        expected = _allocated(x)
    table = scan_one(path).table
    assert dict(zip(table.index.tolist(), table.byte_offset.tolist(), strict=True)) == expected


def _allocated(dataset: h5py.Dataset) -> dict[int, int]:
    """Ask for each place of the grid of chunks one by one; find its bytes in the file."""
    dataset.file.flush()
    found = {}
    for index, offset in enumerate(np.ndindex(2, 3, 2)):
        place = (offset[0] * 2, *offset[1:])
        try:
            dataset.id.read_direct_chunk(place)
        except (RuntimeError, MemoryError):  # MemoryError: no chunk at all
            continue
        value = 1_000_000 + index
        dataset[place[0] : place[0] + 2, place[1], place[2]] = value
        dataset.file.flush()
        (found[index],) = find_all(dataset.file.filename, struct.pack("<ii", value, value))
    return found


def test_array_elements_add_axes_and_are_one_chunk_wide(path: str) -> None:
    recipe = Recipe(np.dtype(("<f4", (2, 3))), (6,), (4,))
    with h5py.File(path, "w") as file:
        write(file, "x", recipe, random_elements((6,), recipe.dtype))
    layout = scan_one(path)
    assert (layout.shape, layout.chunks, layout.row_nbytes) == ((6, 2, 3), (4, 2, 3), 24)


def test_a_dataset_named_twice_is_scanned_once(path: str) -> None:
    write_chunked(path)
    found = scan_file(path, ["x", "/x"]).datasets
    assert found["x"] is found["/x"]


def test_a_scan_closes_the_file(path: str) -> None:
    write_chunked(path)
    scan_file(path)
    with h5py.File(path, "r+") as file:
        file["more"] = 1


def test_a_fingerprint_tells_versions_of_a_file_apart(path: str) -> None:
    write_chunked(path)
    before = fingerprint_of(path)
    assert fingerprint_of(path) == before
    os.utime(path, ns=(1, 1))
    assert fingerprint_of(path) == replace(before, mtime_ns=1)
    assert scan_file(path, ["x"]).fingerprints == {path: fingerprint_of(path)}


# ------------------------------------------------------------------------ finding datasets


def test_a_scan_of_everything_finds_each_dataset_once_in_natural_order(path: str) -> None:
    with h5py.File(path, "w") as file:
        for name in ("g/part10", "g/part9", "b", "g/deep/er/a"):
            file[name] = np.zeros(2)
        file["again"] = file["b"]
        file["loop"] = file["/"]
        file["g/up"] = h5py.SoftLink("/")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["gone"] = h5py.ExternalLink("nowhere.h5", "x")
    found = list(scan_file(path).datasets)
    assert found in (
        ["again", "g/deep/er/a", "g/part9", "g/part10"],
        ["b", "g/deep/er/a", "g/part9", "g/part10"],
    )


def test_a_soft_link_leads_to_its_dataset(path: str) -> None:
    write_chunked(path)
    with h5py.File(path, "a") as file:
        file["g/link"] = h5py.SoftLink("/x")
    layout = scan_one(path, "g/link")
    assert layout.table.byte_offset.tolist() == scan_one(path).table.byte_offset.tolist()


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_an_external_link_leads_to_the_file_that_holds_the_bytes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    holder, path = tmp_path / "data" / "holder.h5", tmp_path / "links.h5"
    write_chunked(str(holder))
    with h5py.File(path, "w") as file:
        target = "data/holder.h5" if kind == "relative" else str(holder)
        file["x"] = h5py.ExternalLink(target, "/x")
    layout = scan_file(str(path), ["x"])
    assert Path(layout.datasets["x"].file).samefile(holder)
    assert fingerprint_of(str(holder)) in layout.fingerprints.values()


def test_a_dataset_behind_a_link_to_a_group_is_found(tmp_path: Path) -> None:
    holder, path = tmp_path / "holder.h5", tmp_path / "links.h5"
    with h5py.File(holder, "w") as file:
        file["g/x"] = np.arange(3)
    with h5py.File(path, "w") as file:
        file["there"] = h5py.ExternalLink("holder.h5", "/g")
    assert Path(scan_one(str(path), "there/x").file).samefile(holder)
    assert list(scan_file(str(path)).datasets) == ["there/x"]


# ------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["imagse", "/train/image", "train"])
def test_an_unknown_name_is_refused_with_close_ones(path: str, name: str) -> None:
    with h5py.File(path, "w") as file:
        file["train/images"] = np.zeros(3)
        file["images"] = np.zeros(3)
    with pytest.raises(ConfigError, match="images"):
        scan_file(path, [name])


def test_an_unlike_name_is_refused_with_what_there_is(path: str) -> None:
    with h5py.File(path, "w") as file:
        for i in range(10):
            file[f"d{i}"] = np.zeros(3)
    with pytest.raises(ConfigError, match=r"it has d0, d1, .* and 2 more"):
        scan_file(path, ["something else"])


def test_a_group_is_refused_with_what_is_in_it(path: str) -> None:
    with h5py.File(path, "w") as file:
        file["g/a"] = np.zeros(3)
    with pytest.raises(ConfigError, match="'g' is a group, not a dataset; it has g/a"):
        scan_file(path, ["g"])


def test_a_dangling_link_is_refused(path: str) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = h5py.SoftLink("/nowhere")
    with pytest.raises(ConfigError, match="there is no dataset 'x'"):
        scan_file(path, ["x"])


REFUSED = {
    "lists of strings": (h5py.vlen_dtype(h5py.string_dtype()), "variable length"),
    "lists of lists": (h5py.vlen_dtype(h5py.vlen_dtype("i4")), "variable length"),
    "object references": (h5py.ref_dtype, "references"),
    "region references": (h5py.regionref_dtype, "references"),
    "strings in a compound": (np.dtype([("a", "i4"), ("b", h5py.string_dtype())]), "variable"),
    "arrays of references": (np.dtype([("a", h5py.ref_dtype, (2,))]), "references"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_elements_that_are_not_flat_are_marked_as_refused(path: str, kind: str) -> None:
    dtype, reason = REFUSED[kind]
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (3,), dtype, chunks=(2,))
    layout = scan_one(path)
    assert reason in layout.refused
    assert layout.table is None


@pytest.mark.parametrize(
    ("dtype", "element", "text"),
    [
        pytest.param(h5py.string_dtype(), "u1", True, id="strings"),
        pytest.param(h5py.vlen_dtype(">i4"), ">i4", False, id="numbers"),
        pytest.param(h5py.vlen_dtype("c8"), "c8", False, id="complex numbers"),
    ],
)
def test_elements_of_variable_length_have_descriptors(
    path: str, dtype: Any, element: str, text: bool
) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (3,), dtype, chunks=(2,))
    layout = scan_one(path)
    assert layout.vlen == VlenType(np.dtype(element), text)
    assert (layout.dtype, layout.shape, layout.chunks) == (np.dtype("V16"), (3,), (2,))


def test_a_scalar_and_an_empty_dataset_are_marked_as_refused(path: str) -> None:
    with h5py.File(path, "w") as file:
        file["scalar"] = 3.5
        file["null"] = h5py.Empty("f4")
    found = scan_file(path).datasets
    assert "scalar" in found["scalar"].refused
    assert "null dataspace" in found["null"].refused


def _bits(size_bytes: int, precision: int) -> h5t.TypeID:
    made = h5t.STD_I32LE.copy()
    made.set_size(size_bytes)
    made.set_precision(precision)
    return made


def _big_endian(kind: h5t.TypeID) -> h5t.TypeID:
    kind.set_order(h5t.ORDER_BE)
    return kind


CONVERTED = {
    "12 bits in 2 bytes": _bits(2, 12),
    "24 bits in 4 bytes": _bits(4, 24),
    "big-endian bfloat16": _big_endian(bfloat16_type()),
}


@pytest.mark.parametrize("kind", CONVERTED)
def test_elements_that_need_conversion_are_marked_as_indirect(path: str, kind: str) -> None:
    with h5py.File(path, "w") as file:
        space = h5s.create_simple((3,))
        h5d.create(file.id, b"x", CONVERTED[kind], space)
    layout = scan_one(path)
    assert "needs conversion" in layout.indirect
    assert layout.refused is None


def test_elements_that_numpy_has_no_type_for_are_marked_as_refused(path: str) -> None:
    with h5py.File(path, "w") as file:
        h5d.create(file.id, b"x", _bits(3, 24), h5s.create_simple((3,)))
    assert "no NumPy equivalent" in scan_one(path).refused


def test_little_endian_bfloat16_is_used_as_stored(path: str) -> None:
    with h5py.File(path, "w") as file:
        create(file, "x", Recipe(BFLOAT16, (3,)))
    layout = scan_one(path)
    assert (layout.dtype, layout.indirect, layout.fill) == (BFLOAT16, None, 0)


# ---------------------------------------------------------------------------- broken files


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"nothing\.h5: cannot be read .*check the path"):
        scan_file(str(tmp_path / "nothing.h5"))


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError):
        scan_file(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no HDF5 here", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.h5"
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=r"file\.h5: cannot be opened as HDF5"):
        scan_file(str(path))


def test_a_truncated_file_is_refused_with_advice(path: str) -> None:
    write_chunked(path)
    os.truncate(path, Path(path).stat().st_size - 1)
    with pytest.raises(LayoutError, match="the file is truncated: copy it again"):
        scan_file(path)


def test_a_truncated_file_that_hides_it_is_refused(path: str) -> None:
    write_chunked(path)
    size = max(e.byte_offset for e in chunk_entries(path, "x")) + 20
    os.truncate(path, size)
    end_of_file = 40
    patch(path, end_of_file, lambda _old: struct.pack("<Q", size), 8)
    with pytest.raises(LayoutError, match=f"'/x' says that 48 bytes lie .* ends at byte {size}"):
        scan_file(path, ["x"])


def chunk_key(path: str, number: int) -> int:
    """Find where the chunk B-tree (version 1) says where a chunk of `write_chunked` lies."""
    entry = chunk_entries(path, "x")[number]
    key = struct.pack("<IIQQQQ", 48, 0, *entry.chunk_offset, 0, entry.byte_offset)
    (place,) = find_all(path, key)
    return place


@pytest.mark.parametrize("byte_offset", [2**40, 10**7, 2**63 + 9], ids=hex)
def test_a_chunk_outside_the_file_is_refused(path: str, byte_offset: int) -> None:
    write_chunked(path)
    address = chunk_key(path, 3) + 32
    patch(path, address, lambda _old: struct.pack("<Q", byte_offset), 8)
    with pytest.raises(LayoutError, match="x"):
        scan_file(path, ["x"])


def test_a_chunk_that_reaches_beyond_the_file_is_refused(path: str) -> None:
    write_chunked(path)
    patch(path, chunk_key(path, 3), lambda _old: struct.pack("<I", 2**31), 4)
    with pytest.raises(LayoutError, match="says that 2147483648 bytes lie at byte"):
        scan_file(path, ["x"])


@pytest.mark.parametrize(
    "first_row", [pytest.param(0, id="twice"), 2, pytest.param(4000, id="outside")]
)
def test_a_chunk_at_a_wrong_place_is_refused(path: str, first_row: int) -> None:
    write_chunked(path)
    patch(path, chunk_key(path, 9) + 8, lambda _old: struct.pack("<Q", first_row), 8)
    with pytest.raises(LayoutError, match="damaged"):
        scan_file(path, ["x"])


def entry(*offset: int, byte_offset: int = 0, size: int = 8, mask: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        chunk_offset=offset, byte_offset=byte_offset, size=size, filter_mask=mask
    )


GRID = DatasetLayout("f.h5", "/x", (10, 6), np.dtype("u1"), Storage.CHUNKED, chunks=(4, 2))


def test_a_table_is_sorted_by_place_in_the_grid() -> None:
    entries = [entry(8, 4, byte_offset=1, mask=3), entry(0, 2, byte_offset=2), entry(4, 0, size=5)]
    table = build_table(GRID, entries)
    assert table.index.tolist() == [1, 3, 8]
    assert table.byte_offset.tolist() == [2, 0, 1]
    assert (table.size.tolist(), table.filter_mask.tolist()) == ([8, 5, 8], [0, 0, 3])


def test_a_table_of_no_chunks_is_empty() -> None:
    assert len(build_table(GRID, [])) == 0


@pytest.mark.parametrize("offset", [(1, 0), (0, 3), (12, 0), (0, 6), (2**62, 0)], ids=str)
def test_a_table_refuses_chunks_off_the_grid(offset: tuple[int, int]) -> None:
    with pytest.raises(LayoutError, match="not a place in its grid"):
        build_table(GRID, [entry(0, 0), entry(*offset)])


def test_a_table_refuses_a_chunk_that_is_listed_twice() -> None:
    with pytest.raises(LayoutError, match="lists a chunk twice"):
        build_table(GRID, [entry(4, 2), entry(0, 0), entry(4, 2, byte_offset=9)])


@pytest.mark.parametrize("bad", [{"byte_offset": 2**64 - 1}, {"size": 2**63}], ids=str)
def test_a_table_refuses_numbers_beyond_the_format(bad: dict[str, int]) -> None:
    with pytest.raises(LayoutError, match="does not fit the file format"):
        build_table(GRID, [entry(0, 0, **bad)])


@pytest.mark.parametrize(
    ("byte_offset", "size"),
    [(-1, 1), (0, -1), (100, 1), (99, 2), (0, 101), (2**62, 2**62), (5, 2**63 - 1)],
)
def test_ranges_that_leave_the_file_are_refused(byte_offset: int, size: int) -> None:
    offsets, sizes = np.array([0, byte_offset]), np.array([100, size])
    with pytest.raises(LayoutError, match="ends at byte 100"):
        check_inside(GRID, offsets, sizes, 100)


def test_ranges_up_to_the_last_byte_are_inside() -> None:
    check_inside(GRID, np.array([48, 99, 100, 0]), np.array([52, 1, 0, 0]), 100)


# --------------------------------------------------------------------------- other openers

_WRITER = """
import sys, h5py
options = {"libver": "latest", "locking": False} if sys.argv[2] == "unlocked" else {}
file = h5py.File(sys.argv[1], "a", **options)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["locked", "unlocked"])
def test_a_file_that_another_process_writes_is_refused(path: str, kind: str) -> None:
    write_chunked(path, libver="latest")
    command = [sys.executable, "-c", _WRITER, path, kind]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as writer:
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(LayoutError, match="close"):
            scan_file(path, ["x"])
        writer.communicate()
    assert scan_one(path).n_rows == 40


def test_a_file_that_this_process_writes_is_refused(path: str) -> None:
    write_chunked(path)
    with h5py.File(path, "a"), pytest.raises(LayoutError, match="open for writing elsewhere"):
        scan_file(path, ["x"])


@pytest.mark.parametrize("locking", [None, True, False, "best-effort"])
def test_a_file_that_this_process_reads_can_be_scanned(
    path: str, locking: bool | str | None
) -> None:
    write_chunked(path)
    with h5py.File(path, "r", locking=locking):
        assert scan_one(path).n_rows == 40


@pytest.mark.parametrize("name", PIPELINES)
def test_a_layout_keeps_the_order_of_filters(path: str, name: str) -> None:
    with h5py.File(path, "w") as file:
        create(file, "x", Recipe(np.dtype("<i4"), (64,), (64,), PIPELINES[name]))
    found = [spec.id for spec in scan_one(path).filters]
    assert found == [number for number, _values in PIPELINES[name]]


def test_a_file_layout_starts_without_fingerprints() -> None:
    assert FileLayout("f.h5", {}).fingerprints == {}
    assert Fingerprint(1, 2, 3) == Fingerprint(1, 2, 3)
