"""Layouts that were written down: fewer requests, and never for another version."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from h5stream.layout import SavedFile, pack_layouts, scan_file, unpack_layouts
from tests.h5files import DTYPES, PIPELINES, Recipe, random_elements, write
from tests.remote.faults import Proxy
from tests.streams import rows_of, write_columns, write_rows

N_ROWS = 60


@pytest.fixture(scope="module")
def rows(served: Path) -> Path:
    return Path(write_rows(served / "layouts.h5", N_ROWS))


def stream(proxy: Proxy, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(f"{proxy.url}/layouts.h5", ["row", "x"], batch_size=10, **options)


def requests_of(proxy: Proxy, pipe: h5s.Pipe) -> tuple[int, int]:
    """Count the requests of the scan, and of an epoch; all rows must come."""
    before = proxy.requests
    pipe.catalog  # noqa: B018
    scanned = proxy.requests
    assert rows_of(pipe) == list(range(N_ROWS))
    return scanned - before, proxy.requests - scanned


@pytest.mark.usefixtures("rows")
def test_a_small_file_is_scanned_with_one_request(proxy: Proxy) -> None:
    scan, epoch = requests_of(proxy, stream(proxy, layout=False))
    assert scan == 1
    assert epoch <= 2


@pytest.mark.usefixtures("rows")
def test_the_cache_serves_the_second_scan(proxy: Proxy, tmp_path: Path) -> None:
    first = stream(proxy, cache_dir=tmp_path)
    requests_of(proxy, first)
    again = h5s.H5Stream(f"{proxy.url}/layouts.h5", ["row"], batch_size=10, cache_dir=tmp_path)
    assert requests_of(proxy, again)[0] == 1
    assert again.catalog.routes.keys() < first.catalog.routes.keys()


def test_the_cache_is_for_one_version_only(served: Path, proxy: Proxy, tmp_path: Path) -> None:
    path = served / "changing.h5"
    url = f"{proxy.url}/changing.h5"
    for n_rows in (20, 30):
        write_rows(path, n_rows)
        os.utime(path, (n_rows, n_rows))  # nginx tells versions apart by the second
        assert rows_of(h5s.H5Stream(url, ["row"], cache_dir=tmp_path)) == list(range(n_rows))


@pytest.mark.usefixtures("rows")
def test_a_damaged_cache_is_scanned_anew(proxy: Proxy, tmp_path: Path) -> None:
    requests_of(proxy, stream(proxy, cache_dir=tmp_path))
    for path in (tmp_path / "layouts").rglob("*"):
        if path.is_file():
            path.write_bytes(b"rubbish")
    requests_of(proxy, stream(proxy, cache_dir=tmp_path))


@pytest.mark.usefixtures("rows")
def test_the_second_epoch_comes_from_disk(proxy: Proxy, tmp_path: Path) -> None:
    pipe = stream(proxy, shuffle=True, cache_dir=tmp_path)
    expected = sorted(rows_of(pipe))
    before, fetched = proxy.requests, pipe.stats()["fetched_bytes"]
    assert sorted(rows_of(pipe)) == expected
    other = pickle.loads(pickle.dumps(pipe))
    assert sorted(rows_of(other)) == expected
    assert proxy.requests == before
    assert pipe.stats()["fetched_bytes"] == fetched
    # The beginning of a third epoch may have been read early.
    assert 0 < pipe.stats()["cached_bytes"] <= 2 * fetched


@pytest.mark.usefixtures("rows")
def test_chunks_that_are_damaged_on_disk_are_fetched_again(proxy: Proxy, tmp_path: Path) -> None:
    pipe = stream(proxy, cache_dir=tmp_path)
    assert rows_of(pipe) == list(range(N_ROWS))
    pieces = [path for path in (tmp_path / "chunks").rglob("*") if path.is_file()]
    for path in pieces:
        content = path.read_bytes()
        path.write_bytes(content[:-1])
    assert rows_of(stream(proxy, cache_dir=tmp_path)) == list(range(N_ROWS))


@pytest.mark.usefixtures("rows")
def test_with_a_sidecar_nothing_is_asked_but_rows(proxy: Proxy, tmp_path: Path) -> None:
    sidecar = tmp_path / "layout.npz"
    assert h5s.index_files(f"{proxy.url}/layouts.h5", sidecar) == 1
    scan, epoch = requests_of(proxy, stream(proxy, layout=sidecar))
    assert scan == 0
    assert epoch <= 2


@pytest.mark.usefixtures("rows")
def test_a_sidecar_may_be_remote(served: Path, proxy: Proxy) -> None:
    h5s.index_files(f"{proxy.url}/layouts.h5", served / "remote.npz")
    scan, _epoch = requests_of(proxy, stream(proxy, layout=f"{proxy.url}/remote.npz"))
    assert scan == 1


def test_a_sidecar_of_another_version_is_refused(
    served: Path, proxy: Proxy, tmp_path: Path
) -> None:
    path, sidecar = served / "versions.h5", tmp_path / "layout.npz"
    url = f"{proxy.url}/versions.h5"
    write_columns(path, {"row": np.arange(500)})
    h5s.index_files([url, str(path)], sidecar)
    write_columns(path, {"row": np.arange(500)})
    os.utime(path, (0, 0))
    with pytest.raises(h5s.FetchError, match="replaced or changed"):
        list(h5s.H5Stream(url, ["row"], layout=sidecar))
    with pytest.raises(h5s.LayoutError, match="changed since its layout was saved"):
        list(h5s.H5Stream(str(path), ["row"], layout=sidecar))


def test_a_sidecar_says_what_it_does_not_have(rows: Path, tmp_path: Path) -> None:
    sidecar = tmp_path / "layout.npz"
    h5s.index_files(str(rows), sidecar, fields=["row"])
    with pytest.raises(h5s.ConfigError, match=r"'x' of .* was not indexed; it has row"):
        len(h5s.H5Stream(str(rows), ["x"], layout=sidecar))
    with pytest.raises(h5s.ConfigError, match="there is no layout of"):
        len(h5s.H5Stream(h5s.example_file(), layout=sidecar))
    with pytest.raises(h5s.LayoutError, match="the layout cannot be read"):
        len(h5s.H5Stream(str(rows), layout=tmp_path / "none.npz"))


def test_the_command_indexes_files(rows: Path, tmp_path: Path) -> None:
    sidecar = tmp_path / "layout.npz"
    done = CliRunner().invoke(app, ["index", str(rows), h5s.example_file(), "-o", str(sidecar)])
    assert done.exit_code == 0
    assert "2 files" in done.stdout
    assert len(h5s.H5Stream(str(rows), layout=sidecar)) == N_ROWS


def test_every_kind_of_layout_survives_being_written_down(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        for name, dtype in DTYPES.items():
            recipe = Recipe(dtype, (7, 3), None if "array" in name else (2, 3))
            write(file, f"types/{name}", recipe, random_elements((7, 3), dtype))
        for name, filters in PIPELINES.items():
            recipe = Recipe(np.dtype("<i4"), (40,), (32,), filters, fill=np.array(5, "<i4"))
            write(file, f"filters/{name}", recipe, random_elements((40,), recipe.dtype))
        file["scalar"] = 5
        file["ragged"] = np.array([np.arange(2), np.arange(3)], dtype=h5py.vlen_dtype("i4"))
    expected = scan_file(str(path))
    (found,) = unpack_layouts(pack_layouts([SavedFile(expected, {})]), "it")
    assert found.layout.fingerprints == expected.fingerprints
    assert found.layout.datasets.keys() == expected.datasets.keys()
    for name, one in expected.datasets.items():
        two = found.layout.datasets[name]
        if one.dtype == ml_dtypes.bfloat16 or not one.dtype.hasobject:
            assert two.dtype == one.dtype, name
        for fact in ("file", "path", "shape", "chunks", "filters", "storage", "byte_offset"):
            assert getattr(two, fact) == getattr(one, fact), name
        assert (two.indirect, two.refused, two.enum) == (one.indirect, one.refused, one.enum)
        assert (two.fill is None) == (one.fill is None)
        assert one.fill is None or one.fill.tobytes() == two.fill.tobytes()  # type: ignore[union-attr]
        assert (two.table is None) == (one.table is None)
        if one.table is not None and two.table is not None:
            assert two.table.byte_offset.tolist() == one.table.byte_offset.tolist()


@given(st.binary(max_size=300), st.integers(0, 2000), st.integers(1, 255))
def test_rubbish_is_no_layout(rubbish: bytes, at: int, flip: int) -> None:
    good = bytearray(pack_layouts([SavedFile(scan_file(h5s.example_file("climate")), {})]))
    good[at % len(good)] ^= flip
    for data in (rubbish, bytes(good)):
        with contextlib.suppress(h5s.LayoutError):
            unpack_layouts(data, "rubbish")


def test_ranges_outside_the_file_are_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "file.h5", 20)
    layout = scan_file(path)
    table = layout.datasets["x"].table
    assert table is not None
    table.byte_offset[0] = 10**9
    with pytest.raises(h5s.LayoutError, match="the file ends at byte"):
        unpack_layouts(pack_layouts([SavedFile(layout, {})]), "it")


@pytest.mark.usefixtures("rows")
def test_stats_count_the_requests_that_the_server_saw(proxy: Proxy) -> None:
    pipe = stream(proxy, layout=False)
    assert pipe.stats()["opening_requests"] == 0
    scan, epoch = requests_of(proxy, pipe)
    found = pipe.stats()
    assert (found["opening_requests"], found["requests"]) == (scan, epoch)
    assert scan > 0
