"""Google Cloud Storage over real sockets: as much of its JSON API as reading needs.

Emulators that can be installed know neither conditions on the generation nor its header. Answers
are as Google documents them: 412 where a condition does not hold, 404 for a generation that is
gone, 416 behind the end, 401 for a token that is not valid.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2.credentials import Credentials

from tests.remote.serving import serving

BUCKET = "bucket"
PRIVATE, PAYING = "private", "paying"
"""A bucket that needs a token, and one that needs a project to be billed."""

_PAGE = 2
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Refused(Exception):  # noqa: N818 - an answer
    """What the server does not do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Gcs:
    """A server that is running."""

    port: int = 0
    objects: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    encodings: dict[tuple[str, str], str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    refusals: list[Refused] = field(default_factory=list)
    refuses_renewal: bool = False
    requests: list[str] = field(default_factory=list)
    _drawn: int = 1_700_000_000_000_000

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, port: int | None = None, **options: Any) -> dict[str, Any]:
        """Return storage options for it, or for a proxy in front of it."""
        return {
            "token": "anon",
            "endpoint_url": f"http://127.0.0.1:{port or self.port}",
            **options,
        }

    def put(self, content: str | Path | bytes, name: str, bucket: str = BUCKET) -> str:
        """Upload a file; return its URL."""
        data = content if isinstance(content, bytes) else Path(content).read_bytes()
        self._drawn += 1
        self.objects[bucket, name] = (self._drawn, data)
        return f"gs://{bucket}/{name}"

    def user(self, token: str | None, **options: Any) -> Credentials:
        """Return credentials of a person, which can be renewed here."""
        facts = {
            "refresh_token": "refr3shrefr3sh",
            "token_uri": f"{self.url}/token",
            "client_id": "client",
            "client_secret": "cl13ntcl13nt",
        }
        return Credentials(token, **{**facts, **options})

    def service_account(self) -> dict[str, str]:
        """Return the key of a service account, as its file has it."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "k3yk3yk3y",
            "private_key": text.decode(),
            "client_email": "reader@project.iam.gserviceaccount.com",
            "token_uri": f"{self.url}/token",
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        self.requests.append(parts[0])
        try:
            if parts == ["token"]:
                return self._grant()
            if parts[0] == "download" and len(parts) == 7:
                return self._download(request, parts[4], parts[6])
            if parts[0] == "storage" and len(parts) == 5:
                return self._list(request, parts[3])
        except Refused as error:
            body = {"error": {"code": error.status, "message": str(error)}}
            if parts[0] == "download":
                return web.Response(status=error.status, text=str(error))
            return web.json_response(body, status=error.status)
        return web.Response(status=501)

    def _grant(self) -> web.StreamResponse:
        """Give a new token."""
        if self.refuses_renewal:
            answer = {"error": "invalid_grant", "error_description": "Token has been revoked."}
            return web.json_response(answer, status=400)
        token = f"gr4nted{len(self.tokens)}"
        self.tokens.add(token)
        return web.json_response({"access_token": token, "expires_in": 3600})

    def _admit(self, request: web.Request, bucket: str) -> None:
        if self.refusals:
            raise self.refusals.pop()
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            raise Refused(401, "Invalid Credentials")
        if bucket == PRIVATE and not token:
            raise Refused(401, "Anonymous caller does not have storage.objects.get access.")
        if bucket == PAYING and not request.query.get("userProject"):
            raise Refused(400, "Bucket is a requester pays bucket but no user project provided.")
        if not any(bucket == each for each, _name in self.objects):
            raise Refused(404, "The specified bucket does not exist.")

    def _download(self, request: web.Request, bucket: str, name: str) -> web.StreamResponse:
        self._admit(request, bucket)
        generation, data = self.objects.get((bucket, name), (0, b""))
        if not generation or request.query.get("generation", str(generation)) != str(generation):
            raise Refused(404, f"No such object: {bucket}/{name}")
        if request.query.get("ifGenerationMatch", str(generation)) != str(generation):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
        headers = {"X-Goog-Generation": str(generation), "ETag": f'"{generation:x}"'}
        if encoding := self.encodings.get((bucket, name)):
            headers["X-Goog-Stored-Content-Encoding"] = encoding
            return web.Response(body=data, headers=headers)
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        if asked is None:
            return web.Response(body=data, headers=headers)
        start = int(asked[1])
        if start >= len(data):
            raise Refused(416, "Request range not satisfiable")
        part = data[start : int(asked[2]) + 1 if asked[2] else None]
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        return web.Response(status=206, body=part, headers=headers)

    def _list(self, request: web.Request, bucket: str) -> web.StreamResponse:
        """List the objects below a prefix, a few a page."""
        self._admit(request, bucket)
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        names, prefixes = [], set()
        for each, name in sorted(self.objects):
            if each == bucket and name.startswith(prefix):
                head, found, _rest = name[len(prefix) :].partition(delimiter or "\0")
                if found:
                    prefixes.add(prefix + head + found)
                else:
                    names.append(name)
        first = int(request.query.get("pageToken", 0))
        items = [self._facts(bucket, name) for name in names[first : first + _PAGE]]
        answer: dict[str, Any] = {"kind": "storage#objects", "items": items}
        answer |= {"prefixes": sorted(prefixes)} if prefixes and not first else {}
        answer |= {"nextPageToken": str(first + _PAGE)} if first + _PAGE < len(names) else {}
        return web.Response(body=json.dumps(answer), content_type="application/json")

    def _facts(self, bucket: str, name: str) -> dict[str, str]:
        generation, data = self.objects[bucket, name]
        then = datetime.datetime.fromtimestamp(generation / 1e6, datetime.UTC)
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(data)),
            "generation": str(generation),
            "updated": then.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }


@contextlib.contextmanager
def gcs_server() -> Iterator[Gcs]:
    """Run a server without any object."""
    server = Gcs()
    with serving(server.answer) as server.port:
        yield server
