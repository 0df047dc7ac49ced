"""Keeps secrets out of names and messages. Pure.

A URL may carry a password in front of the host and a signature in its query; an error of a
library may repeat either, or an option that was passed to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["harmless_options", "is_url", "links_of", "public_url", "redact_text", "secrets_in"]

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


def secrets_in(url: str, options: Mapping[str, Any]) -> frozenset[str]:
    """Collect the texts that no message may repeat."""
    found = {match.rstrip("@") for match in _USERINFO.findall(url)}
    found |= {part for each in found for part in each.split(":")}
    for part in links_of(url):
        query = part.partition("?")[2]
        found |= {query, *(pair.partition("=")[2] for pair in query.split("&"))}
    found |= set(_texts({k: v for k, v in options.items() if k not in _HARMLESS}))
    return frozenset(text for text in found if len(text) >= _SHORTEST_SECRET)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _HARMLESS:
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


def harmless_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the options that cannot be secret, to be written where others may read.

    Examples
    --------
    >>> harmless_options({"key": "AKIA", "endpoint_url": "http://minio:9000", "anon": False})
    {'endpoint_url': 'http://minio:9000', 'anon': False}
    """
    kept = {name: value for name, value in options.items() if name in _HARMLESS}
    for name in _NESTED & options.keys():
        if isinstance(options[name], Mapping):
            kept[name] = harmless_options(options[name])
    return kept
