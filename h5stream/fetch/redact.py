"""Keeps secrets out of names and messages. Pure.

A URL may carry a password in front of the host and a signature in its query; an error of a
library may repeat either, or an option that was passed to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

__all__ = [
    "harmless_options",
    "is_url",
    "join_url",
    "links_of",
    "public_url",
    "redact_text",
    "secrets_in",
    "selection_of",
]

_USERINFO = re.compile(r"(?<=://)[^/?#@]*@")
_LINK = re.compile(r"::(?=[a-z][a-z0-9+_-]*(?:://|::))")
_HARMLESS = {
    "anon",
    "default_block_size",
    "endpoint_url",
    "profile",
    "project",
    "region_name",
    "requester_pays",
    "target_protocol",
    "use_ssl",
    "version_aware",
}
_WAYS = {"anon", "browser", "cache", "cloud", "google_default"}
"""What gcsfs takes in place of a token: where to look for one."""

_NESTED = {"client_kwargs", "config_kwargs", "target_options"}
_SHORTEST_SECRET = 4


def is_url(source: str) -> bool:
    """Tell a URL from a path.

    Examples
    --------
    >>> is_url("s3://bucket/train.h5"), is_url("/data/train.h5"), is_url("zip://a.h5::file://b.zip")
    (True, False, True)
    """
    return "://" in source


def links_of(url: str) -> list[str]:
    """Cut a chain of URLs; other colons are of a name, or of an IPv6 address.

    Examples
    --------
    >>> links_of("zip://a.h5::simplecache::s3://bucket/b.zip")
    ['zip://a.h5', 'simplecache', 's3://bucket/b.zip']
    >>> links_of("http://[::1]:8000/a.h5")
    ['http://[::1]:8000/a.h5']
    """
    return _LINK.split(url)


def public_url(url: str) -> str:
    """Leave out what may be secret: user, password, query and fragment.

    Examples
    --------
    >>> public_url("https://me:pw@host/train.h5?X-Amz-Signature=0ff1ce")
    'https://host/train.h5'
    >>> public_url("zip://x.h5::https://host/a.zip?sig=1")
    'zip://x.h5::https://host/a.zip'
    """
    shown = (_USERINFO.sub("", part).split("#")[0].split("?")[0] for part in links_of(url))
    return "::".join(shown)


def join_url(folder: str, file: str) -> str:
    """Return the URL of a file in a folder.

    Examples
    --------
    >>> join_url("https://host/refs.parq/?sig=1", "x/refs.0.parq")
    'https://host/refs.parq/x/refs.0.parq?sig=1'
    >>> join_url("zip://refs.parq::s3://bucket/a.zip", ".zmetadata")
    'zip://refs.parq/.zmetadata::s3://bucket/a.zip'
    """
    first, chain, rest = folder.partition("::")
    path, mark, query = first.partition("?")
    if first.startswith(("http://", "https://")):
        file = quote(file)
    return f"{path.rstrip('/')}/{file}{mark}{query}{chain}{rest}"


def secrets_in(url: str, options: Mapping[str, Any]) -> frozenset[str]:
    """Collect the texts that no message may repeat."""
    found = {match.rstrip("@") for match in _USERINFO.findall(url)}
    found |= {part for each in found for part in each.split(":")}
    for part in links_of(url):
        query = part.partition("?")[2]
        found |= {query, *(pair.partition("=")[2] for pair in query.split("&"))}
    found |= set(_texts(options))
    return frozenset(text for text in found if len(text) >= _SHORTEST_SECRET)


def _is_harmless(name: Any, value: Any) -> bool:
    return name in _HARMLESS or (name == "token" and isinstance(value, str) and value in _WAYS)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield from {value, *value.splitlines()}  # a message may write a key's line ends otherwise
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if not _is_harmless(key, each):
                yield from _texts(each)
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _texts(each)
    elif hasattr(value, "__dict__") or hasattr(value, "_fields"):  # credentials objects
        members = getattr(value, "_asdict", lambda: vars(value))()
        yield from (each for each in members.values() if isinstance(each, str))


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """Replace secrets, and the queries of all URLs.

    Examples
    --------
    >>> redact_text("403 for https://host/a.h5?sig=abcd with key hunter2", ["hunter2"])
    '403 for https://host/a.h5?*** with key ***'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(://[^\s?'\"]*)\?[^\s'\")]+", r"\1?***", text)
    return _USERINFO.sub("***@", text)


def selection_of(url: str, options: Mapping[str, Any]) -> str:
    """Say all that selects an object: the whole URL, and the options that are no credentials.

    It may hold secrets, so only a keyed digest of it may be kept.
    """
    return repr((url, sorted(harmless_options(options).items(), key=repr)))


def harmless_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the options that cannot be secret, to be written where others may read.

    Examples
    --------
    >>> harmless_options({"key": "AKIA", "endpoint_url": "http://minio:9000", "anon": False})
    {'endpoint_url': 'http://minio:9000', 'anon': False}
    """
    kept = {name: value for name, value in options.items() if _is_harmless(name, value)}
    for name in _NESTED & options.keys():
        if isinstance(options[name], Mapping):
            kept[name] = harmless_options(options[name])
    return kept
