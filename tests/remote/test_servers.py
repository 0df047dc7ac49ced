"""Names and servers out of the ordinary: each is read as it is, or told in one error."""

from __future__ import annotations

import base64
import gc
import gzip
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

import h5stream as h5s
from tests.remote.nginx import Nginx, nginx
from tests.remote.s3 import S3
from tests.remote.serving import ranges_of, serving
from tests.streams import rows_of, threads, write_rows

N_ROWS = 40

NAMES = [
    "a b.h5",
    "a#b.h5",
    "a?b.h5",
    "a+b.h5",
    "a%2Fb.h5",
    "a%20b.h5",
    "ü 日本.h5",
    "a&b=c;d'e.h5",
    "a::b.h5",
    "a@b:c.h5",
]


@pytest.fixture(scope="module")
def path(served: Path) -> Path:
    return Path(write_rows(served / "servers.h5", N_ROWS, chunk_rows=2))


def rows_at(url: str, **options: Any) -> list[int]:
    return rows_of(h5s.H5Stream(url, ["row"], batch_size=7, layout=False, **options))


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read_over_http(name: str, path: Path, server: Nginx, served: Path) -> None:
    (served / name).write_bytes(path.read_bytes())
    assert rows_at(f"{server.url}/{quote(name)}") == list(range(N_ROWS))
    (served / name).unlink()


@pytest.mark.parametrize("name", ["root.h5", "deep//a.h5", *NAMES])
def test_any_key_is_read_from_s3(name: str, path: Path, s3: S3) -> None:
    assert rows_at(s3.put(path, name), storage_options=s3.options()) == list(range(N_ROWS))


def test_a_pattern_looks_into_all_folders_below(path: Path, s3: S3) -> None:
    for name in ("below/a.h5", "below/1/b.h5", "below/1/2/c.h5"):
        s3.put(path, name)
    stream = h5s.H5Stream("s3://bucket/below/**/*.h5", ["row"], storage_options=s3.options())
    assert stream.catalog.n_rows == 3 * N_ROWS


@pytest.mark.parametrize("account", ["", "me:pa55word@"])
def test_a_server_may_be_named_by_its_ipv6_address(account: str, path: Path) -> None:
    with serving(ranges_of(path), host="::1") as port:
        assert rows_at(f"http://{account}[::1]:{port}/a.h5") == list(range(N_ROWS))


@pytest.mark.parametrize("n_rows", [0, 1])
def test_a_file_of_hardly_any_row(n_rows: int, served: Path, server: Nginx) -> None:
    write_rows(served / "hardly.h5", n_rows)
    if n_rows:
        assert rows_at(f"{server.url}/hardly.h5") == [0]
    else:
        with pytest.raises(h5s.ConfigError, match="no rows to stream in http"):
            rows_at(f"{server.url}/hardly.h5")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_keeps_the_range_and_not_the_credentials(status: int, path: Path) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await ranges_of(path)(request)

    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": f"http://localhost:{other}/b.h5"})

    with serving(answer) as other, serving(redirect) as port:
        url = f"http://me:pa55word@127.0.0.1:{port}/a.h5"
        assert rows_at(url) == list(range(N_ROWS))
        options = {"headers": {"Authorization": "Bearer t0ken", "Cookie": "id=1"}}
        assert rows_at(f"http://127.0.0.1:{port}/a.h5", storage_options=options)
    assert seen
    for request in seen:
        assert "Range" in request.headers
        assert not {"Authorization", "Cookie"} & request.headers.keys()


def test_a_redirect_without_end_is_told_at_once() -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": str(request.url)})

    with serving(redirect) as port, pytest.raises(h5s.FetchError, match="redirects without end"):
        rows_at(f"http://127.0.0.1:{port}/a.h5")


def test_a_server_that_compresses_files_is_told(path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = gzip.compress(path.read_bytes())
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    with serving(answer) as port, pytest.raises(h5s.FetchError, match="the server compresses"):
        rows_at(f"http://127.0.0.1:{port}/a.h5")


def test_an_account_in_the_url_opens_the_file_and_is_not_told(path: Path) -> None:
    expected = "Basic " + base64.b64encode(b"me:p@ss/w?rd").decode()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401)
        return await ranges_of(path)(request)

    with serving(answer) as port:
        assert rows_at(f"http://me:p%40ss%2Fw%3Frd@127.0.0.1:{port}/a.h5") == list(range(N_ROWS))
        with pytest.raises(h5s.FetchError, match="credentials are missing, wrong") as raised:
            rows_at(f"http://me:wr0ngwr0ng@127.0.0.1:{port}/a.h5")
    assert "wr0ng" not in str(raised.value)


def test_a_proxy_of_the_environment_is_used_if_asked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(ranges_of(path)) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        options = {"client_kwargs": {"trust_env": True}}
        assert rows_at("http://nosuch.invalid/a.h5", storage_options=options)


def test_a_server_that_comes_back_is_waited_for(path: Path, served: Path, tmp_path: Path) -> None:
    with nginx(served, tmp_path / "first") as server:
        url = f"{server.url}/{path.name}"
        pipe = h5s.open_files(url, ["row"], layout=False).list_chunks(1).read_chunks(prefetch=1)
        running = iter(pipe)
        first = next(running)["row"].tolist()
    back = threading.Event()

    def bring_back() -> None:
        with nginx(served, tmp_path / "second", server.port):
            back.wait(60)

    again = threading.Thread(target=bring_back)
    again.start()
    try:
        assert first + rows_of(running) == list(range(N_ROWS))
    finally:
        back.set()
        again.join()


def test_streams_of_several_servers_run_side_by_side(
    path: Path, server: Nginx, served: Path, tmp_path: Path
) -> None:
    with nginx(served, tmp_path / "other") as other:
        urls = [f"{each.url}/{path.name}" for each in (server, other)]
        pairs = zip(*(h5s.H5Stream(url, ["row"], batch_size=7) for url in urls), strict=True)
        assert all((a["row"] == b["row"]).all() for a, b in pairs)
        assert rows_of(h5s.H5Stream(urls, ["row"], batch_size=7)) == [*range(N_ROWS)] * 2


def test_streams_that_are_left_keep_no_socket_and_no_thread(path: Path, server: Nginx) -> None:
    def held() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    rows_at(f"{server.url}/{path.name}")  # starts the loop
    before = held()
    for _ in range(30):
        stream = h5s.H5Stream(f"{server.url}/{path.name}", ["row"], batch_size=1, layout=False)
        next(iter(stream))
        del stream
    deadline = time.monotonic() + 10
    while (held() > before or threads()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held() <= before
    assert threads() == []
