"""What HDF5 sees of a remote file, and in how many turns."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.cancellation import Cancellation
from h5stream.layout import DatasetLayout, Fingerprint, PartialFile, scan_file
from h5stream.layout.contents import list_paths
from h5stream.layout.extents import Extents
from h5stream.layout.metadata import MetadataPrefetch, PrefetchSizes
from tests.h5files import patch

HEAD_BYTES = 64 * 2**10


class Recorder:
    """Serves ranges of a file, and counts how often it was asked, and for what."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self.turns: list[list[tuple[int, int]]] = []

    def __call__(self, ranges: Sequence[tuple[int, int]], _until: Cancellation) -> list[bytes]:
        self.turns.append(list(ranges))
        return [self.content[start:stop] for start, stop in ranges]

    @property
    def nbytes(self) -> int:
        return sum(stop - start for turn in self.turns for start, stop in turn)


def source_of(path: Path) -> tuple[PartialFile, Recorder]:
    recorder = Recorder(path)
    source = PartialFile("a.h5", Fingerprint(len(recorder.content)), recorder)
    source.keep(0, recorder.content[:HEAD_BYTES])
    return source, recorder


def assert_same_layout(found: DatasetLayout, expected: DatasetLayout) -> None:
    assert found.shape == expected.shape
    assert found.chunks == expected.chunks
    assert found.byte_offset == expected.byte_offset
    assert (found.table is None) == (expected.table is None)
    if found.table is not None and expected.table is not None:
        for name in ("index", "byte_offset", "size", "filter_mask"):
            assert (getattr(found.table, name) == getattr(expected.table, name)).all()


