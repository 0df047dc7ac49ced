"""Which blocks are fetched unasked, and how many."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from h5stream.layout.metadata import MetadataPrefetch, PrefetchSizes
from h5stream.layout.metadata.pointers import Kind
from h5stream.layout.metadata.trees import node_bytes


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """A group of 200 datasets."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        for number in range(200):
            file.create_dataset(f"{number:03}", data=np.zeros(40, "u1"), chunks=(10,))
    return path.read_bytes()


def prefetch_of(content: bytes, **sizes: int) -> MetadataPrefetch:
    return MetadataPrefetch(
        len(content), lambda at, size: content[at : at + size], PrefetchSizes(**sizes)
    )


def reach(prefetch: MetadataPrefetch, place: int) -> dict[Kind, int]:
    """Follow a miss to the end; count the blocks that are chosen."""
    counts = dict.fromkeys(Kind, 0)
    level = prefetch.beside(place)
    while level:
        for pointer in level:
            counts[pointer.kind] += 1
        level = prefetch.below(level)
    return counts


def root_of(content: bytes) -> int:
    return int.from_bytes(content[64:72], "little")


def test_a_block_brings_a_few_of_its_kind_and_none_of_others(content: bytes) -> None:
    prefetch = prefetch_of(content, blocks=5)
    prefetch.note({0: 96, root_of(content): 512})
    counts = reach(prefetch, content.index(b"TREE\x00"))
    assert 0 < counts[Kind.SYMBOLS] <= 6
    assert 0 < counts[Kind.HEADER] <= 5
    assert counts[Kind.INDEX] == 0


def test_more_come_the_more_were_wanted(content: bytes) -> None:
    prefetch = prefetch_of(content, blocks=5)
    prefetch.note({0: 96, root_of(content): 512, content.index(b"TREE\x00"): 544})
    found = []
    for _turn in range(4):
        lists = [at for at in range(len(content)) if content[at : at + 4] == b"SNOD"]
        prefetch.note(dict.fromkeys(lists[: 4 ** len(found)], 328))
        found.append(reach(prefetch, 0)[Kind.SYMBOLS])
    assert sum(found) >= 20
    assert reach(prefetch, 0) == dict.fromkeys(Kind, 0)


def test_nothing_comes_unasked_where_nothing_should(content: bytes) -> None:
    prefetch = prefetch_of(content, blocks=0, nodes=0)
    prefetch.note({0: 96, root_of(content): 512})
    assert sum(reach(prefetch, content.index(b"SNOD")).values()) == 0


def test_of_what_is_no_file_nothing_is_guessed() -> None:
    prefetch = prefetch_of(bytes(4096))
    prefetch.note({0: 96, 1024: 512})
    assert reach(prefetch, 0) == dict.fromkeys(Kind, 0)
    assert prefetch.page_bytes == prefetch.base_bytes == 0


def test_elements_come_unasked_within_a_budget(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros(40_000, "u1"), chunks=(1000,))
        first = file["x"].id.get_chunk_info(0).byte_offset
    content = path.read_bytes()
    prefetch = prefetch_of(content, data_bytes=5000)
    index = next(at for at in range(len(content)) if content[at : at + 5] == b"TREE\x01")
    prefetch.note({0: 96, index: node_bytes(2)})
    assert 1 < reach(prefetch, first)[Kind.DATA] <= 6
