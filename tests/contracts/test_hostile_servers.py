"""Servers that lie, stall, repeat and send too much: an error of ours or the right rows, soon."""

from __future__ import annotations

import asyncio
import itertools
import resource
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

import h5stream as h5s
from h5stream.fetch.remote import file as remote_file
from h5stream.fetch.remote.connection_pool import ConnectionPool
from tests.contracts.hostile import Answer, Asked, hostile, ranged
from tests.streams import rows_of, write_rows

N = 400
TAG = 'ETag: "1"'
MODIFIED = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Path(write_rows(tmp_path_factory.mktemp("hostile") / "a.h5", N)).read_bytes()


@pytest.fixture(autouse=True)
def short_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an attempt half a second, and nothing for its bytes."""
    monkeypatch.setattr(remote_file, "_ATTEMPT_S", 0.5)
    monkeypatch.setattr(remote_file, "_LEAST_BYTES_PER_S", 2**40)


def stream(url: str, **options: Any) -> h5s.H5Stream:
    options = {"batch_size": 50, "retry_s": 1.0, "layout": False, **options}
    return h5s.H5Stream(url, ["row", "x"], **options)


def once_opened(data: bytes, answer: Answer) -> Answer:
    """Answer the first request well, and all others so."""

    def answers(asked: Asked) -> Iterable[bytes]:
        return [ranged(data, asked, TAG)] if asked.number == 0 else answer(asked)

    return answers


def line(text: str) -> bytes:
    return text.encode("latin-1") + b"\r\n"


class Bad:
    """Answers that are wrong in one way each; `data` is what a good server would send."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def good(self, asked: Asked) -> bytes:
        return ranged(self.data, asked, TAG)

    def replaced(self, asked: Asked, old: str, new: str) -> list[bytes]:
        head, _, body = self.good(asked).partition(b"\r\n\r\n")
        assert old.encode() in head
        return [head.replace(old.encode(), new.encode(), 1) + b"\r\n\r\n" + body]

    def shifted_range(self, asked: Asked) -> list[bytes]:
        return self.replaced(asked, f"bytes {asked.start}-", f"bytes {asked.start + 1}-")

    def no_place(self, asked: Asked) -> list[bytes]:
        return self.replaced(asked, "Content-Range", "X-Range")

    def impossible_total(self, asked: Asked) -> list[bytes]:
        return self.replaced(asked, f"/{len(self.data)}", f"/{10**30}")

    def unknown_total(self, asked: Asked) -> list[bytes]:
        return self.replaced(asked, f"/{len(self.data)}", "/*")

    def other_total(self, asked: Asked) -> list[bytes]:
        return self.replaced(asked, f"/{len(self.data)}", f"/{len(self.data) + asked.number + 1}")

    def negative_length(self, asked: Asked) -> list[bytes]:
        return self.replaced(asked, "Content-Length: ", "Content-Length: -")

    def whole_file(self, asked: Asked) -> list[bytes]:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.data)}\r\n{TAG}\r\n\r\n"
        return [head.encode() + self.data]

    def endless_file(self, asked: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n" + line(TAG) + b"\r\n"
        yield from itertools.repeat(bytes(2**16))

    def endless_range(self, asked: Asked) -> Iterator[bytes]:
        yield self.good(asked).partition(b"Content-Length")[0] + b"\r\n"
        yield from itertools.repeat(bytes(2**16))

    def endless_error(self, asked: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 500 Oh\r\nContent-Length: 99999999999\r\n\r\n"
        yield from itertools.repeat(bytes(2**16))

    def endless_head(self, asked: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 206 Partial Content\r\n"
        yield from (line(f"X-{number}: {'y' * 1000}") for number in itertools.count())

    def endless_news(self, asked: Asked) -> Iterator[bytes]:
        while True:
            yield b"HTTP/1.1 102 Processing\r\n\r\n"
            time.sleep(0.01)

    def slow_drip(self, asked: Asked) -> Iterator[bytes]:
        for byte in self.good(asked):
            yield bytes([byte])
            time.sleep(0.05)

    def silence(self, asked: Asked) -> Iterator[bytes]:
        time.sleep(2)
        yield b""

    def short_body(self, asked: Asked) -> list[bytes]:
        return [self.good(asked)[:-1], b""]

    def hung_up(self, asked: Asked) -> list[bytes]:
        return [b""]

    def garbage(self, asked: Asked) -> list[bytes]:
        return [b"\x00\xff" * 100, b""]

    def compressed(self, asked: Asked) -> list[bytes]:
        return [ranged(self.data, asked, TAG, "Content-Encoding: gzip")]

    def two_framings(self, asked: Asked) -> list[bytes]:
        return [ranged(self.data, asked, TAG, "Transfer-Encoding: identity")]

    def chunked_too(self, asked: Asked) -> list[bytes]:
        return [ranged(self.data, asked, TAG, "Transfer-Encoding: chunked")]

    def redirect_to_itself(self, asked: Asked) -> list[bytes]:
        return [b"HTTP/1.1 302 Found\r\nLocation: /a.h5\r\nContent-Length: 0\r\n\r\n"]

    def redirect_to_a_file(self, asked: Asked) -> list[bytes]:
        place = b"Location: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
        return [b"HTTP/1.1 302 Found\r\n" + place]

    def refused(self, asked: Asked) -> list[bytes]:
        return [b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"]


WAYS = sorted(name for name in vars(Bad) if name not in ("good", "replaced", "__init__"))
WAYS = [name for name in WAYS if not name.startswith("__")]
OPENED = {"unknown_total"}
"""Ways that are fine once a file is open."""


@pytest.mark.parametrize("opened", [False, True], ids=["from the first", "once opened"])
@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_stays_bad_is_an_error_of_ours(data: bytes, way: str, opened: bool) -> None:
    answer = getattr(Bad(data), way)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(once_opened(data, answer) if opened else answer) as server:
        pipe = stream(f"{server.url}/a.h5")
        if opened and way in OPENED:
            assert rows_of(pipe) == list(range(N))
            return
        with pytest.raises((h5s.FetchError, h5s.LayoutError), match=r"http://127\.0\.0\.1:\d+/a"):
            rows_of(pipe)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 2**10


@pytest.mark.parametrize(
    "way", ["garbage", "short_body", "hung_up", "shifted_range", "two_framings", "endless_head"]
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_bad_answer_is_asked_for_again(data: bytes, way: str, number: int) -> None:
    bad = Bad(data)

    def answer(asked: Asked) -> Iterable[bytes]:
        is_bad = asked.number == number
        return getattr(bad, way)(asked) if is_bad else [bad.good(asked)]

    with hostile(answer) as server:
        assert rows_of(stream(f"{server.url}/a.h5", retry_s=10.0)) == list(range(N))


STAMPS: dict[str, list[str]] = {
    "none": [],
    "empty": ["ETag: "],
    "two": [TAG, TAG],
    "two different": [TAG, 'ETag: "2"'],
    "another": ['ETag: "2"'],
    "a time": [MODIFIED],
}


@pytest.mark.parametrize("first", [0, 1, 3])
@pytest.mark.parametrize("stamp", STAMPS)
def test_an_answer_without_the_scanned_version_is_no_answer(
    data: bytes, stamp: str, first: int
) -> None:
    """From the first on, and after some answers that had it."""

    def answer(asked: Asked) -> Iterable[bytes]:
        return [ranged(data, asked, *([TAG] if asked.number < first else STAMPS[stamp]))]

    with hostile(answer) as server:
        pipe = stream(f"{server.url}/a.h5")
        if not first:
            assert rows_of(pipe) == list(range(N))
            is_told = "versions" in str(pipe.explain())
            assert is_told == (stamp not in ("another", "a time"))
            return
        with pytest.raises(h5s.FetchError, match="object was replaced or changed"):
            rows_of(pipe)


def test_bytes_that_nobody_asked_for_end_the_connection(data: bytes) -> None:
    """They come at once behind an answer, or a little later, and look like the next answer."""
    for pause_s in (0.0, 0.1):

        def answer(asked: Asked, pause_s: float = pause_s) -> Iterator[bytes]:
            yield ranged(data, asked, TAG)
            time.sleep(pause_s)
            yield ranged(bytes(len(data)), asked, TAG)

        with hostile(answer) as server:
            pipe = stream(f"{server.url}/a.h5", retry_s=10.0)
            for _epoch in range(2):
                assert rows_of(pipe) == list(range(N))
                time.sleep(2 * pause_s)
            assert server.connections > 1


@pytest.mark.parametrize("busy_s", [0.0, 0.02], ids=["seen", "not seen yet"])
def test_bytes_behind_an_answer_are_never_the_answer_for_another_file(busy_s: float) -> None:
    """They were taken from the socket already, or lie there while the loop does something else."""
    sent = threading.Event()

    def answer(asked: Asked) -> Iterator[bytes]:
        yield ranged(b"right" if b"/b" in asked.head else b"first", asked)
        if b"/a" in asked.head:
            yield ranged(b"wrong", asked)
            sent.set()

    async def ask(url: str) -> list[bytes]:
        pool = ConnectionPool(5.0, 5.0)
        found = []
        for name in "ab":
            answered = await pool.get(URL(f"{url}/{name}"), {"Range": "bytes=0-4"}, 5)
            found.append(b"" if answered is None else bytes(answered[1] or b""))
            await asyncio.to_thread(sent.wait, 5) if not busy_s else time.sleep(busy_s)
            await asyncio.sleep(0 if busy_s else 0.02)
        pool.close()
        await asyncio.sleep(0.01)
        return found

    for _turn in range(20):
        sent.clear()
        with hostile(answer) as server:
            first, second = asyncio.run(ask(server.url))
            assert first in (b"first", b"")
            assert second == b"right"


def test_another_server_is_not_told_headers_of_ones_own(data: bytes) -> None:
    secret = b"x-api-key: hunter2"

    def other(asked: Asked) -> Iterable[bytes]:
        return [ranged(data, asked, TAG)]

    with hostile(other) as there:

        def redirect(_asked: Asked) -> Iterable[bytes]:
            place = f"Location: {there.url}/b.h5\r\nContent-Length: 0\r\n\r\n"
            return [b"HTTP/1.1 302 Found\r\n" + place.encode()]

        with hostile(redirect) as here:
            options = {"headers": {"X-Api-Key": "hunter2", "Authorization": "Bearer hunter2"}}
            pipe = stream(f"{here.url}/a.h5", storage_options=options)
            assert rows_of(pipe) == list(range(N))
            assert all(secret in asked.head.lower() for asked in here.requests)
            assert there.requests
            assert not any(b"hunter2" in asked.head for asked in there.requests)


S3_OPTIONS = {"key": "KEY", "secret": "hunter2", "client_kwargs": {"region_name": "us-east-1"}}


@pytest.mark.parametrize(
    "way", ["endless_file", "whole_file", "garbage", "shifted_range", "short_body", "slow_drip"]
)
@pytest.mark.parametrize("opened", [False, True], ids=["from the first", "once opened"])
def test_a_bad_endpoint_of_s3_is_an_error_of_ours(data: bytes, way: str, opened: bool) -> None:
    answer = getattr(Bad(data), way)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(once_opened(data, answer) if opened else answer) as server:
        options = {**S3_OPTIONS, "endpoint_url": server.url}
        pipe = stream("s3://bucket/a.h5", storage_options=options)
        with pytest.raises((h5s.FetchError, h5s.LayoutError), match=r"s3://bucket/a\.h5"):
            rows_of(pipe)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 2**10


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://", "gs://bucket"])
def test_a_bucket_alone_is_told_and_not_asked_for(data: bytes, url: str) -> None:
    with hostile(Bad(data).whole_file) as server:
        s3 = {**S3_OPTIONS, "endpoint_url": server.url}
        options = s3 if url.startswith("s3") else {"token": "anon", "endpoint_url": server.url}
        with pytest.raises(h5s.FetchError, match="names no object: it is bucket/key"):
            rows_of(stream(url, retry_s=60.0, storage_options=options))
        assert not server.requests
