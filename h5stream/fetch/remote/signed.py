"""URLs of S3 objects that carry a signature of their own.

To make one request takes botocore a millisecond of the processor, several times what sending it
takes. A signed URL is made once and serves every range of its object for minutes.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.awsrequest import AWSPreparedRequest

from h5stream.fetch.remote.connection_pool import ConnectionPool

__all__ = ["SignedUrls", "make_pool", "send_signed"]

_USED_S = 300.0
"""Shorter than what is left of credentials when botocore renews them."""

_VALID_S = 3600
_MOST_REFUSALS = 2
_SCHEMES = ("http", "https")
_SIMPLE = {"Bucket", "Key", "VersionId"}


class SignedUrls:
    """Signed URLs of the objects of one file system.

    One that is refused may have become too old while the machine slept. If the one made after that
    is refused as well, its bucket wants none.
    """

    def __init__(self) -> None:
        self._buckets: defaultdict[str, _Bucket] = defaultdict(_Bucket)

    def forget(self) -> None:
        """Make new ones from now on."""
        self._buckets.clear()

    async def find(self, client: Any, parameters: Mapping[str, str]) -> str | None:
        """Return the URL to get an object; None if such a request needs more than a URL.

        Parameters
        ----------
        client : aiobotocore client
            Signs with its credentials, if it has any.
        parameters : mapping
            Of `get_object`.
        """
        bucket = self._buckets[parameters["Bucket"]]
        if bucket.refusals == _MOST_REFUSALS or not _SIMPLE.issuperset(parameters):
            return None
        key = _key(parameters)
        until_s, url = bucket.urls.get(key, (0.0, None))
        if time.monotonic() >= until_s:
            url = await _sign(client, parameters)
            bucket.urls[key] = (time.monotonic() + _USED_S, url)
        return url

    def accept(self, parameters: Mapping[str, str]) -> None:
        """Take note that a URL was good."""
        self._buckets[parameters["Bucket"]].refusals = 0

    def refuse(self, parameters: Mapping[str, str], url: str) -> None:
        """Take note that a URL was not good, if it is still in use."""
        bucket = self._buckets[parameters["Bucket"]]
        if bucket.urls.get(_key(parameters), (0.0, None))[1] == url:
            bucket.urls.clear()
            bucket.refusals += 1


@dataclass(eq=False, slots=True)
class _Bucket:
    """URLs of one bucket, until when they are used; and how many were refused one after another."""

    urls: dict[str, tuple[float, str | None]] = field(default_factory=dict)
    refusals: int = 0


def _key(parameters: Mapping[str, str]) -> str:
    return f"{parameters['Key']}?{parameters.get('VersionId', '')}"


async def _sign(client: Any, parameters: Mapping[str, str]) -> str | None:
    """Make a URL; None if headers must be sent along with it."""
    client.meta.events.register_first(
        "choose-signer.s3", _keep_version_4, unique_id="h5stream-version-4"
    )
    url: str = await client.generate_presigned_url(
        "get_object", Params=dict(parameters), ExpiresIn=_VALID_S
    )
    signed_headers = parse_qs(urlsplit(url).query).get("X-Amz-SignedHeaders", ["host"])
    return url if signed_headers == ["host"] else None


def _keep_version_4(signature_version: Any, **_about: Any) -> Any:
    """Answer botocore, which would go back to version 2 for URLs; new buckets know only 4."""
    return "s3v4-query" if signature_version in ("v4-query", "s3v4-query") else None


async def send_signed(client: Any, url: str, headers: Mapping[str, str]) -> Any:
    """Send a request over the client's connections; return aiohttp's answer, not read yet."""
    request = AWSPreparedRequest("GET", url, dict(headers), None, True)
    answer = await client._endpoint.http_session.send(request)
    return answer.raw


def make_pool(client: Any) -> ConnectionPool | None:
    """Make plain connections, unless the client has proxies or certificates of its own."""
    session = client._endpoint.http_session
    try:
        proxies = [session._proxy_config.proxy_url_for(f"{each}://host") for each in _SCHEMES]
        plain = session._verify is True and session._cert_file is None and not any(proxies)
        timeout = session._timeout
    except AttributeError:  # another version, or another kind of session
        return None
    return ConnectionPool(timeout.sock_connect, timeout.sock_read) if plain else None