KINDS = {
    "v1 B-trees": {},
    "latest": {"libver": "latest"},
    "paged": {"fs_strategy": "page", "fs_page_size": 2**16},
    "user block": {"userblock_size": 1024},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_of_a_partial_file_is_that_of_the_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    generator = np.random.default_rng(0)
    with h5py.File(path, "w", **KINDS[kind]) as file:
        for number in range(20):
            data = generator.integers(0, 256, (500, 30), np.uint8)
            file.create_dataset(f"g{number % 3}/d{number}", data=data, chunks=(2, 30))
        file["flat"] = np.arange(1000)
    source, recorder = source_of(path)
    expected = scan_file(str(path))
    found = scan_file("a.h5", source=source)
    assert found.datasets.keys() == expected.datasets.keys()
    for name, layout in expected.datasets.items():
        assert_same_layout(found.datasets[name], layout)
    assert recorder.nbytes <= len(recorder.content)


@pytest.fixture(scope="module")
def many_chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50,000 chunks under a B-tree whose nodes lie between them."""
    path = tmp_path_factory.mktemp("many") / "many.h5"
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (50_000, 600), "u1", chunks=(1, 600), maxshape=(None, 600))
        for start in range(0, 50_000, 5000):
            x[start : start + 5000] = 1
    return path


def test_an_index_of_many_chunks_is_fetched_level_by_level(many_chunks: Path) -> None:
    source, recorder = source_of(many_chunks)
    layout = scan_file("a.h5", ["x"], source=source).datasets["x"]
    assert_same_layout(layout, scan_file(str(many_chunks), ["x"]).datasets["x"])
    assert layout.table is not None
    assert len(layout.table) == 50_000
    assert len(recorder.turns) <= 5
    assert sum(map(len, recorder.turns)) > 500
    assert recorder.nbytes < len(recorder.content) / 4


def test_an_index_that_points_to_itself_ends_in_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        data = np.zeros((20_000, 40), "u1")
        x = file.create_dataset("x", data=data, chunks=(1, 40), maxshape=(None, 40))
        assert x.id.get_num_chunks() == 20_000
    content = path.read_bytes()
    root = next(at for at in range(len(content)) if content[at : at + 6] == b"TREE\x01\x02")
    child = root + 24 + 32
    patch(path, child, lambda _old: root.to_bytes(8, "little"), 8)
    source, recorder = source_of(path)
    with pytest.raises(h5s.LayoutError):
        scan_file("a.h5", ["x"], source=source)
    assert len(recorder.turns) < 50


@given(st.binary(min_size=0, max_size=200), st.integers(0, 2**20))
def test_nodes_of_any_bytes_have_children_inside_the_file(node: bytes, size_bytes: int) -> None:
    from h5stream.layout.metadata.trees import chunk_node_children

    for head in (b"", b"TREE\x01\x01\x02\x00"):
        children = chunk_node_children(head + node, size_bytes)
        assert all(0 < child <= size_bytes for child in children)


@pytest.mark.parametrize("at", range(0, 4000, 97))
def test_damaged_files_end_in_an_error_or_a_layout(at: int, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(4000), chunks=(10,), compression="gzip")
    patch(path, at, lambda old: bytes(byte ^ 0x5A for byte in old), 4)
    source, recorder = source_of(path)
    with contextlib.suppress(h5s.H5StreamError):
        scan_file("a.h5", source=source)
    assert len(recorder.turns) < 50


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_guesses_cost_only_turns(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w", **KINDS[kind]) as file:
        for number in range(60):
            limits = [(200, 3), (None, 3), (None, None)][number % 3]
            name = f"g{number % 4}/d{number}"
            x = file.create_dataset(name, (200, 3), "u1", maxshape=limits, chunks=(1, 3))
            x[:] = number
    expected = scan_file(str(path)).datasets
    for seed in range(8):
        source, recorder = source_of(path)
        monkeypatch.setattr(source, "_prefetch", misled(source, seed))
        found = scan_file("a.h5", source=source).datasets
        for name, layout in expected.items():
            assert_same_layout(found[name], layout)
        assert len(recorder.turns) < 400


def misled(source: PartialFile, seed: int) -> MetadataPrefetch:
    """Make a prefetch that sees other bytes than HDF5, here and there."""
    generator = np.random.default_rng(seed)

    def read(at: int, size: int) -> bytes | None:
        data = bytearray(source._extents.read(at, size) or b"")
        for place in generator.integers(4, max(5, len(data)), 3).tolist():
            if at and place < len(data):
                data[place] = int(generator.integers(0, 256))
        return bytes(data) or None

    return MetadataPrefetch(source.fingerprint("a.h5").size_bytes, read, PrefetchSizes())


@pytest.mark.parametrize("kind", KINDS)
def test_hdf5_survives_a_miss_at_every_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w", **KINDS[kind]) as file:
        for number, limits in enumerate([(200, 3), (None, 3), (None, None)]):
            x = file.create_dataset(f"g/d{number}", (200, 3), "u1", maxshape=limits, chunks=(1, 3))
            x[:] = number
        file["g"].attrs.update({f"a{number}": np.arange(10) for number in range(20)})
    recorder = Recorder(path)
    mark, bare = Fingerprint(len(recorder.content)), PrefetchSizes(1, 1, 1)
    for names in (None, ["missing"], lambda file: list_paths(file)[1:]):
        source = PartialFile("a.h5", mark, recorder, bare)
        blind = MetadataPrefetch(mark.size_bytes, lambda _at, _size: None, bare)
        monkeypatch.setattr(source, "_prefetch", blind)
        with contextlib.suppress(h5s.ConfigError):
            found = scan_file("a.h5", names, source=source).datasets
            assert found.keys() <= {"g/d0", "g/d1", "g/d2"}
    assert len(recorder.turns) > 20


def test_guesses_that_would_bring_too_much_are_left_out(
    many_chunks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("h5stream.layout.partial_file._MOST_GUESSED_BYTES", 2**21)
    source, recorder = source_of(many_chunks)
    layout = scan_file("a.h5", ["x"], source=source).datasets["x"]
    assert_same_layout(layout, scan_file(str(many_chunks), ["x"]).datasets["x"])
    assert len(recorder.turns) > 20


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12)


@given(spans, st.integers(0, 80), st.integers(0, 30))
def test_extents_give_what_was_added_and_miss_the_rest(
    added: list[tuple[int, int]], start: int, size: int
) -> None:
    content = bytes(range(100))
    extents, known = Extents(), set()
    for offset, count in added:
        extents.add(offset, content[offset : offset + count])
        known |= set(range(offset, min(100, offset + count)))
    wanted = set(range(start, start + size))
    found = extents.read(start, size)
    assert found == (content[start : start + size] if wanted <= known else None)
    missing = {at for a, b in extents.missing(start, start + size) for at in range(a, b)}
    assert missing == wanted - known
    assert extents.nbytes == len(known)
