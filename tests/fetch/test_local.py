from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from h5stream.errors import FetchError
from h5stream.fetch import LocalFile
from h5stream.layout import fingerprint_of

CONTENT = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "file.bin").write_bytes(CONTENT.tobytes())
    return str(tmp_path / "file.bin")


@pytest.fixture
def file(path: str) -> LocalFile:
    return LocalFile(path, fingerprint_of(path))


def test_bytes_land_in_the_buffer(file: LocalFile) -> None:
    buffer = np.zeros(500, np.uint8)
    file.read_into(1000, [buffer])
    assert buffer.tobytes() == CONTENT[1000:1500].tobytes()


@pytest.mark.parametrize("sizes", [[1] * 3000, [0, 7, 0, 100, 1], [50_000, 50_000], []], ids=len)
def test_buffers_are_filled_one_after_the_other(file: LocalFile, sizes: list[int]) -> None:
    buffers = [np.zeros(size, np.uint8) for size in sizes]
    assert file.read_into(0, buffers) == sum(sizes)
    assert b"".join(b.tobytes() for b in buffers) == CONTENT[: sum(sizes)].tobytes()


def test_a_read_that_comes_in_pieces_goes_on(
    file: LocalFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.preadv

    def at_most_seven(descriptor: int, buffers: list, offset: int) -> int:
        return whole(descriptor, [memoryview(buffers[0])[:7]], offset)

    monkeypatch.setattr(os, "preadv", at_most_seven)
    buffers = [np.zeros(size, np.uint8) for size in (3, 20, 0, 9)]
    assert file.read_into(50, buffers) == 32
    assert np.concatenate(buffers).tobytes() == CONTENT[50:82].tobytes()


def test_a_read_beyond_the_end_is_an_error(file: LocalFile) -> None:
    with pytest.raises(FetchError, match="ended after 10 bytes, expected 30") as caught:
        file.read_into(len(CONTENT) - 10, [np.zeros(30, np.uint8)])
    assert caught.value.byte_range == (len(CONTENT) - 10, len(CONTENT) + 20)
    assert caught.value.url == file.path


def test_a_failing_read_is_an_error(file: LocalFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(FetchError, match="read failed: Input/output error"):
        file.read_into(0, [np.zeros(3, np.uint8)])


def test_a_missing_file_is_an_error(file: LocalFile) -> None:
    Path(file.path).unlink()
    with pytest.raises(FetchError, match="cannot be opened"):
        file.read_into(0, [np.zeros(3, np.uint8)])


@pytest.mark.parametrize("kind", ["longer", "later", "another"])
def test_a_changed_file_is_an_error(file: LocalFile, kind: str) -> None:
    file.check_unchanged() if kind != "another" else None
    if kind == "longer":
        with Path(file.path).open("ab") as raw:
            raw.write(b"more")
    elif kind == "later":
        os.utime(file.path, ns=(1, 1))
    else:
        times = Path(file.path).stat()
        copy = Path(f"{file.path}.copy")
        copy.write_bytes(CONTENT.tobytes())
        os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
        copy.replace(file.path)
    with pytest.raises(FetchError, match="the file changed while it was being read"):
        file.check_unchanged()


def test_an_unchanged_file_passes(file: LocalFile) -> None:
    file.read_into(0, [np.zeros(3, np.uint8)])
    file.check_unchanged()


def test_many_threads_read_at_once(file: LocalFile) -> None:
    found: dict[int, bytes] = {}

    def read(start: int) -> None:
        buffer = np.zeros(1000, np.uint8)
        file.read_into(start, [buffer])
        found[start] = buffer.tobytes()

    threads = [threading.Thread(target=read, args=(i * 1000,)) for i in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[start] for start in sorted(found)) == CONTENT.tobytes()


def test_the_descriptor_closes_with_the_last_reference(path: str) -> None:
    def descriptors() -> int:
        links = [entry.resolve() for entry in Path("/dev/fd").iterdir()]
        return links.count(Path(path).resolve())

    file = LocalFile(path, fingerprint_of(path))
    assert descriptors() == 0
    file.read_into(0, [np.zeros(3, np.uint8)])
    assert descriptors() == 1
    del file
    gc.collect()
    assert descriptors() == 0
