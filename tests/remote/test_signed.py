"""Rows of S3 are asked for with signed URLs, and with calls where those are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import h5stream as h5s
from tests.remote.faults import Proxy, faulty
from tests.remote.s3 import S3
from tests.streams import rows_of, write_rows

N_ROWS = 60


class Watched(Proxy):
    """A proxy that can refuse signed URLs, and remembers what it was asked for."""

    refuses = 0
    calls = 0
    payers = 0
    signatures: set[str]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Count how requests prove who sent them."""
        signature = request.query.get("X-Amz-Signature")
        self.payers += request.headers.get("x-amz-request-payer") == "requester"
        if signature is None:
            self.calls += 1
            return await super().answer(request)
        self.signatures.add(signature)
        if self.refuses:
            self.refuses -= 1
            return web.Response(status=403, text="<Code>AccessDenied</Code>")
        return await super().answer(request)


@pytest.fixture
def url(s3: S3, tmp_path: Path) -> str:
    return s3.put(write_rows(tmp_path / "a.h5", N_ROWS), "signed/a b+c.h5")


@pytest.fixture
def watched(s3: S3) -> Iterator[Watched]:
    with faulty(f"http://127.0.0.1:{s3.port}", Watched) as proxy:
        proxy.signatures = set()
        yield proxy


def make(url: str, s3: S3, proxy: Proxy, **options: Any) -> h5s.Pipe:
    storage = {**s3.options(proxy.port), **options}
    pipe = h5s.open_files(url, ["row", "x"], storage_options=storage, layout=False)
    pipe = pipe.list_chunks(1).read_chunks()
    len(pipe)
    return pipe


def test_one_signature_serves_all_ranges_of_an_object(url: str, s3: S3, watched: Watched) -> None:
    pipe = make(url, s3, watched)
    scanned = watched.calls
    for _epoch in range(2):
        assert rows_of(pipe) == list(range(N_ROWS))
    assert len(watched.signatures) == 1
    assert watched.calls == scanned
    assert watched.requests > scanned + 2


def test_anonymous_requests_have_no_signature(s3: S3, watched: Watched, tmp_path: Path) -> None:
    url = s3.put(write_rows(tmp_path / "a.h5", N_ROWS), "signed/public.h5", "public-read")
    options = {"key": None, "secret": None, "anon": True}
    assert rows_of(make(url, s3, watched, **options)) == list(range(N_ROWS))
    assert watched.signatures == set()


def test_what_is_refused_to_one_signature_is_asked_for_with_another(
    url: str, s3: S3, watched: Watched
) -> None:
    pipe = make(url, s3, watched)
    scanned = watched.calls
    watched.refuses = 1
    assert rows_of(pipe) == list(range(N_ROWS))
    assert watched.calls == scanned + 1
    rest = watched.requests
    assert rows_of(pipe) == list(range(N_ROWS))
    assert watched.calls == scanned + 1
    assert watched.requests > rest


def test_a_bucket_that_wants_no_signed_urls_is_asked_with_calls(
    url: str, s3: S3, watched: Watched
) -> None:
    pipe = make(url, s3, watched)
    watched.refuses = 10**6
    for _epoch in range(2):
        assert rows_of(pipe) == list(range(N_ROWS))
    refused = watched.refuses
    assert rows_of(pipe) == list(range(N_ROWS))
    assert watched.refuses == refused


def test_requests_that_need_more_than_a_url_are_calls(url: str, s3: S3, watched: Watched) -> None:
    pipe = make(url, s3, watched, requester_pays=True)
    assert rows_of(pipe) == list(range(N_ROWS))
    assert watched.signatures == set()
    assert watched.payers == watched.calls > 1


@pytest.mark.parametrize("kind", ["reset", "500", "404", "replaced"])
def test_errors_do_not_tell_signatures(kind: str, url: str, s3: S3, watched: Watched) -> None:
    storage = s3.options(watched.port)
    pipe = h5s.open_files(url, ["row"], storage_options=storage, layout=False, retry_s=0.3)
    pipe = pipe.list_chunks(1).read_chunks()
    len(pipe)
    watched.script = lambda number: kind
    with pytest.raises(h5s.FetchError) as raised:
        list(pipe)
    assert raised.value.url == url
    for told in ("X-Amz", "Signature", s3.key, s3.secret, *watched.signatures):
        assert told not in f"{raised.value} {raised.value!r} {raised.value.__context__}"
