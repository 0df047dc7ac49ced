"""Counts what it takes to scan a remote file: requests, round trips, bytes, seconds.

For each kind of file, in one run: the bytes that HDF5 touches (no scan can do with less); what
h5stream asks for until it knows where every chunk is and has tried both ways to read; what h5py
asks for on fsspec's file object, with the best of its caches, to list the same chunks. A round
trip is one wait: requests in flight together count once, more than fit in flight count again.

The network is not there: seconds are those of the processor, and those that the latency and the
rate of the network add. So the counts are the same in every run. Files have holes where data would
be, so that large ones take no space.

    python -m benchmarks.scan --help
"""

from __future__ import annotations

import argparse
import io
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import h5py
import numpy as np
from fsspec.spec import AbstractBufferedFile

from benchmarks.scan_files import FILES
from h5stream.cancellation import NEVER, Cancellation
from h5stream.conventions import Wanted
from h5stream.fetch.coalesce import join_ranges
from h5stream.fetch.remote.connections import HEAD_BYTES
from h5stream.fetch.request_queue import SMALL_BYTES, ConcurrencyLimit
from h5stream.layout import Fingerprint, PartialFile, scan_file
from h5stream.layout.extents import Extents
from h5stream.layout.metadata import PrefetchSizes
from h5stream.opening.scanned import scan_chosen

CACHES = ("readahead", "bytes", "blockcache", "none")


@dataclass
class Network:
    """A file behind a slow network, on a clock of its own."""

    path: Path
    latency_s: float
    bytes_per_s: float
    limit: ConcurrencyLimit
    requests: int = 0
    trips: int = 0
    nbytes: int = 0

    def __post_init__(self) -> None:
        self.descriptor = os.open(self.path, os.O_RDONLY)
        self.size_bytes = os.fstat(self.descriptor).st_size
        self.processor_s = -time.process_time()

    def fetch(self, ranges: Sequence[tuple[int, int]], _until: Cancellation = NEVER) -> list[bytes]:
        """Ask for ranges as `RemoteFile` does: close ones are joined."""
        starts, stops = np.array(ranges, np.int64).reshape(-1, 2).T
        joined = join_ranges(starts, stops - starts)
        self.requests += len(joined)
        small = sum(stop - start <= SMALL_BYTES for start, stop in joined)
        self.trips += math.ceil(
            small / self.limit.small_requests + (len(joined) - small) / self.limit.requests
        )
        self.nbytes += sum(stop - start for start, stop in joined)
        return [os.pread(self.descriptor, stop - start, start) for start, stop in ranges]

    def stop(self) -> None:
        """Stop the clock."""
        self.processor_s += time.process_time()
        os.close(self.descriptor)

    @property
    def seconds(self) -> float:
        return self.processor_s + self.trips * self.latency_s + self.nbytes / self.bytes_per_s

    def __str__(self) -> str:
        return (
            f"{self.trips:6} trips {self.requests:6} requests {self.nbytes / 1e6:8.2f} MB "
            f"{self.seconds:7.2f} s"
        )


