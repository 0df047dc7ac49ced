"""Files, sidecars and folders that somebody else made: refused by name, soon, and nothing lost."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

import h5stream as h5s
from h5stream.fetch.disk_cache import DiskCache
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
    store = DiskCache(tmp_path / "cache", 1000)
    digest = store.digest_of("a")
    store.put(digest, b"secret")
    assert modes(tmp_path / "cache") == {0o600}
    folders = [tmp_path / "cache", *(p for p in (tmp_path / "cache").iterdir() if p.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert DiskCache(tmp_path / "cache", 1000).get(digest) == b"secret"


def test_names_of_pieces_differ_from_folder_to_folder(tmp_path: Path) -> None:
    one, same, other = (DiskCache(tmp_path / name, 1000) for name in ("a", "a", "b"))
    assert one.digest_of("x") == same.digest_of("x") != other.digest_of("x")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_piece_of_ours_is_not_believed(tmp_path: Path, kind: str) -> None:
    store = DiskCache(tmp_path / "cache", 1000)
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
    store = DiskCache(tmp_path / "cache", 1000)
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


def damage_heaps(path: Path, size: int) -> int:
    """Give the first object of every heap collection a size; return how many there are."""
    data = bytearray(path.read_bytes())
    at, count = data.find(b"GCOL"), 0
    while at >= 0:
        data[at + 24 : at + 32] = size.to_bytes(8, "little")
        at, count = data.find(b"GCOL", at + 1), count + 1
    path.write_bytes(data)
    return count


def write_text(file: h5py.File, kind: str) -> None:
    file["x"] = np.arange(20)
    text = h5py.string_dtype()
    if kind == "attribute of the file":
        file.attrs["encoding-type"] = "anndata"
    elif kind == "attribute of a group":
        obs = file.create_group("obs")
        obs.attrs["_index"], obs["_index"] = "_index", np.arange(20)
        file.create_group("var")
        file["X"] = np.zeros((20, 2))
    elif kind in ("contiguous", "gzip", "shuffle gzip"):
        options = {"compression": "gzip", "chunks": (5,)} if "gzip" in kind else {}
        options |= {"shuffle": True} if "shuffle" in kind else {}
        obs = file.create_group("obs")
        obs.attrs["encoding-type"] = np.bytes_("dataframe")
        obs.attrs["_index"] = np.bytes_("_index")
        obs["_index"] = np.arange(20)
        kinds = obs.create_group("kind")
        kinds.attrs["encoding-type"] = np.bytes_("categorical")
        kinds.create_dataset("categories", data=["a", "b"] * 10, dtype=text, **options)
        kinds["codes"] = np.arange(20, dtype=np.int8)
        file.create_group("var")
        file["X"] = np.zeros((20, 2))
    elif kind == "many attributes of a group":
        obs = file.create_group("obs", track_order=True)
        for number in range(20):
            obs.attrs[f"note {number}"] = np.bytes_("none")
        obs.attrs["_index"], obs["_index"] = "_index", np.arange(20)
        file.create_group("var")
        file["X"] = np.zeros((20, 2))
    else:
        file["x"].attrs["mode"] = "N-D"
        file.create_dataset("central", data=np.arange(20)).attrs["mode"] = "N-D"
        file["central"].attrs["dtypes"] = ["int64", "int64"]


KINDS_OF_TEXT = [
    "attribute of the file",
    "attribute of a group",
    "contiguous",
    "gzip",
    "shuffle gzip",
    "attribute of a dataset",
    "many attributes of a group",
]


STREAM_EACH = """
import sys, fsspec, h5stream as h5s
memory = fsspec.filesystem("memory")
for number, path in enumerate(sys.argv[1:]):
    memory.put(path, f"/{number}.h5")
    for each in (path, f"memory://{number}.h5"):
        try:
            print(len(list(h5s.H5Stream(each, batch_size=7))))
        except h5s.H5StreamError as error:
            print(type(error).__name__, str(error).replace("\\n", " "))
