"""Google Cloud Storage: generations, credentials, and what is told when something goes wrong."""

from __future__ import annotations

import datetime
import json
import pickle
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import h5stream as h5s
from tests.remote.faults import TRANSIENT, Proxy, faulty
from tests.remote.gcs import PAYING, PRIVATE, Gcs, Refused
from tests.streams import rows_of, write_rows

N_ROWS = 60
ROWS = list(range(N_ROWS))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Path(write_rows(tmp_path_factory.mktemp("gcs") / "rows.h5", N_ROWS)).read_bytes()


@pytest.fixture(autouse=True)
def quiet(gcs: Gcs) -> None:
    """Let no test see what another left; requests that nobody waits for any more still arrive."""
    gcs.tokens.clear()
    gcs.refusals.clear()
    while gcs.requests:
        gcs.requests.clear()
        time.sleep(0.1)
    gcs.refuses_renewal = False


@pytest.fixture
def between(gcs: Gcs) -> Iterator[Proxy]:
    with faulty(gcs.url) as proxy:
        yield proxy


def stream(url: str, options: dict[str, Any], **more: Any) -> h5s.Pipe:
    """Stream row chunks of one chunk each, so that there are many requests."""
    pipe = h5s.open_files(url, ["row", "x"], storage_options=options, layout=False, **more)
    return pipe.list_chunks(1).read_chunks(prefetch=1)


def test_a_stream_asks_for_nothing_but_ranges(gcs: Gcs, file: bytes) -> None:
    pipe = stream(gcs.put(file, "rows.h5"), gcs.options())
    assert rows_of(pipe) == ROWS
    assert set(gcs.requests) == {"download"}
    version = pipe.catalog.files[0].fingerprints["gs://bucket/rows.h5"].version
    assert version == f"generation {gcs.objects['bucket', 'rows.h5'][0]}"


def test_no_host_is_asked_but_the_endpoint(
    gcs: Gcs, file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: set[str] = set()
    connect, resolve = socket.socket.connect, socket.getaddrinfo
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, to: hosts.add(to[0]) or connect(self, to)
    )
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **kw: hosts.add(host) or resolve(host, *more, **kw),
    )
    url = gcs.put(file, "rows.h5", PRIVATE)
    assert rows_of(stream(url, gcs.options(token=gcs.user(None)))) == ROWS
    gcs.put(file, "asked/1.h5")
    assert rows_of(stream("gs://bucket/asked/*.h5", gcs.options())) == ROWS
    assert hosts == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["a b+c#d%20e&f=g.h5", "größe/ñ:@$,;.h5", "a//b.h5", "~'!().h5"])
def test_names_are_quoted(name: str, gcs: Gcs, file: bytes) -> None:
    assert rows_of(stream(gcs.put(file, name), gcs.options())) == ROWS


def test_both_protocols_are_known(gcs: Gcs, file: bytes) -> None:
    gcs.put(file, "both/1.h5")
    for url in ("gcs://bucket/both/1.h5", "gcs://bucket/both/*.h5"):
        assert rows_of(stream(url, gcs.options())) == ROWS


@pytest.mark.parametrize("kind", TRANSIENT)
def test_each_fault_that_passes_is_got_over(
    kind: str, gcs: Gcs, file: bytes, between: Proxy
) -> None:
    timeout = aiohttp.ClientTimeout(sock_connect=2, sock_read=0.2)
    options = gcs.options(between.port, requests_timeout=timeout)
    pipe = stream(gcs.put(file, "faulty.h5"), options)
    len(pipe)
    between.script = lambda number: kind if number % 5 == 2 else None
    assert rows_of(pipe) == ROWS
    assert kind in between.broken


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("503", r"after \d+ attempts: the server answered 503"),
        ("403", "credentials are missing, wrong or expired"),
        ("replaced", "found .* 'generation \"another\"', expected"),
        ("grown", "the object was replaced or changed"),
    ],
)
def test_a_fault_that_stays_is_told(
    kind: str, says: str, gcs: Gcs, file: bytes, between: Proxy
) -> None:
    pipe = stream(gcs.put(file, "faulty.h5"), gcs.options(between.port), retry_s=0.5)
    len(pipe)
    between.script = lambda number: kind
    with pytest.raises(h5s.FetchError, match=says) as raised:
        list(pipe)
    assert raised.value.url == "gs://bucket/faulty.h5"
    assert raised.value.__cause__ is None


