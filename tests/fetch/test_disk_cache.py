from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.fetch.disk_cache import DiskCache, digest_of

HEAD = 32


def files_of(cache: DiskCache) -> list[Path]:
    return sorted(p for p in cache.folder.rglob("*") if p.is_file() and p.name != "lock")


def test_a_piece_is_what_was_put(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1000)
    digest = digest_of("a", 1)
    assert not cache.has(digest)
    assert cache.get(digest) is None
    cache.put(digest, b"bytes")
    assert cache.has(digest)
    assert cache.get(digest) == b"bytes"
    cache.drop(digest)
    assert cache.get(digest) is None


@given(st.integers(0, HEAD + 99), st.integers(1, 255))
def test_a_damaged_piece_counts_as_absent_and_goes(at: int, flip: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        cache = DiskCache(folder, 10_000)
        cache.put(digest_of("a"), bytes(100))
        (path,) = files_of(cache)
        content = bytearray(path.read_bytes())
        content[at] ^= flip
        path.write_bytes(content)
        assert cache.get(digest_of("a")) is None
        assert not cache.has(digest_of("a"))


def test_a_piece_under_another_name_is_refused(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1000)
    cache.put(digest_of("a"), b"bytes")
    (path,) = files_of(cache)
    other = cache._path(digest_of("b"))
    other.parent.mkdir(exist_ok=True)
    path.rename(other)
    assert cache.get(digest_of("b")) is None


def test_pieces_that_were_read_longest_ago_go_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10 * (100 + HEAD))
    for number in range(10):
        cache.put(digest_of(number), bytes(100))
        os.utime(cache._path(digest_of(number)), (number, number))
    cache.get(digest_of(0))
    for number in range(10, 16):
        cache.put(digest_of(number), bytes(100))
    total = sum(path.stat().st_size for path in files_of(cache))
    assert total <= cache.limit_bytes
    assert cache.has(digest_of(0))
    assert not cache.has(digest_of(1))
    assert cache.has(digest_of(15))


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10)
    cache.put(digest_of(0), bytes(11))
    assert not cache.has(digest_of(0))


def test_what_a_killed_writer_left_is_deleted_once_it_is_old(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1000)
    cache.put(digest_of(0), b"x")
    left = cache._path(digest_of(0)).with_name("aa.1.2.part")
    left.write_bytes(b"half")
    cache._delete_oldest()
    assert left.exists()
    os.utime(left, (time.time() - 7200,) * 2)
    cache._delete_oldest()
    assert not left.exists()


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file" / "folder", 1000)
    cache.put(digest_of(0), b"x")
    assert cache.get(digest_of(0)) is None


def _hammer(folder: str, failures: multiprocessing.SimpleQueue) -> None:  # type: ignore[type-arg]
    cache = DiskCache(folder, 40 * 1032)
    for turn in range(200):
        number = turn * 7 % 60
        expected = bytes([number]) * 1000
        found = cache.get(digest_of(number))
        if found not in (None, expected):
            failures.put(number)
        cache.put(digest_of(number), expected)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_share_pieces_and_never_see_half_of_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    failures = context.SimpleQueue()
    workers = [context.Process(target=_hammer, args=(str(tmp_path), failures)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert failures.empty()
    cache = DiskCache(tmp_path, 40 * 1032)
    cache._delete_oldest()
    assert sum(path.stat().st_size for path in files_of(cache)) <= cache.limit_bytes


def test_threads_write_the_same_piece_at_once(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000)
    threads = [threading.Thread(target=cache.put, args=(digest_of(0), b"x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get(digest_of(0)) == b"x"
    assert len(files_of(cache)) == 1
