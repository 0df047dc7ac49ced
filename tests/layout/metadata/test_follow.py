"""What blocks of metadata point to: all that HDF5 reads, and nothing outside of the file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.layout.metadata.follow import Bounds, pointers_in
from h5stream.layout.metadata.headers import page_bytes, read_superblock
from h5stream.layout.metadata.pointers import Kind, Pointer

SIGNATURES = [
    *(b"TREE\x01\x00", b"TREE\x01\x01", b"TREE\x00\x00", b"SNOD", b"HEAP", b"OHDR\x02", b"OCHK"),
    *(b"BTHD", b"BTIN", b"BTLF", b"FRHP", b"FHIB", b"FHDB"),
    *(b"FAHD", b"FADB", b"EAHD", b"EAIB", b"EASB", b"EADB"),
]
KINDS = {
    "v1": {},
    "latest": {"libver": "latest"},
    "paged": {"fs_strategy": "page", "fs_page_size": 4096},
    "latest and paged": {"libver": "latest", "fs_strategy": "page", "fs_page_size": 2**16},
    "user block": {"userblock_size": 512},
}


def write_file(path: Path, **options: Any) -> None:
    """Write groups and indexes of all kinds, large enough to have several levels."""
    with h5py.File(path, "w", **options) as file:
        for number in range(300):
            group = file.require_group(f"g{number % 3}")
            group.create_dataset(f"a name of some length {number}", data=np.arange(4))
        for number in range(40):
            file.attrs[f"attribute {number}"] = np.arange(20)
        data = np.zeros((3000, 2), "u1")
        file.create_dataset("fixed", data=data, chunks=(1, 2), compression="gzip")
        file.create_dataset("one", data=data, chunks=(1, 2), maxshape=(None, 2))
        file.create_dataset("two", data=data, chunks=(1, 2), maxshape=(None, None))


def follow_all(content: bytes) -> dict[int, tuple[Pointer, bytes]]:
    """Follow all pointers of a file, from its superblock on."""
    base = next(at for at in (0, 512) if content[at : at + 8] == b"\x89HDF\r\n\x1a\n")
    root, extension = read_superblock(content[base : base + 96])
    waiting = [root._replace(place=root.place + base)]
    waiting += [root._replace(place=extension)] if extension else []
    found: dict[int, tuple[Pointer, bytes]] = {}
    while waiting:
        pointer = waiting.pop()
        if pointer.place not in found:
            data = content[pointer.place : pointer.place + pointer.nbytes]
            found[pointer.place] = (pointer, data)
            waiting += pointers_in(data, pointer, Bounds(base, len(content)))
    return found


def blocks_read(path: Path) -> dict[int, int]:
    """Let HDF5 visit everything; list the blocks with a signature: offset -> bytes at once."""
    content = path.read_bytes()
    reads: dict[int, int] = {}

    class Recorder(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            at, size = self.tell(), super().readinto(buffer)
            reads[at] = max(size, reads.get(at, 0))
            return size

    with h5py.File(Recorder(content), "r") as file:
        dict(file.attrs)
        file.visititems(lambda _name, node: None)
        for name in ("fixed", "one", "two"):
            file[name].id.chunk_iter(lambda _chunk: None)
    known = {signature[:4] for signature in SIGNATURES}
    return {at: size for at, size in reads.items() if content[at : at + 4] in known}


@pytest.mark.parametrize("kind", KINDS)
def test_all_blocks_that_hdf5_reads_are_known(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    write_file(path, **KINDS[kind])
    found, read = follow_all(path.read_bytes()), blocks_read(path)
    assert len(read) > 100
    assert read.keys() <= found.keys()
    for place, size in read.items():
        pointer = found[place][0]
        assert pointer.kind not in (Kind.INDEX, Kind.NODE) or pointer.nbytes >= min(size, 2048)


def test_pages_are_known_from_the_superblock(tmp_path: Path) -> None:
    for kind, expected in (("paged", 4096), ("latest and paged", 2**16)):
        path = tmp_path / f"{expected}.h5"
        write_file(path, **KINDS[kind])
        content = path.read_bytes()
        _root, extension = read_superblock(content[:96])
        assert page_bytes(content[extension : extension + 256]) == expected


bounds = st.builds(Bounds, st.sampled_from([0, 512]), st.integers(1, 2**20))


def assert_inside(pointers: list[Pointer], limits: Bounds) -> None:
    for pointer in pointers:
        assert limits.base_bytes < pointer.place < limits.size_bytes
        assert 0 < pointer.nbytes <= limits.size_bytes - pointer.place


@given(
    st.sampled_from([b"", *SIGNATURES]),
    st.binary(max_size=300),
    st.sampled_from(list(Kind)),
    st.lists(st.integers(0, 2**16), max_size=8),
    bounds,
)
def test_any_bytes_point_into_the_file(
    signature: bytes, data: bytes, kind: Kind, detail: list[int], limits: Bounds
) -> None:
    pointer = Pointer(kind, 1, 300, tuple(detail))
    assert_inside(pointers_in(signature + data, pointer, limits), limits)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Pointer, bytes]]:
    """One block of each signature and kind, out of real files."""
    found: dict[tuple[bytes, Kind], tuple[Pointer, bytes]] = {}
    for kind in ("v1", "latest"):
        path = tmp_path_factory.mktemp("blocks") / "file.h5"
        write_file(path, **KINDS[kind])
        for pointer, data in follow_all(path.read_bytes()).values():
            if pointer.kind is not Kind.DATA:
                found.setdefault((data[:4], pointer.kind), (pointer, data))
    return list(found.values())


@given(st.data(), bounds)
def test_damaged_blocks_point_into_the_file(
    blocks: list[tuple[Pointer, bytes]], draw: st.DataObject, limits: Bounds
) -> None:
    pointer, data = draw.draw(st.sampled_from(blocks))
    changed = bytearray(data)
    for _change in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(4, min(len(data), 200) - 1))
        changed[at] = draw.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 4]))
    assert_inside(pointers_in(bytes(changed), pointer, limits), limits)
    assert_inside(pointers_in(bytes(changed)[: len(data) // 2], pointer, limits), limits)


@given(st.binary(max_size=120))
def test_superblocks_of_any_bytes_are_read_or_refused(data: bytes) -> None:
    for head in (b"", b"\x89HDF\r\n\x1a\n\x00", b"\x89HDF\r\n\x1a\n\x03\x08\x08"):
        try:
            pointer, extension = read_superblock(head + data)
        except (IndexError, ValueError):
            continue
        assert 0 <= pointer.place < 2**64
        assert 0 <= extension < 2**64
