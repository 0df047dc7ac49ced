"""Asks Google Cloud Storage for ranges of one generation, with the credentials that gcsfs finds.

A range is asked for on condition that the object is still of the generation that was scanned, so
that one that was replaced says so. Credentials are renewed in a thread: gcsfs would do it on the
event loop, where all other requests would wait for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import aiohttp
import requests
from gcsfs.core import GCSFileSystem
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request

from h5stream.fetch.remote.http import (
    BUFFER_BYTES,
    TIMEOUT,
    HttpTransport,
    make_client,
    read_range,
    version_of,
)
from h5stream.fetch.remote.transport import ATTEMPT_S, Response, fault_of_error, require_key
from h5stream.fetch.retry import Fault, FaultError, fault_of_status

__all__ = ["GCSFileSystem", "GcsTransport"]

T = TypeVar("T")

_GENERATION = "generation "
_RENEW_S = 60.0
_MOST_ERROR_BYTES = 2**14
_MOST_ERROR_CHARS = 200


class GcsTransport(HttpTransport):
    """A `GCSFileSystem` of gcsfs's core, whose answers are looked at.

    What `gcsfs` itself gives by that name asks first, over gRPC, what kind of bucket it has:
    another connection to make, and to wait for where nobody speaks gRPC.
    """

    def __init__(self, filesystem: Any) -> None:
        super().__init__(filesystem)
        # Attempts are counted in one place, and it is not gcsfs.
        filesystem._request = partial(type(filesystem)._request.__wrapped__, filesystem)
        filesystem.credentials.maybe_refresh = lambda: None
        filesystem.requests_timeout = _timeout(filesystem.requests_timeout)
        self._renewing = asyncio.Lock()
        self._renewed_s = -_RENEW_S

    async def _ask_first(self, path: str, nbytes: int) -> Response:
        require_key(path)
        return await super()._ask_first(path, nbytes)

    async def get(self, path: str, start: int, stop: int, version: str) -> Response:
        """Ask for a range, on condition that the object is still that version."""
        return await self._ask(path, start, stop, version=version)

    async def _ask(
        self, path: str, start: int, stop: int, is_head: bool = False, version: str = ""
    ) -> Response:
        return await self._authorized(partial(self._fetch, path, start, stop, is_head, version))

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        method = getattr(self.filesystem, f"_{name}")

        async def call() -> Any:
            return await asyncio.wait_for(method(*arguments, **options), ATTEMPT_S)

        return await self._authorized(call)

    async def _fetch(
        self, path: str, start: int, stop: int, is_head: bool, version: str
    ) -> Response:
        filesystem = self.filesystem
        pinned = filesystem.split_path(path)[2]
        known = version.startswith(_GENERATION) and not pinned
        condition = {"ifGenerationMatch": version.removeprefix(_GENERATION)} if known else {}
        async with filesystem.session.get(
            filesystem.url(path),
            params=filesystem._get_params(condition),
            headers=filesystem._get_headers(
                {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
            ),
            timeout=filesystem.requests_timeout,
            read_bufsize=BUFFER_BYTES,
        ) as answer:
            if answer.status not in (200, 206):
                raise await _fault_of_answer(answer)
            _check_encoding(answer)
            generation = answer.headers.get("X-Goog-Generation")
            found = _GENERATION + generation if generation else version_of(answer)
            return await read_range(answer, start, stop, found, is_head)

    async def _authorized(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask with valid credentials, which are renewed if they are refused."""
        sent = None
        try:
            await self._connect()
            await self._refresh_expired()
            sent = self._token()
            return await ask()
        except FaultError as error:
            fault = error
        except Exception as error:
            fault = _fault_of(error)
        if fault.fault is Fault.REFUSED and await self._renew(sent):
            fault = FaultError(Fault.TRANSIENT, fault.what)
        raise fault

    async def _connect(self) -> None:
        filesystem = self.filesystem
        has_certificate = getattr(filesystem, "_use_client_cert", False)
        if filesystem._session is None and not has_certificate:
            filesystem._session = await make_client(**filesystem.session_kwargs)
        await filesystem._set_session()

    def _token(self) -> Any:
        """Return what the next request will be authorized with; None if nothing."""
        return getattr(self.filesystem.credentials.credentials, "token", None)

    async def _refresh_expired(self) -> None:
        held = self.filesystem.credentials.credentials
        if held is None or held.valid:
            return
        async with self._renewing:
            if not held.valid:
                await asyncio.to_thread(_refresh, held)

    async def _renew(self, refused: Any) -> bool:
        """Look for credentials anew, unless that was just done; say whether it is worth asking."""
        async with self._renewing:
            if self.filesystem.credentials.credentials is None:
                return False
            if self._token() != refused:
                return True  # they were renewed for another request
            if time.monotonic() - self._renewed_s < _RENEW_S:
                return False
            self._renewed_s = time.monotonic()
            try:
                await asyncio.to_thread(_look_anew, self.filesystem)
            except Exception:
                return False
            return True


def _look_anew(filesystem: Any) -> None:
    """Find credentials where they were found at first; blocks."""
    filesystem.credentials.connect(filesystem.storage_options.get("token"))
    if filesystem.credentials.credentials is not None:
        _refresh(filesystem.credentials.credentials)


def _refresh(held: Any) -> None:
    """Get another token; blocks."""
    with requests.Session() as session:
        held.refresh(Request(session))


def _timeout(asked: Any) -> aiohttp.ClientTimeout:
    if isinstance(asked, int | float):
        return aiohttp.ClientTimeout(total=asked)
    return TIMEOUT if asked is None else asked


def _fault_of(error: Exception) -> FaultError:
    if isinstance(error, GoogleAuthError):
        passes = isinstance(error, TransportError) or getattr(error, "retryable", False)
        what = f"{type(error).__name__}: {error.args[0] if error.args else 'without a reason'}"
        return FaultError(Fault.TRANSIENT if passes else Fault.REFUSED, what)
    if isinstance(error, OSError) and str(error).startswith("Forbidden"):
        return FaultError(Fault.REFUSED, str(error))  # gcsfs's word for 403
    return fault_of_error(error)


async def _fault_of_answer(answer: aiohttp.ClientResponse) -> FaultError:
    body = b""
    while len(body) < _MOST_ERROR_BYTES:
        part = await answer.content.read(_MOST_ERROR_BYTES - len(body))
        if not part:
            break
        body += part
    answer.close()
    status = 429 if b"ateLimitExceeded" in body else answer.status  # some of them come as 403
    detail = _message(body) or answer.reason or ""
    return fault_of_status(status, answer.headers.get("Retry-After"), detail)


def _message(body: bytes) -> str:
    """Return what an answer says, which is JSON or plain text."""
    try:
        text = str(json.loads(body)["error"]["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
    return "" if text.startswith("<") else " ".join(text.split())[:_MOST_ERROR_CHARS]


def _check_encoding(answer: aiohttp.ClientResponse) -> None:
    """Raise if the server unpacks the object, for then it has no ranges."""
    stored = answer.headers.get("X-Goog-Stored-Content-Encoding", "identity")
    if answer.status == 200 and stored not in ("identity", ""):
        answer.close()
        raise FaultError(
            Fault.PERMANENT,
            f"the object has Content-Encoding {stored}, so there are no ranges of it: upload it "
            "without",
        )
