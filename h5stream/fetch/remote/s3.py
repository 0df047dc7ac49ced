"""Asks S3 for ranges of one version, over the client that s3fs makes out of the storage options.

Rows are asked for with signed URLs, which cost far less of the processor than calls of the client.
The client has the last word: what is refused to a signed URL is asked for with a call.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from yarl import URL

from h5stream.fetch.remote.connection_pool import ConnectionPool
from h5stream.fetch.remote.http import read_range, response_of, version_of
from h5stream.fetch.remote.signed import SignedUrls, make_pool, send_signed
from h5stream.fetch.remote.transport import Response, TellingTransport, fault_of_error, require_key
from h5stream.fetch.retry import Fault, FaultError, fault_of_status

__all__ = ["CONFIG", "S3Transport"]

CONFIG = {
    "connect_timeout": 10,
    "read_timeout": 20,
    "max_pool_connections": 256,
    "retries": {"total_max_attempts": 1},
}
"""Attempts are counted in one place, and it is not botocore."""

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_SLOW = {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "Throttling"}
_RENEW_S = 60.0
_ANSWERS = {404, 412, 416, 429}
"""Besides those of 500 and above: what a call would be answered as well."""


class S3Transport(TellingTransport):
    """An `S3FileSystem`, whose answers are looked at."""

    def __init__(self, filesystem: Any) -> None:
        super().__init__(filesystem)
        self._renewing = asyncio.Lock()
        self._renewed_s = -_RENEW_S
        self._clients: list[Any] = []
        self._parameters: dict[str, dict[str, str]] = {}
        self._urls = SignedUrls()
        self._pool: ConnectionPool | None = None
        self._looked_for_pool = False

    async def get(self, path: str, start: int, stop: int, version: str) -> Response:
        """Ask for a range, on condition that the object is still that version."""
        etag = version.removeprefix("etag ")
        response = await self._ask_signed(path, start, stop, etag)
        if response is None:
            response = await self._ask(path, start, stop, **({"IfMatch": etag} if etag else {}))
        return response

    async def _ask_first(self, path: str, nbytes: int) -> Response:
        require_key(path)
        return await self._ask(path, 0, nbytes)

    async def close(self) -> None:
        """Close the clients."""
        if self._pool is not None:
            self._pool.close()
        if self.filesystem._s3 is not None:
            self._clients.append(self.filesystem._s3creator)
        for client in self._clients:
            await client.__aexit__(None, None, None)

    async def _ask_signed(self, path: str, start: int, stop: int, etag: str) -> Response | None:
        """Ask with a signed URL; None if the answer is that something about it is wrong."""
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if etag:
            headers["If-Match"] = etag
        try:
            client, parameters = await self._prepare(path)
            url = await self._urls.find(client, parameters)
            if url is None:
                return None
            status, retry_after, response = await self._send(client, url, headers, start, stop)
            if response is not None:
                self._urls.accept(parameters)
                return response
            if status not in _ANSWERS and status < 500:
                self._urls.refuse(parameters, url)
                return None
            fault = fault_of_status(status, retry_after)
        except FaultError as error:
            fault = error
        except Exception as error:
            failed = _fault_of(error)
            fault = FaultError(failed.fault, failed.what.split("?")[0])  # the rest is a signature
        raise fault

    async def _send(
        self, client: Any, url: str, headers: dict[str, str], start: int, stop: int
    ) -> tuple[int, str | None, Response | None]:
        """Send a signed request; return status and Retry-After, and the range if it came."""
        if not self._looked_for_pool:
            self._looked_for_pool, self._pool = True, make_pool(client)
        pool = self._pool
        found = pool and await pool.get(URL(url, encoded=True), headers, stop - start)
        if found:
            head, body = found
            response = None if body is None else response_of(head, body, start, stop)
            return head.status, head.headers.get("Retry-After"), response
        async with await send_signed(client, url, headers) as answer:
            came = answer.status in (200, 206)
            version = version_of(answer)
            response = await read_range(answer, start, stop, version, False) if came else None
            return answer.status, answer.headers.get("Retry-After"), response

    async def _ask(self, path: str, start: int, stop: int, **condition: str) -> Response:
        used = None
        try:
            client, parameters = await self._prepare(path)
            used = self.filesystem._s3
            wanted = {"Range": f"bytes={start}-{stop - 1}", **condition}
            answer = await client.get_object(**parameters, **wanted)
            async with answer["Body"] as body:
                data = await _read_at_most(body, stop - start)
        except FaultError as error:
            fault = error
        except Exception as error:
            fault = _fault_of(error)
        else:
            place, _, size = answer.get("ContentRange", "").rpartition("/")
            if place and not place.startswith(f"bytes {start}-"):
                raise FaultError(Fault.TRANSIENT, f"the answer is for {place!r}")
            size_bytes = int(size) if size.isdecimal() else None
            etag = answer.get("ETag", "")
            return Response(data, size_bytes, f"etag {etag}" if etag else "")
        if fault.fault is Fault.REFUSED:
            fault = await self._renew(fault, used)
        raise fault

    async def _prepare(self, path: str) -> tuple[Any, dict[str, str]]:
        """Return the client for an object, and what to ask it for."""
        filesystem = self.filesystem
        await filesystem.set_session()
        parameters = self._parameters.get(path)
        if parameters is not None:
            return await filesystem.get_s3(parameters["Bucket"]), parameters
        bucket, key, version_id = filesystem.split_path(path)
        client = await filesystem.get_s3(bucket)
        wanted = {"Bucket": bucket, "Key": key}
        if version_id:
            wanted["VersionId"] = version_id
        made = filesystem._get_s3_method_kwargs(client.get_object, **wanted)
        self._parameters[path] = made
        return client, made

    async def _renew(self, fault: FaultError, used: Any) -> FaultError:
        """Make a new client, which looks for credentials anew, unless that was just done."""
        async with self._renewing:
            if self.filesystem._s3 is used:
                if time.monotonic() - self._renewed_s < _RENEW_S:
                    return fault
                self._renewed_s = time.monotonic()
                self._urls.forget()
                self._clients.append(self.filesystem._s3creator)  # others may still be using it
                try:
                    await self.filesystem.set_session(refresh=True)
                except Exception:
                    return fault
        return FaultError(Fault.TRANSIENT, fault.what)


async def _read_at_most(body: Any, nbytes: int) -> bytes:
    """Read a body; one that goes on beyond what was asked for is not read to its end."""
    parts, left = [], nbytes + 1
    while left and (part := await body.read(left)):
        parts.append(part)
        left -= len(part)
    if not left:
        body.close()
        raise FaultError(Fault.TRANSIENT, "the server ignores Range and sends more than was asked")
    return b"".join(parts)


def _fault_of(error: Exception) -> FaultError:
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            return FaultError(Fault.REFUSED, "there are no credentials")
        return fault_of_error(error)
    code = str(answer.get("Error", {}).get("Code", ""))
    about = answer.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    if code in _EXPIRED:
        return FaultError(Fault.REFUSED, f"the server answered {status} ({code})")
    if code in _SLOW:
        status = 503
    return fault_of_status(status, about.get("HTTPHeaders", {}).get("retry-after"), code)
