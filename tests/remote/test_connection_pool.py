"""Plain connections: what they understand, what they leave to the full client, what they refuse."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

import h5stream as h5s
from h5stream.fetch.remote.connection_pool import (
    ConnectionPool,
    Head,
    NotUnderstoodError,
    parse_head,
)
from tests.remote.serving import ranges_of, serving
from tests.streams import rows_of, write_rows

HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/9\r\n"
GOOD = HEAD + b"\r\nhello"


@contextlib.asynccontextmanager
async def scripted(
    answers: Sequence[Sequence[bytes]], asked: list[bytes], context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Answer each request with some pieces; an empty one ends the connection."""
    waiting = iter(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in next(waiting, ()):
                    if not piece:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    async with server:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/a%20b?c=1"


def ask(
    *answers: Sequence[bytes], times: int = 1, read_s: float | None = 5.0
) -> tuple[list[tuple[Head, memoryview | None] | None], list[bytes]]:
    asked: list[bytes] = []

    async def run() -> list[tuple[Head, memoryview | None] | None]:
        pool = ConnectionPool(5.0, read_s)
        async with scripted(answers, asked) as url:
            found = [await pool.get(URL(url, encoded=True), {}, 5) for _ in range(times)]
        pool.close()
        await asyncio.sleep(0.01)
        return found

    return asyncio.run(run()), asked


def bodies(found: Sequence[tuple[Head, memoryview | None] | None]) -> list[bytes | None]:
    return [each and each[1] and bytes(each[1]) for each in found]  # type: ignore[misc]


@pytest.mark.parametrize(
    "pieces",
    [
        [GOOD],
        [GOOD[i : i + 1] for i in range(len(GOOD))],
        [GOOD[:-3], GOOD[-3:]],
        [GOOD[: len(HEAD) + 1], GOOD[len(HEAD) + 1 :]],
    ],
)
def test_a_range_comes_in_whatever_pieces(pieces: list[bytes]) -> None:
    found, asked = ask(pieces)
    assert bodies(found) == [b"hello"]
    assert asked[0].startswith(b"GET /a%20b?c=1 HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_connection_is_used_again_unless_the_server_ends_it() -> None:
    last = HEAD + b"Connection: Close\r\n\r\nhello"
    found, asked = ask([GOOD], [last, b""], [GOOD], times=3)
    assert bodies(found) == [b"hello"] * 3
    assert len(asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello you",
        b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\nhello",
        HEAD + b"Content-Encoding: gzip\r\n\r\nhello",
        HEAD + b"Content-Length: 6\r\n\r\nhello",
        HEAD + b"no colon\r\n\r\nhello",
        HEAD + b" folded: line\r\n\r\nhello",
        HEAD.replace(b": 5", b": -5") + b"\r\nhello",
        HEAD.replace(b": 5", b": 5_0") + b"\r\nhello",
        HEAD.replace(b": 5", b": 4") + b"\r\nhell",
        GOOD + b"more",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 206\r\n\r\n",
        b"X" * 20_000,
    ],
)
def test_what_is_no_plain_range_is_left_to_the_full_client(answer: bytes) -> None:
    found, asked = ask(*[[answer, b""]] * 5, times=5)
    assert found == [None] * 5
    assert len(asked) == 3  # then nothing more is tried with this server


def test_errors_of_the_server_are_told() -> None:
    answer = b"HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"
    ((head, body),), _asked = ask([answer])  # type: ignore[misc]
    assert (head.status, head.reason, head.headers["retry-after"], body) == (
        503,
        "Slow Down",
        "7",
        None,
    )


@pytest.mark.parametrize("pieces", [[b""], [GOOD[:20], b""], [GOOD[:-1], b""]])
def test_a_connection_that_breaks_is_an_error(pieces: list[bytes]) -> None:
    with pytest.raises(ConnectionError):
        ask(pieces)


@pytest.mark.parametrize("pieces", [[], [GOOD[:20]], [GOOD[:-1]]])
def test_a_server_that_stops_is_given_up(pieces: list[bytes]) -> None:
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.2 s"):
        ask(pieces, read_s=0.2)


def test_a_header_does_not_break_out_of_its_line() -> None:
    async def run() -> object:
        return await ConnectionPool(5.0, 5.0).get(URL("http://127.0.0.1:1/"), {"a": "b\r\nc: d"}, 5)

    assert asyncio.run(run()) is None


@given(st.binary(max_size=200) | st.builds(lambda rest: HEAD + rest, st.binary(max_size=60)))
def test_heads_are_read_or_refused(data: bytes) -> None:
    try:
        head = parse_head(data)
    except NotUnderstoodError:
        return
    assert 100 <= head.status < 600
    assert head.content_length is None or head.content_length >= 0


def test_rows_come_over_plain_connections_unless_they_are_elsewhere(
    tmp_path: Path,
) -> None:
    path = write_rows(tmp_path / "rows.h5", 60)
    plain = ranges_of(Path(path))
    agents: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        agents.append(request.headers["User-Agent"])
        return await plain(request)

    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"http://127.0.0.1:{port}/rows.h5")

    with serving(answer) as port, serving(redirect) as first:
        for start, pooled in ((port, True), (first, False)):
            url = f"http://127.0.0.1:{start}/rows.h5"
            pipe = h5s.open_files(url, ["row"], layout=False).list_chunks(1).read_chunks()
            pipe.catalog  # noqa: B018
            agents.clear()
            assert rows_of(pipe) == list(range(60))
            assert {agent == "h5stream" for agent in agents} == {pooled}


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.mark.parametrize("trusted", [True, False])
def test_certificates_are_checked(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def run() -> list[bytes | None]:
        pool = ConnectionPool(5.0, 5.0)
        async with scripted([[GOOD], [GOOD]], [], context) as url:
            found = [await pool.get(URL(url, encoded=True), {}, 5) for _ in range(2)]
            pool.close()
            await asyncio.sleep(0.05)
        return bodies(found)

    if trusted:
        assert asyncio.run(run()) == [b"hello"] * 2
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            asyncio.run(run())


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_bytes_behind_an_answer_are_never_the_next_answer(pause_s: float) -> None:
    """They lie in the socket, or were taken from it while nobody asked."""

    async def run() -> tuple[list[bytes | None], int]:
        pool, connections = ConnectionPool(5.0, 5.0), 0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(GOOD)
                    await writer.drain()
                    await asyncio.sleep(pause_s / 2)
                    writer.write(GOOD.replace(b"hello", b"wrong"))
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a")
            found = []
            for _ in range(4):
                answer = await pool.get(url, {}, 5)
                found.append(None if answer is None else bytes(answer[1] or b""))
                await asyncio.sleep(pause_s)
            pool.close()
            await asyncio.sleep(0.01)
        return found, connections

    found, connections = asyncio.run(run())
    assert set(found) <= {b"hello", None}
    assert connections >= found.count(b"hello")
