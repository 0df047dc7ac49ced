from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.fetch.disk_cache import DiskCache
from h5stream.opening import layouts, open_catalog
from h5stream.reader.catalog import Catalog
from tests.windows import read_pieces

_LONG_AGO_NS = 10**18


def write(path: Path, values: np.ndarray, **options: object) -> str:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, **options)
        file["y"] = np.arange(len(values))
    os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rows = np.arange(5, dtype="i4")
    return [write(tmp_path / f"{n}.h5", rows + n, chunks=(2,)) for n in range(40)]


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the paths of files that are scanned."""
    names: list[str] = []
    scan = layouts.scan_chosen

    def noted(source: layouts.Source, *others: object) -> layouts.ScannedFile:
        names.append(source.name)
        return scan(source, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(layouts, "scan_chosen", noted)
    return names


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[..., Catalog]:
    def reopen(files: list[str] | str, **options: object) -> Catalog:
        store = DiskCache(tmp_path / "cache", 2**26)
        fields = options.pop("fields", {"x": "x", "y": "y"})
        return open_catalog(files, fields, cache=store, **options)  # type: ignore[arg-type]

    return reopen


def column(catalog: Catalog, name: str = "x") -> list[object]:
    pieces = [(number, 0, file.n_rows) for number, file in enumerate(catalog.files)]
    return np.asarray(read_pieces(catalog, pieces)[name]).tolist()


def test_files_that_did_not_change_are_scanned_once(
    files: list[str], scanned: list[str], reopen: Callable[..., Catalog]
) -> None:
    first = reopen(files)
    assert scanned == files
    second = reopen(files)
    assert scanned == files
    assert column(first) == column(second) == [row + n for n in range(40) for row in range(5)]
    assert first.routes == second.routes


def change_length(path: str) -> None:
    with h5py.File(path, "a") as file:
        file["z"] = np.zeros(1000)
    os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS))


def change_time(path: str) -> None:
    os.utime(path, ns=(_LONG_AGO_NS + 1, _LONG_AGO_NS + 1))


def change_inode(path: str) -> None:
    copy = Path(f"{path}.copy")
    copy.write_bytes(Path(path).read_bytes())
    os.utime(copy, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
    copy.replace(path)


@pytest.mark.parametrize("change", [change_length, change_time, change_inode])
def test_only_files_that_changed_are_scanned_again(
    change: Callable[[str], None],
    files: list[str],
    scanned: list[str],
    reopen: Callable[..., Catalog],
) -> None:
    reopen(files)
    scanned.clear()
    change(files[7])
    assert len(column(reopen(files))) == 200
    assert scanned == [files[7]]


def test_files_that_were_just_modified_are_not_kept(
    files: list[str], scanned: list[str], reopen: Callable[..., Catalog]
) -> None:
    os.utime(files[3])
    reopen(files)
    scanned.clear()
    reopen(files)
    assert scanned == [files[3]]


def test_files_that_lead_to_others_are_not_kept(
    files: list[str], scanned: list[str], reopen: Callable[..., Catalog], tmp_path: Path
) -> None:
    path = tmp_path / "linked.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.zeros(5, "i4"), np.zeros(5, int)
        file["elsewhere"] = h5py.ExternalLink(files[0], "x")
    os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
    reopen([*files, str(path)])
    scanned.clear()
    reopen([*files, str(path)])
    assert scanned == [str(path)]


def test_one_small_file_is_not_worth_keeping(
    files: list[str], reopen: Callable[..., Catalog], tmp_path: Path
) -> None:
    reopen(files[0])
    kept = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept == ["key"]


def test_what_was_wanted_before_is_not_taken_for_something_else(
    files: list[str], scanned: list[str], reopen: Callable[..., Catalog]
) -> None:
    reopen(files)
    given = h5s.Given(np.arange(200))
    others = [{"x": "y"}, {"x": h5s.Dense("x", n_rows=3)}, {"x": "x", "g": given}]
    found = [column(reopen(files, fields=fields))[:4] for fields in others]
    assert found == [[0, 1, 2, 3], [0, 1, 2, 1], [0, 1, 2, 3]]
    assert scanned == files * 4


def test_a_damaged_piece_is_scanned_again(
    files: list[str], scanned: list[str], reopen: Callable[..., Catalog], tmp_path: Path
) -> None:
    reopen(files)
    store = DiskCache(tmp_path / "cache", 2**26)
    pieces = [path for path in (tmp_path / "cache").glob("*/*") if path.is_file()]
    for path in pieces:
        digest = bytes.fromhex(path.parent.name + path.name)
        store.put(digest, (store.get(digest) or b"")[:-40])
    assert len(pieces) == 1
    assert len(column(reopen(files))) == 200
    assert scanned == files * 2


def test_groups_of_one_file_are_kept(
    scanned: list[str], reopen: Callable[..., Catalog], tmp_path: Path
) -> None:
    path = tmp_path / "groups.h5"
    with h5py.File(path, "w") as file:
        for number in range(100):
            file[f"data/demo_{number}/x"] = np.full((number % 3 + 1, 2), number)
            file[f"data/demo_{number}"].attrs["label"] = number
    os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
    fields = {"x": h5s.Grouped("data/*/x"), "l": h5s.Grouped("data/*", attribute="label")}
    first, second = (reopen(str(path), fields=fields) for _ in range(2))
    assert scanned == [str(path)]
    assert column(first, "l") == column(second, "l") == list(range(100))
    assert first.files[0].group_names() == second.files[0].group_names()
    rows = read_pieces(second, [(0, 0, 100)])["x"]
    assert [row.tolist() for row in rows] == [[[n, n]] * (n % 3 + 1) for n in range(100)]


def test_a_stream_without_layouts_keeps_none(
    files: list[str], scanned: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        stream = h5s.H5Stream(files, ["x"], layout=False, cache_dir=tmp_path / "cache")
        assert len(stream.catalog.files) == 40
    assert scanned == files * 2
    for _ in range(2):
        h5s.H5Stream(files, ["x"], cache_dir=tmp_path / "cache").catalog  # noqa: B018
    assert scanned == files * 3
