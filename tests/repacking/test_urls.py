"""Files written again to URLs: written locally, uploaded in one piece."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import h5stream as h5s
from tests.remote.s3 import s3_server


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def write(path: Path, n_rows: int = 300) -> Path:
    with h5s.Writer(path) as writer:
        writer.extend({"x": np.arange(n_rows), "y": np.zeros((n_rows, 50))})
    return path


def names(files: Any) -> list[str]:
    return sorted(files.store)


def test_a_file_appears_at_a_url_and_nothing_is_left_here(tmp_path: Path, memory: Any) -> None:
    path = write(tmp_path / "a.h5")
    done = h5s.repack(path, "memory://data/b.h5")
    assert done.paths == ("memory://data/b.h5",)
    assert names(memory) == ["/data/b.h5"]
    assert done.bytes_after == len(memory.cat("/data/b.h5"))
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]
    rows = next(iter(h5s.H5Stream("memory://data/b.h5", batch_size=300)))["x"]
    assert rows.tolist() == list(range(300))
    assert h5s.verify(path, "memory://data/b.h5") == 300


def test_shards_appear_at_urls(tmp_path: Path, memory: Any) -> None:
    done = h5s.repack(write(tmp_path / "a.h5"), "memory://data/b.h5", shard_bytes=50_000)
    assert names(memory) == [f"/data/b-{number:05}.h5" for number in range(3)]
    assert h5s.H5Stream(list(done.paths), batch_size=300).catalog.n_rows == 300


def test_what_is_there_is_kept_and_the_source_is_not_written_to(
    tmp_path: Path, memory: Any
) -> None:
    memory.pipe("/data/b.h5", b"precious")
    path = write(tmp_path / "a.h5")
    with pytest.raises(h5s.ConfigError, match=r"memory://data/b.h5 exists; write overwrite"):
        h5s.repack(path, "memory://data/b.h5")
    assert memory.cat("/data/b.h5") == b"precious"
    h5s.repack(path, "memory://data/b.h5", overwrite=True)
    with pytest.raises(h5s.ConfigError, match="is one of the sources"):
        h5s.repack("memory://data/b.h5", "memory://data/b.h5", overwrite=True)


def test_an_upload_that_fails_is_not_seen_and_goes_on_without_writing_again(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = write(tmp_path / "a.h5"), MemoryFileSystem.mv

    def fail(*_args: Any, **_options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(MemoryFileSystem, "mv", fail)
    with pytest.raises(h5s.WriteError, match=r"b\.h5: cannot be written: OSError: no route"):
        h5s.repack(path, "memory://data/b.h5")
    assert names(memory) == []
    monkeypatch.setattr(MemoryFileSystem, "mv", real)
    monkeypatch.setattr(import_module("h5stream.repacking.repack"), "_write", fail)
    assert h5s.repack(path, "memory://data/b.h5").n_rows == 300
    assert names(memory) == ["/data/b.h5"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere://x/b.h5", "the protocol 'nowhere' is not known"),
        ("zip://b.h5::memory://a.zip", "plain URLs"),
        ("https://host/b.h5?sig=secret", r"https://host/b\.h5: files are written to plain URLs"),
    ],
)
def test_urls_that_cannot_be_written_are_refused(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(h5s.ConfigError, match=message) as caught:
        h5s.repack(write(tmp_path / "a.h5", 3), url)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_objects_of_s3_appear_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with s3_server() as s3:
        first = s3.put(path, "first.h5")
        options = s3.options()
        url = first.replace("first", "second")
        h5s.repack(first, url, shuffle=0, storage_options=options)
        batch = next(iter(h5s.H5Stream(url, ["x"], batch_size=300, storage_options=options)))
        assert sorted(batch["x"].tolist()) == list(range(300))
        wrong = {**options, "secret": "hunter3"}
        with pytest.raises((h5s.WriteError, h5s.ConfigError)) as caught:
            h5s.repack(path, "s3://no-such-bucket/b.h5", output_options=wrong)
        assert "hunter3" not in str(caught.value)
