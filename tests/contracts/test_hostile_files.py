"""Files, sidecars and folders that somebody else made: refused by name, soon, and nothing lost."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.fetch.store import PieceStore
from tests.places import placed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(80).reshape(20, 4), chunks=(4, 4))
    return path


def refused(path: Path | str, **options: object) -> str:
    """Stream in a process of its own, which ends within seconds, and return the error."""
    code = (
        "import sys, h5stream as h5s\n"
        "try: print(len(list(h5s.H5Stream(sys.argv[1], ['x'], layout=sys.argv[2] or None))))\n"
        "except h5s.H5StreamError as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(path), str(options.get("layout", ""))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    assert refused(tmp_path / "pipe.h5").startswith("LayoutError")
    assert "is no regular file" in refused(tmp_path / "pipe.h5")


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_a_device_or_a_pipe_is_no_layout(data: Path, tmp_path: Path, name: str) -> None:
    if name == "pipe":
        os.mkfifo(tmp_path / name)
    layout = name if name.startswith("/") else tmp_path / name
    assert "LayoutError" in refused(data, layout=layout)


def test_an_index_never_replaces_data(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "thesis.txt"
    other.write_text("precious")
    weights = tmp_path / "weights.npz"
    np.savez(weights, header=np.arange(3))
    link = tmp_path / "link.npz"
    link.symlink_to(other)
    for output in (data, other, weights, link):
        before = output.read_bytes()
        with pytest.raises(h5s.ConfigError, match="is there and holds no layout"):
            h5s.index_files(data, output)
        assert output.read_bytes() == before


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_an_index_replaces_an_index(data: Path, tmp_path: Path, suffix: str) -> None:
    for _ in range(2):
        assert h5s.index_files(data, tmp_path / f"layout{suffix}") == 1


def test_a_layout_of_a_remote_file_leads_to_no_others(data: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout.npz"
    with placed(data, "memory") as url:
        h5s.index_files(url, layout)
        arrays = dict(np.load(layout))
        header = json.loads(bytes(arrays["header"]))
        (said,) = header["files"]
        (mark,) = said["fingerprints"].values()
        said["fingerprints"] = {str(data): mark}
        said["datasets"]["x"]["file"] = str(data)
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        np.savez_compressed(layout, **arrays)
        with pytest.raises(h5s.LayoutError, match="leads to other files"):
            len(h5s.H5Stream(url, ["x"], layout=layout))


def npy(shape: tuple[int, ...], data: bytes, dtype: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + data


BOMBS = {
    "claims eight terabytes": npy((2**43,), b"x"),
    "unpacks to more than is plausible": npy((2**28,), bytes(2**28)),
    "of floats": npy((2,), bytes(16), "<f8"),
    "of two axes": npy((2, 2), bytes(4)),
    "of objects": npy((1,), b"x", "|O"),
    "no array": b"nothing",
    "empty": b"",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_sidecars_take_no_more_memory_than_is_plausible(
    data: Path, tmp_path: Path, kind: str
) -> None:
    layout = tmp_path / "layout.npz"
    with zipfile.ZipFile(layout, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", BOMBS[kind])
    with pytest.raises(h5s.LayoutError, match="no saved layout"):
        len(h5s.H5Stream(data, ["x"], layout=layout))


@pytest.mark.parametrize("size", [0, 2**64 - 16, 2**63], ids=hex)
def test_attributes_in_a_damaged_heap_are_not_read_for_nothing(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(8)
        file.attrs["encoding-type"] = "anndata"
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 24
    content[at : at + 8] = size.to_bytes(8, "little")
    path.write_bytes(content)
    assert refused(path) == "8\n"


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


def test_the_cache_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = PieceStore(tmp_path / "cache", 1000)
    digest = store.digest_of("a")
    store.put(digest, b"secret")
    assert modes(tmp_path / "cache") == {0o600}
    folders = [tmp_path / "cache", *(p for p in (tmp_path / "cache").iterdir() if p.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert PieceStore(tmp_path / "cache", 1000).get(digest) == b"secret"


def test_names_of_pieces_differ_from_folder_to_folder(tmp_path: Path) -> None:
    one, same, other = (PieceStore(tmp_path / name, 1000) for name in ("a", "a", "b"))
    assert one.digest_of("x") == same.digest_of("x") != other.digest_of("x")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_piece_of_ours_is_not_believed(tmp_path: Path, kind: str) -> None:
    store = PieceStore(tmp_path / "cache", 1000)
    digest = store.digest_of("a")
    store.put(digest, b"rows")
    path = store._path(digest)
    elsewhere = path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert store.get(digest) is None


def test_pieces_of_another_user_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PieceStore(tmp_path / "cache", 1000)
    digest = store.digest_of("a")
    store.put(digest, b"rows")
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert store.get(digest) is None


@pytest.mark.parametrize(
    "path", ["", "a\0b.h5", "x" * 5000, ".", "/dev/null", "/dev/zero"], ids=repr
)
def test_what_is_no_file_is_our_error(path: str) -> None:
    with pytest.raises(h5s.H5StreamError):
        len(h5s.H5Stream(path, ["x"]))


def test_links_that_lead_nowhere_are_our_error(tmp_path: Path) -> None:
    broken = tmp_path / "link.h5"
    broken.symlink_to(tmp_path / "nowhere.h5")
    loop = tmp_path / "loop.h5"
    loop.symlink_to(loop)
    for path in (broken, loop):
        with pytest.raises(h5s.LayoutError, match="cannot be read"):
            len(h5s.H5Stream(path, ["x"]))
