from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

import h5stream as h5s
from h5stream.errors import ConfigError
from h5stream.pipes.chain import Chain


@pytest.fixture
def locked_after_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Refuse every scan but the parent's before workers: a file that is being written to."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(32)
    scan = Chain.scan_first
    with ExitStack() as until_the_end:

        def scan_and_lock(chain: Chain) -> None:
            scan(chain)
            fcntl.flock(until_the_end.enter_context(path.open("rb")), fcntl.LOCK_EX)
            monkeypatch.setattr(Chain, "scan_first", scan)

        monkeypatch.setattr(Chain, "scan_first", scan_and_lock)
        yield str(path)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_parent_scans_and_no_worker_does_in_any_epoch(
    method: str, locked_after_scan: str
) -> None:
    stream = h5s.H5Stream(locked_after_scan, ["x"], batch_size=4, shuffle=True, layout=False)
    loader = DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context=method)
    for _epoch in range(2):
        rows = [row for batch in loader for row in batch["x"].tolist()]
        assert sorted(rows) == list(range(32))


def test_what_is_wrong_with_files_is_said_by_workers(tmp_path: Path) -> None:
    stream = h5s.H5Stream(str(tmp_path / "*.h5"), ["x"], batch_size=4)
    with pytest.raises(ConfigError, match="no file matches"):
        next(iter(DataLoader(stream, batch_size=None, num_workers=1)))