class _SlowFile(AbstractBufferedFile):
    """What fsspec's file systems hand to h5py."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fs.network.fetch([(start, end)])[0]


class _SlowFiles(fsspec.AbstractFileSystem):
    cachable: ClassVar[bool] = False

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "size": self.network.size_bytes, "type": "file"}

    def _open(self, path: str, mode: str = "rb", **options: Any) -> _SlowFile:
        return _SlowFile(self, path, mode, **options)


class _Recorder(io.RawIOBase):
    """A file object that remembers what is read."""

    def __init__(self, network: Network) -> None:
        self.network, self.at, self.touched = network, 0, Extents()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.network.size_bytes}
        self.at = base[whence] + offset
        return self.at

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self.network.descriptor, len(memoryview(buffer)), self.at)
        memoryview(buffer)[: len(data)] = data
        self.touched.add(self.at, data)
        self.at += len(data)
        return len(data)


@dataclass(frozen=True)
class _OpenedSource:
    """A file object that h5py reads from."""

    name: str
    raw: Any
    size_bytes: int
    alone: ClassVar[bool] = True

    def run(self, action: Callable[[Any], Any]) -> Any:
        with h5py.File(self.raw, "r") as file:
            return action(file)

    def fingerprint(self, holder: str) -> Fingerprint:
        return Fingerprint(self.size_bytes)

    def read(self, holder: str, offset: int, size: int) -> bytes:
        self.raw.seek(offset)
        return self.raw.read(size)


@dataclass(frozen=True)
class Settings:
    """What is asked for ahead, and over which network."""

    latency_s: float = 0.03
    bytes_per_s: float = 125e6
    limit: ConcurrencyLimit = field(default_factory=ConcurrencyLimit)
    head_bytes: int = HEAD_BYTES
    sizes: PrefetchSizes = field(default_factory=PrefetchSizes)

    def network(self, path: Path) -> Network:
        return Network(path, self.latency_s, self.bytes_per_s, self.limit)


def scan_ours(path: Path, settings: Settings, names: Sequence[str] | None) -> tuple[Network, Any]:
    """Do what a stream does before its first window."""
    network = settings.network(path)
    head = network.fetch([(0, min(settings.head_bytes, network.size_bytes))])[0]
    source = PartialFile("a.h5", Fingerprint(network.size_bytes), network.fetch, settings.sizes)
    source.keep(0, head)
    wanted = Wanted(None if names is None else {name: name for name in names})
    layout = scan_chosen(source, wanted.choose).layout
    network.stop()
    return network, layout


def scan_h5py(path: Path, settings: Settings, names: Sequence[str], cache: str) -> Network:
    """List the same chunks on fsspec's file object."""
    network = settings.network(path)
    with _SlowFiles(network).open("a.h5", cache_type=cache) as raw:
        scan_file("a.h5", names, source=_OpenedSource("a.h5", raw, network.size_bytes))
    network.stop()
    return network


def touched_bytes(path: Path, settings: Settings, names: Sequence[str]) -> int:
    """Count the bytes that HDF5 reads to list the same chunks."""
    raw = _Recorder(settings.network(path))
    scan_file("a.h5", names, source=_OpenedSource("a.h5", raw, raw.network.size_bytes))
    raw.network.stop()
    return raw.touched.nbytes


def compare(path: Path, wanted: Sequence[str] | None, settings: Settings, caches: Any) -> None:
    ours, layout = scan_ours(path, settings, wanted)
    names = list(layout.datasets)
    touched = touched_bytes(path, settings, names)
    print(f"{path.stem}: {ours.size_bytes / 1e6:.1f} MB, HDF5 touches {touched / 1e6:.3f} MB")
    print(f"  h5stream {ours}")
    others = {cache: scan_h5py(path, settings, names, cache) for cache in caches}
    if others:
        best = min(others, key=lambda cache: others[cache].seconds)
        ratio = others[best].seconds / ours.seconds
        print(f"  h5py     {others[best]}   ({best}) {ratio:.1f} times as long")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--delay", type=float, default=0.03, help="seconds")
    parser.add_argument("--gbit", type=float, default=1.0, help="a second")
    parser.add_argument("--requests", type=int, default=None, help="in flight at once")
    parser.add_argument("--head", type=int, default=HEAD_BYTES, help="bytes of the first request")
    for knob in fields(PrefetchSizes):
        name = f"--{knob.name.replace('_', '-')}"
        parser.add_argument(name, type=int, default=knob.default, help="see PrefetchSizes")
    parser.add_argument("--no-h5py", action="store_true")
    parser.add_argument("--folder", type=Path, default=None, help="keep the files here")
    arguments = parser.parse_args()
    knobs = (knob.name for knob in fields(PrefetchSizes))
    sizes = PrefetchSizes(**{name: getattr(arguments, name) for name in knobs})
    settings = Settings(
        arguments.delay,
        arguments.gbit * 1e9 / 8,
        ConcurrencyLimit(arguments.requests),
        arguments.head,
        sizes,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        folder.mkdir(exist_ok=True, parents=True)
        for kind in arguments.files:
            path = folder / f"{kind}.h5"
            if not path.exists():
                FILES[kind].write(path)
            compare(path, FILES[kind].fields, settings, () if arguments.no_h5py else CACHES)


if __name__ == "__main__":
    main()
