"""Which blocks are fetched unasked, and how many."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from h5stream.layout.hints import Ahead, Guide
from h5stream.layout.hints.pointers import Kind
from h5stream.layout.hints.trees import node_bytes


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """A group of 200 datasets."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        for number in range(200):
            file.create_dataset(f"{number:03}", data=np.zeros(40, "u1"), chunks=(10,))
    return path.read_bytes()


def guide_of(content: bytes, **ahead: int) -> Guide:
    return Guide(len(content), lambda at, size: content[at : at + size], Ahead(**ahead))


def reach(guide: Guide, place: int) -> dict[Kind, int]:
    """Follow a miss to the end; count the blocks that are chosen."""
    counts = dict.fromkeys(Kind, 0)
    level = guide.beside(place)
    while level:
        for pointer in level:
            counts[pointer.kind] += 1
        level = guide.below(level)
    return counts


def root_of(content: bytes) -> int:
    return int.from_bytes(content[64:72], "little")


def test_a_block_brings_a_few_of_its_kind_and_none_of_others(content: bytes) -> None:
    guide = guide_of(content, blocks=5)
    guide.note({0: 96, root_of(content): 512})
    counts = reach(guide, content.index(b"TREE\x00"))
    assert 0 < counts[Kind.SYMBOLS] <= 6
    assert 0 < counts[Kind.HEADER] <= 5
    assert counts[Kind.INDEX] == 0


def test_more_come_the_more_were_wanted(content: bytes) -> None:
    guide = guide_of(content, blocks=5)
    guide.note({0: 96, root_of(content): 512, content.index(b"TREE\x00"): 544})
    found = []
    for _turn in range(4):
        lists = [at for at in range(len(content)) if content[at : at + 4] == b"SNOD"]
        guide.note(dict.fromkeys(lists[: 4 ** len(found)], 328))
        found.append(reach(guide, 0)[Kind.SYMBOLS])
    assert sum(found) >= 20
    assert reach(guide, 0) == dict.fromkeys(Kind, 0)


def test_nothing_comes_unasked_where_nothing_should(content: bytes) -> None:
    guide = guide_of(content, blocks=0, nodes=0)
    guide.note({0: 96, root_of(content): 512})
    assert sum(reach(guide, content.index(b"SNOD")).values()) == 0


def test_what_is_no_file_gives_no_hints() -> None:
    guide = guide_of(bytes(4096))
    guide.note({0: 96, 1024: 512})
    assert reach(guide, 0) == dict.fromkeys(Kind, 0)
    assert guide.page_bytes == guide.base_bytes == 0


def test_elements_come_unasked_within_a_budget(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros(40_000, "u1"), chunks=(1000,))
        first = file["x"].id.get_chunk_info(0).byte_offset
    content = path.read_bytes()
    guide = guide_of(content, data_bytes=5000)
    index = next(at for at in range(len(content)) if content[at : at + 5] == b"TREE\x01")
    guide.note({0: 96, index: node_bytes(2)})
    assert 1 < reach(guide, first)[Kind.DATA] <= 6
