"""Who iterates over a stream: one thread of the process that made the iterator, no wrapper."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import h5stream as h5s
from tests.streams import rows_of, write_rows

N_ROWS = 400

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:This DataLoader will create .* worker processes:UserWarning"
    ),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("callers") / "a.h5", N_ROWS)


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_are_not_batched_again(path: str, kind: Any, num_workers: int) -> None:
    stream = h5s.H5Stream(path, ["row"], batch_size=4)
    with pytest.raises(h5s.ConfigError, match="batch_size=None"):
        next(iter(kind(stream, batch_size=4, num_workers=num_workers)))
    assert rows_of(kind(stream, batch_size=None, num_workers=num_workers)) == list(range(N_ROWS))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_single_samples_may_be_batched_by_a_dataloader(path: str, num_workers: int) -> None:
    samples = h5s.H5Stream(path, ["row"])
    loader: DataLoader[Any] = DataLoader(samples, batch_size=4, num_workers=num_workers)
    assert rows_of(loader) == list(range(N_ROWS))


def test_a_shard_of_a_shard_is_refused(path: str) -> None:
    from accelerate.data_loader import IterableDatasetShard

    stream = h5s.H5Stream(path, ["row"], batch_size=4)
    shard = IterableDatasetShard(stream, batch_size=1, num_processes=2, process_index=0)
    with pytest.raises(h5s.ConfigError, match=r"Loader\(stream\) without prepare\(\)"):
        next(iter(shard))


@pytest.mark.parametrize("kind", ["stream", "loader"])
def test_a_second_thread_in_an_iterator_is_refused(path: str, kind: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    def wait(columns: Any) -> Any:
        inside.set()
        assert leave.wait(60)
        return columns

    pipe = h5s.H5Stream(path, ["row"], batch_size=4).map(wait)
    items = iter(h5s.Loader(pipe) if kind == "loader" else pipe)
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(next(items)))
    thread.start()
    assert inside.wait(60)
    with pytest.raises(h5s.ConfigError, match="another thread is in this iterator"):
        next(items)
    leave.set()
    thread.join(60)
    assert rows_of([*first, *items]) == list(range(N_ROWS))


FORKED = """
import os, sys, fsspec, h5stream as h5s
path = sys.argv[1]
if sys.argv[2] == "memory":
    fsspec.filesystem("memory").pipe("memory://a.h5", open(path, "rb").read())
    path = "memory://a.h5"
stream = h5s.H5Stream(path, ["row"], batch_size=4, shuffle=True)
items = iter(stream)
next(items)
child = os.fork()
if not child:
    try:
        next(items)
    except h5s.ConfigError as error:
        print("refused:", error, flush=True)
    print(sum(len(batch["row"]) for batch in stream), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(sum(len(batch["row"]) for batch in items), flush=True)
"""


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_a_forked_child_makes_its_own_iterator(path: str, where: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED, path, where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    refused, of_child, of_parent = done.stdout.splitlines()
    assert "make a new one in the child: iter(stream)" in refused
    assert (int(of_child), int(of_parent)) == (N_ROWS, N_ROWS - 4)


def test_streams_of_batches_and_of_samples_do_not_mix(path: str) -> None:
    batches, samples = (h5s.H5Stream(path, ["row"], batch_size=size) for size in (4, None))
    with pytest.raises(h5s.ConfigError, match="give all a batch_size, or none"):
        h5s.mix([batches, samples])


def test_streams_of_unlike_fields_do_not_mix(path: str) -> None:
    streams = [h5s.H5Stream(path, fields, batch_size=4) for fields in (["row"], ["row", "x"])]
    with pytest.raises(h5s.ConfigError, match="stream 2 of the mix has fields"):
        next(iter(h5s.mix(streams)))


def test_functions_may_make_mixed_streams_alike_but_not_unlike(path: str) -> None:
    rows = h5s.H5Stream(path, ["row"], batch_size=4)
    both = h5s.H5Stream(path, ["row", "x"], batch_size=4)
    alike = both.map(lambda batch: {"row": batch["row"]})
    assert len(rows_of(h5s.mix([rows, alike], stop_criteria="all_exhausted"))) == 2 * N_ROWS
    unlike = both.map(lambda batch: {"x": batch["x"]})
    with pytest.raises(h5s.ConfigError, match="need the same keys"):
        list(h5s.mix([rows, unlike]))
