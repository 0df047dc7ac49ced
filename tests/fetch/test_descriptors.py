from __future__ import annotations

import errno
import gc
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from h5stream.errors import FetchError
from h5stream.fetch import descriptors, local
from h5stream.fetch.descriptors import Descriptors
from h5stream.fetch.local import LocalFile
from h5stream.layout.opening import fingerprint_of


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Descriptors:
    monkeypatch.setattr(descriptors, "descriptor_limit", lambda: 3)
    known = Descriptors()
    monkeypatch.setattr(local, "_DESCRIPTORS", known)
    return known


def local_file(path: Path, content: bytes = b"abcd") -> LocalFile:
    path.write_bytes(content)
    return LocalFile(str(path), fingerprint_of(str(path)))


def read(file: LocalFile) -> bytes:
    buffer = np.zeros(4, np.uint8)
    file.read_into(0, [buffer])
    return buffer.tobytes()


def open_here(folder: Path) -> int:
    """Count descriptors of this process that lead into a folder."""
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return sum(os.path.realpath(link).startswith(str(folder)) for link in links)


def test_no_more_files_stay_open_than_the_limit(tmp_path: Path, few: Descriptors) -> None:
    files = [local_file(tmp_path / str(n), b"%04d" % n) for n in range(10)]
    for _turn in range(2):
        assert [read(file) for file in files] == [b"%04d" % n for n in range(10)]
        assert len(few) == open_here(tmp_path) == 3


def test_what_is_in_use_is_not_closed(tmp_path: Path, few: Descriptors) -> None:
    files = [local_file(tmp_path / str(n)) for n in range(6)]
    taken = [file._take() for file in files]
    assert open_here(tmp_path) == 6
    assert [os.pread(descriptor, 4, 0) for descriptor in taken] == [b"abcd"] * 6
    for file in files:
        few.give_back(file._number)
    assert read(files[0]) == b"abcd"
    more = local_file(tmp_path / "more")
    assert read(more) == b"abcd"
    assert open_here(tmp_path) == 3


def test_a_descriptor_is_closed_with_its_file(tmp_path: Path, few: Descriptors) -> None:
    file = local_file(tmp_path / "x")
    read(file)
    del file
    gc.collect()
    assert len(few) == open_here(tmp_path) == 0


def test_a_file_that_was_replaced_is_not_opened_again(tmp_path: Path, few: Descriptors) -> None:
    first, *others = [local_file(tmp_path / str(n)) for n in range(4)]
    for file in (first, *others):
        read(file)
    (tmp_path / "new").write_bytes(b"efgh")
    (tmp_path / "new").replace(tmp_path / "0")
    with pytest.raises(FetchError, match="changed while it was being read"):
        read(first)


def test_unused_files_are_closed_when_the_process_has_no_more(
    tmp_path: Path, few: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = local_file(tmp_path / "old")
    read(old)
    opens, attempts = os.open, []

    def refuse_once(*given: object) -> int:
        attempts.append(given)
        if len(attempts) == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return opens(*given)  # type: ignore[arg-type]

    new = local_file(tmp_path / "new")
    monkeypatch.setattr(os, "open", refuse_once)
    assert read(new) == b"abcd"
    assert (len(attempts), len(few)) == (2, 1)


def test_an_error_names_the_limit(
    tmp_path: Path, few: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = local_file(tmp_path / "x")

    def refuse(*given: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(FetchError, match=rf"RLIMIT_NOFILE is {soft}\); raise the limit"):
        read(file)


_SHUFFLED = """
import resource, sys
import h5py, numpy as np
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
import h5stream as h5s
if __name__ == "__main__":
    folder = sys.argv[1]
    for n in range(300):
        with h5py.File(f"{folder}/{n}.h5", "w") as file:
            file["x"] = np.arange(4 * n, 4 * n + 4)
            file.create_dataset("y", data=np.arange(4 * n, 4 * n + 4), scaleoffset=0, chunks=(2,))
    stream = h5s.H5Stream(f"{folder}/*.h5", ["x", "y"], batch_size=16, shuffle=True)
    for workers in (0, 2):
        x, y = [], []
        for batch in h5s.Loader(stream, num_workers=workers):
            x += batch["x"].tolist()
            y += batch["y"].tolist()
        assert x == y and sorted(x) == list(range(1200)), (len(x), len(y))
    print("all rows")
"""


def test_more_files_than_descriptors_are_streamed_shuffled_by_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_SHUFFLED))
    (tmp_path / "data").mkdir()
    told = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.strip() == "all rows", told.stderr[-2000:]