def test_listing_is_repeated_in_one_place(gcs: Gcs, file: bytes, between: Proxy) -> None:
    gcs.put(file, "listed/1.h5")
    between.script = lambda number: "500" if number < 2 else None
    url = "gs://bucket/listed/*.h5"
    assert rows_of(stream(url, gcs.options(between.port))) == ROWS
    between.script, before = lambda number: "500", between.requests
    with pytest.raises(h5s.FetchError, match="500") as raised:
        len(stream(url, gcs.options(between.port), retry_s=0.5))
    assert raised.value.attempts == between.requests - before


def test_a_limited_rate_is_waited_for_though_it_is_told_as_403(gcs: Gcs, file: bytes) -> None:
    pipe = stream(gcs.put(file, "rows.h5"), gcs.options())
    len(pipe)
    gcs.refusals.append(Refused(403, "rateLimitExceeded: too many requests"))
    assert rows_of(pipe) == ROWS
    assert pipe.stats()["retries"] == 1


def test_an_object_that_is_replaced_is_an_error_and_never_a_mix(gcs: Gcs, file: bytes) -> None:
    pipe = stream(gcs.put(file, "replaced.h5"), gcs.options())
    blocks = iter(pipe)
    next(blocks)
    gcs.put(file, "replaced.h5")
    with pytest.raises(h5s.FetchError, match=r"answered 412 .*replaced or changed"):
        list(blocks)


def test_an_object_that_is_removed_is_told(gcs: Gcs, file: bytes) -> None:
    pipe = stream(gcs.put(file, "removed.h5"), gcs.options())
    len(pipe)
    del gcs.objects["bucket", "removed.h5"]
    with pytest.raises(h5s.FetchError, match=r"No such object.*or no longer"):
        list(pipe)


def test_one_generation_can_be_asked_for(gcs: Gcs, file: bytes) -> None:
    url = gcs.put(file, "pinned.h5")
    generation = gcs.objects["bucket", "pinned.h5"][0]
    assert rows_of(stream(f"{url}?generation={generation}", gcs.options())) == ROWS
    assert rows_of(stream(f"{url}#{generation}", gcs.options())) == ROWS
    with pytest.raises(h5s.LayoutError, match="no such object"):
        len(stream(f"{url}?generation={generation - 1}", gcs.options()))


@pytest.mark.parametrize("url", ["gs://bucket/none.h5", "gs://none/a.h5", "gs://none/*.h5"])
def test_what_is_not_there_is_told_at_once(url: str, gcs: Gcs, file: bytes) -> None:
    gcs.put(file, "rows.h5")
    with pytest.raises(h5s.LayoutError, match=r"after 1 attempt.*no such object"):
        len(stream(url, gcs.options()))
    assert len(gcs.requests) == 1


def test_an_empty_object_is_told(gcs: Gcs) -> None:
    with pytest.raises(h5s.LayoutError, match="not HDF5"):
        len(stream(gcs.put(b"", "empty.h5"), gcs.options()))


def test_an_object_that_the_server_unpacks_is_told(gcs: Gcs, file: bytes) -> None:
    url = gcs.put(file, "packed.h5")
    gcs.encodings["bucket", "packed.h5"] = "gzip"
    with pytest.raises(h5s.FetchError, match=r"after 1 attempt: .* Content-Encoding gzip"):
        len(stream(url, gcs.options()))


def test_the_one_who_asks_may_have_to_pay(gcs: Gcs, file: bytes) -> None:
    url = gcs.put(file, "rows.h5", PAYING)
    with pytest.raises(h5s.FetchError, match=r"answered 400 .*requester pays"):
        len(stream(url, gcs.options()))
    assert rows_of(stream(url, gcs.options(requester_pays="payer"))) == ROWS
    assert rows_of(stream(url, gcs.options(requester_pays=True, project="payer"))) == ROWS


