"""Streams a file from nginx over a slow network, beside the limit and h5py over fsspec.

For each latency and chunk size, in one run: chunks and bytes a second of h5stream, shuffled; of the
same ranges asked for with the same number in flight, and thrown away; of h5py on fsspec's file
object, with the best of its caches, reading chunks in random order. Then what an epoch and the
first batch cost in requests, bytes and round trips, as the server's log has them.

    python -m benchmarks.remote --help
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import fsspec
import h5py
import numpy as np

import h5stream as h5s
from h5stream.fetch.remote.file import RemoteFile
from tests.remote.delay import delayed
from tests.remote.nginx import Nginx, nginx

ROW_BYTES = 1024
CACHES = ("readahead", "bytes", "blockcache", "none")
Span = tuple[int, int]


def write_file(path: Path, chunk_bytes: int, total_bytes: int, compression: str | None) -> None:
    """Write rows of bytes; half of each row repeats, so that compression has something to do."""
    generator = np.random.default_rng(0)
    rows = total_bytes // ROW_BYTES
    with h5py.File(path, "w") as file:
        x = file.create_dataset(
            "x",
            (rows, ROW_BYTES),
            "u1",
            chunks=(chunk_bytes // ROW_BYTES, ROW_BYTES),
            compression=compression,
        )
        step = 2**24 // ROW_BYTES
        for start in range(0, rows, step):
            part = generator.integers(0, 256, (min(step, rows - start), ROW_BYTES), np.uint8)
            x[start : start + len(part)] = part


def make_stream(url: str, requests: int | None, **options: object) -> h5s.H5Stream:
    return h5s.H5Stream(
        url, {"x": "x"}, batch_size=256, shuffle=True, output="numpy", requests=requests, **options
    )


def run_epoch(stream: h5s.H5Stream) -> float:
    """Stream one epoch; return seconds."""
    started = time.perf_counter()
    for _batch in stream:
        pass
    return time.perf_counter() - started


@contextmanager
def recorded() -> Iterator[list[Span]]:
    """Collect the ranges that are asked for, in order."""
    spans: list[Span] = []
    ask = RemoteFile._ask

    def recording(self: RemoteFile, wanted: Sequence[Span]) -> object:
        spans.extend(wanted)
        return ask(self, wanted)

    RemoteFile._ask = recording  # type: ignore[assignment, method-assign]
    try:
        yield spans
    finally:
        RemoteFile._ask = ask  # type: ignore[method-assign]


@contextmanager
def counted_turns() -> Iterator[list[int]]:
    """Count how often a scan waits for an answer: once for each full set of requests in flight."""
    turns: list[int] = []
    fetch, opened = RemoteFile.fetch, RemoteFile.open

    def fetching(self: RemoteFile, ranges: Sequence[Span]) -> list[bytes]:
        turns.append(-(-len(ranges) // self._connection.queue.limit.small_requests))
        return fetch(self, ranges)

    def opening(self: RemoteFile, head_bytes: int) -> object:
        turns.append(1)
        return opened(self, head_bytes)

    RemoteFile.fetch, RemoteFile.open = fetching, opening  # type: ignore[assignment, method-assign]
    try:
        yield turns
    finally:
        RemoteFile.fetch, RemoteFile.open = fetch, opened  # type: ignore[method-assign]


async def fetch_raw(url: str, spans: Sequence[Span], requests: int) -> float:
    """Ask for ranges with so many in flight and throw them away; return seconds."""
    waiting = iter(spans)

    async def work(session: aiohttp.ClientSession) -> None:
        for start, stop in waiting:
            headers = {"Range": f"bytes={start}-{stop - 1}"}
            async with session.get(url, headers=headers, read_bufsize=2**20) as answer:
                assert len(await answer.read()) == stop - start

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        started = time.perf_counter()
        await asyncio.gather(*(work(session) for _ in range(requests)))
        return time.perf_counter() - started


def read_h5py(url: str, cache: str, seconds: float) -> float:
    """Read chunks in random order through fsspec's file object; return chunks a second."""
    filesystem = fsspec.filesystem("http", skip_instance_cache=True)
    with filesystem.open(url, cache_type=cache) as raw, h5py.File(raw, "r") as file:
        x = file["x"]
        rows = x.chunks[0]
        order = np.random.default_rng(0).permutation(len(x) // rows)
        started, done = time.perf_counter(), 0
        for chunk in order.tolist():
            x[chunk * rows : (chunk + 1) * rows]
            done += 1
            if time.perf_counter() - started > seconds:
                break
        return done / (time.perf_counter() - started)


def log_since(server: Nginx, count: int) -> tuple[int, int]:
    """Return requests and bytes since the log had so many lines."""
    time.sleep(0.2)
    rows = server.requests()[count:]
    return len(rows), sum(nbytes for _status, nbytes, _path in rows)


def make_s3_stream(url: str, requests: int | None) -> h5s.H5Stream:
    """Stream the same file as an object of S3: its folder is the bucket."""
    host, bucket, key = url.rsplit("/", 2)
    options = {"key": "AKIAIOSFODNN7EXAMPLE", "secret": "example", "endpoint_url": host}
    return make_stream(f"s3://{bucket}/{key}", requests, storage_options=options)


def compare(
    server: Nginx, url: str, path: Path, requests: int | None, epochs: int, seconds: float
) -> None:
    with h5py.File(path) as file:
        chunks, stored = file["x"].id.get_num_chunks(), file["x"].id.get_storage_size()
    stream = make_stream(url, requests)
    s3_stream = make_s3_stream(url, requests)
    for each in (stream, s3_stream):
        run_epoch(each)  # concurrency limit and buffers
    in_flight = stream.catalog.access.limit
    ours, raw, s3, per_epoch = [], [], [], []
    for _epoch in range(epochs):
        before = len(server.requests())
        with recorded() as spans:
            ours.append(run_epoch(stream))
        per_epoch.append(log_since(server, before))
        raw.append(asyncio.run(fetch_raw(url, spans, in_flight)))
        s3.append(run_epoch(s3_stream))
    slow = {cache: read_h5py(url, cache, seconds) for cache in CACHES}
    best = max(slow, key=slow.__getitem__)
    # Others only make a run slower.
    rate, limit, over_s3 = (chunks / min(seconds) for seconds in (ours, raw, s3))
    ratio = rate / limit
    count, nbytes = per_epoch[-1]
    size = stored / chunks
    print(
        f"  h5stream {rate:9.0f} chunks/s {rate * size / 1e6:7.1f} MB/s   "
        f"limit {limit:9.0f} chunks/s {limit * size / 1e6:7.1f} MB/s   {ratio:5.2f} of the limit\n"
        f"  h5py     {slow[best]:9.1f} chunks/s ({best})   {rate / slow[best]:.0f} times slower\n"
        f"  over S3  {over_s3:9.0f} chunks/s   {over_s3 / limit:5.2f} of the limit\n"
        f"  epoch    {count} requests, {in_flight} at once, {nbytes / stored:.3f} of what is stored"
    )


def starts(server: Nginx, url: str, folder: Path) -> None:
    """Print what it takes until the first batch, cold and from a saved layout."""
    sidecar = folder / "layout.npz"
    for name in ("cold", "saved layout"):
        before = len(server.requests())
        stream = make_stream(url, None, layout=False if name == "cold" else sidecar)
        started = time.perf_counter()
        with counted_turns() as turns:
            stream.catalog  # noqa: B018 - scans
        scanned = time.perf_counter() - started
        count, _nbytes = log_since(server, before)
        started = time.perf_counter()
        iterator = iter(stream)
        next(iterator)
        first = time.perf_counter() - started
        iterator.close()
        if name == "cold":
            h5s.index_files(url, sidecar, fields=["x"])
        print(
            f"  {name:13} {count} requests in {sum(turns)} round trips ({scanned:.2f} s) before "
            f"the first window, which took {first:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--delays", type=float, nargs="+", default=[0.005, 0.03, 0.1], help="seconds"
    )
    parser.add_argument("--chunks", type=int, nargs="+", default=[64 * 2**10, 2**20], help="bytes")
    parser.add_argument("--total", type=int, default=2**29, help="bytes")
    parser.add_argument("--gbit", type=float, nargs="+", default=[0.0, 1.0], help="0: no bound")
    parser.add_argument("--requests", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=6, help="the best counts")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each cache of fsspec")
    parser.add_argument("--compression", default=None)
    parser.add_argument("--no-starts", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files" / "bucket").mkdir(parents=True)
        with nginx(folder / "files", folder / "state") as server:
            for chunk_bytes in arguments.chunks:
                path = folder / "files" / "bucket" / f"{chunk_bytes}.h5"
                write_file(path, chunk_bytes, arguments.total, arguments.compression)
                for gbit in arguments.gbit:
                    for delay_s in arguments.delays:
                        with delayed(server.port, delay_s, gbit * 1e9 / 8) as port:
                            url = f"http://127.0.0.1:{port}/bucket/{path.name}"
                            bound = f"{gbit:g} Gbit/s" if gbit else "no bound"
                            print(f"{chunk_bytes // 1024} KiB, {delay_s * 1e3:g} ms, {bound}")
                            compare(
                                server,
                                url,
                                path,
                                arguments.requests,
                                arguments.epochs,
                                arguments.seconds,
                            )
                            if not arguments.no_starts:
                                starts(server, url, folder)


if __name__ == "__main__":
    main()