"""


@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
def test_damaged_heaps_are_not_walked_without_end(tmp_path: Path, kind: str) -> None:
    """In a process of its own, because HDF5 cannot be interrupted."""
    paths: list[Path] = []
    for libver in ("earliest", "latest"):
        paths.append(tmp_path / f"{libver}.h5")
        with h5py.File(paths[-1], "w", libver=libver) as file:
            write_text(file, kind)
    for sound in tuple(paths):
        for size in (0, 2**63, 2**64 - 8, 2**64 - 16):
            paths.append(Path(shutil.copy(sound, tmp_path / f"{size:x} {sound.name}")))
            assert damage_heaps(paths[-1], size) >= 1
    command = [sys.executable, "-c", STREAM_EACH, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(paths)
    assert lines[:4] == ["3"] * 4
    assert all(line == "3" or line.startswith(("LayoutError", "ConfigError")) for line in lines)


@pytest.mark.parametrize("maker", ["nobody", "h5torch", "anndata", "samples"])
def test_names_that_are_no_text_are_left_out(tmp_path: Path, maker: str) -> None:
    path = tmp_path / "names.h5"
    with h5py.File(path, "w") as file:
        holder = file
        if maker == "h5torch":
            file.create_dataset("central", data=np.zeros((20, 2))).attrs["mode"] = "N-D"
            holder = file.create_group("0")
        elif maker == "anndata":
            file.attrs["encoding-type"] = "anndata"
            file["X"] = np.zeros((20, 2))
            file.create_group("var")
            holder = file.create_group("obs")
        elif maker == "samples":
            for number in range(20):
                file[f"data/demo_{number}/x"] = np.zeros(3)
            holder = file["data"]
        else:
            file["x"] = np.arange(20)
        holder[b"caf\xe9"] = np.arange(20)
    for fields in (None, {"x": h5s.Grouped("*/x")}):
        try:
            batches = list(h5s.H5Stream(path, fields, batch_size=7))
            assert len(batches) == 3
        except h5s.ConfigError:
            assert fields is not None or maker == "samples"


def test_no_chunk_lies_in_the_superblock(data: Path) -> None:
    content = bytearray(data.read_bytes())
    with h5py.File(data) as file:
        chunk = file["x"].id.get_chunk_info(2)
    place = content.find(int(chunk.byte_offset).to_bytes(8, "little"))
    content[place : place + 8] = bytes(8)
    data.write_bytes(content)
    with pytest.raises(h5s.LayoutError, match="bytes lie at byte 0, but elements lie behind"):
        list(h5s.H5Stream(data, ["x"], batch_size=7))


def test_attributes_of_lists_are_no_text(tmp_path: Path) -> None:
    """HDF5 crashes where the type of their elements is damaged."""
    path = tmp_path / "lists.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(6)
        file.create_dataset("central", data=np.arange(6))
        lists = np.empty(1, object)
        lists[0] = np.array([78, 45, 68], np.uint8)
        file["central"].attrs.create("mode", lists, dtype=h5py.vlen_dtype(np.uint8))
    fields = {"x": "x", "y": h5s.Constant("central", attribute="mode")}
    with pytest.raises(h5s.LayoutError, match="'mode' of '/central' holds lists"):
        next(iter(h5s.H5Stream(path, fields)))
    assert len(list(h5s.H5Stream(path, batch_size=6))) == 1


@pytest.mark.parametrize("left", [40, 4])
def test_bzip2_without_an_end_is_not_waited_for(tmp_path: Path, left: int) -> None:
    """HDF5's plugin asks for more of a stream that is cut off, without end."""
    path = tmp_path / "cut.h5"
    noise = np.random.default_rng(0).integers(0, 256, 4096, np.uint8)
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(20)
        file.create_dataset("noise", data=noise, chunks=(4096,), **hdf5plugin.BZip2())
        stored = file["noise"].id.read_direct_chunk((0,))[1]
        file["noise"].id.write_direct_chunk((0,), stored[: len(stored) // 2 + left])
    script = (
        "import sys, h5stream as h5s\n"
        "for noise in ('noise', h5s.Constant('noise')):\n"
        "    try:\n"
        "        list(h5s.H5Stream(sys.argv[1], {'x': noise}, batch_size=7))\n"
        "    except h5s.H5StreamError as error:\n"
        "        print(type(error).__name__, error)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows, constant = done.stdout.splitlines()
    assert rows.startswith("DecodeError")
    assert re.match("LayoutError.* no end after", constant)