@pytest.mark.parametrize("name", ["rows.h5", "*.h5"])
@pytest.mark.parametrize("token", ["anonymous", "wrong"])
def test_missing_and_wrong_credentials_are_told(
    token: str, name: str, gcs: Gcs, file: bytes
) -> None:
    gcs.put(file, "rows.h5", PRIVATE)
    gcs.refuses_renewal = True
    given = {"anonymous": "anon", "wrong": gcs.user("wr0ngwr0ng")}[token]
    with pytest.raises(h5s.FetchError, match="credentials are missing, wrong") as raised:
        len(stream(f"gs://{PRIVATE}/{name}", gcs.options(token=given)))
    for secret in ("wr0ng", "refr3sh", "cl13nt"):
        assert secret not in str(raised.value)
    assert gcs.requests.count("token") == (token == "wrong")


def test_a_forbidden_listing_is_told(gcs: Gcs, file: bytes) -> None:
    gcs.put(file, "rows.h5")
    gcs.refusals.append(Refused(403, "reader does not have storage.objects.list access"))
    with pytest.raises(h5s.FetchError, match=r"storage\.objects\.list access.*credentials are"):
        len(stream("gs://bucket/*.h5", gcs.options()))


def test_a_token_that_the_server_takes_no_more_is_renewed_once(gcs: Gcs, file: bytes) -> None:
    gcs.tokens.add("t0kent0ken")
    url = gcs.put(file, "rows.h5", PRIVATE)
    pipe = h5s.open_files(
        url, ["row", "x"], storage_options=gcs.options(token=gcs.user("t0kent0ken")), layout=False
    )
    pipe = pipe.list_chunks(1).read_chunks(prefetch=32)  # many are refused at once
    len(pipe)
    gcs.tokens.clear()
    assert rows_of(pipe) == ROWS
    assert gcs.requests.count("token") == 1
    gcs.tokens.clear()
    with pytest.raises(h5s.FetchError, match=r"Invalid Credentials.*credentials are"):
        list(pipe)
    assert gcs.requests.count("token") == 1


def test_a_token_that_says_it_has_expired_is_not_tried(gcs: Gcs, file: bytes) -> None:
    url = gcs.put(file, "rows.h5", PRIVATE)
    then = datetime.datetime(2020, 1, 1)  # Google's library knows no zones
    user = gcs.user("0ld", expiry=then)
    assert rows_of(stream(url, gcs.options(token=user))) == ROWS
    assert gcs.requests[0] == "token"
    assert gcs.requests.count("token") == 1


def test_credentials_that_cannot_be_had_are_told(gcs: Gcs, file: bytes) -> None:
    url = gcs.put(file, "rows.h5", PRIVATE)
    gcs.refuses_renewal = True
    with pytest.raises(h5s.FetchError, match=r"RefreshError: invalid_grant.*credentials are"):
        len(stream(url, gcs.options(token=gcs.user(None))))
    assert "download" not in gcs.requests


@pytest.mark.parametrize("given", ["dict", "file"])
def test_the_key_of_a_service_account_works_and_is_told_nowhere(
    given: str, gcs: Gcs, file: bytes, tmp_path: Path
) -> None:
    key = gcs.service_account()
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    url = gcs.put(file, "rows.h5", PRIVATE)
    pipe = stream(url, gcs.options(token=key if given == "dict" else str(path)))
    assert rows_of(pipe) == ROWS
    secrets = [*key["private_key"].splitlines(), key["private_key_id"], *gcs.tokens, str(path)]
    told = pickle.dumps(pipe).decode("latin-1") + repr(pipe.stages) + repr(pipe.catalog.access)
    gcs.tokens.clear()
    gcs.refuses_renewal = True
    with pytest.raises(h5s.FetchError, match="Invalid Credentials") as raised:
        list(pipe)
    for secret in secrets:
        assert secret not in told + str(raised.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for protocol in ("gs", "gcs"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
        monkeypatch.setitem(sys.modules, "gcsfs", None)
        with pytest.raises(h5s.ConfigError, match=r"pip install 'h5stream\[gcs\]'"):
            len(h5s.open_files(f"{protocol}://bucket/a.h5"))
