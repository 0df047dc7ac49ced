"""Makes this process's file systems out of URLs and storage options."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.registry import known_implementations

from h5stream.errors import ConfigError, H5StreamError, LayoutError
from h5stream.fetch.redact import links_of, public_url, redact_text, secrets_in
from h5stream.fetch.remote.transport import AsyncTransport, ThreadTransport, Transport

__all__ = ["filesystem_class", "make_transport", "transport_key"]

_EXTRAS = {
    "s3": "remote",
    "s3a": "remote",
    "http": "remote",
    "https": "remote",
    "gs": "gcs",
    "gcs": "gcs",
}


def filesystem_class(url: str) -> Any:
    """Find the class of a URL's file system.

    Raises
    ------
    ConfigError
        If no such protocol is known, or its driver is not installed.
    """
    protocol = links_of(url)[0].split("://")[0]
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        known = known_implementations.get(protocol, {}).get("err", str(error))
        extra = _EXTRAS.get(protocol)
        advice = f"pip install 'h5stream[{extra}]'" if extra else known
        message = f"{public_url(url)}: the driver for {protocol}:// is not installed: {advice}"
    except ValueError:
        message = (
            f"{public_url(url)}: the protocol {protocol!r} is not known; use one of fsspec's, like "
            "s3, gs, https"
        )
    raise ConfigError(message)


def transport_key(url: str) -> str:
    """Say which URLs can share a file system: those of one protocol, host and account."""
    if len(links_of(url)) > 1:
        return url
    kwargs = filesystem_class(url)._get_kwargs_from_urls(url)
    return f"{url.split('://')[0]} {sorted(kwargs.items(), key=str)}"


def make_transport(
    url: str, options: Mapping[str, Any], loop: asyncio.AbstractEventLoop
) -> Transport:
    """Make a file system for a URL, on this process's event loop if it can work on one.

    Raises
    ------
    ConfigError
        If the driver is missing, or refuses the options.
    LayoutError
        If an archive is not there.
    """
    kind = filesystem_class(url)
    try:
        if len(links_of(url)) > 1 or not (issubclass(kind, AsyncFileSystem) and kind.async_impl):
            return ThreadTransport(fsspec.core.url_to_fs(url, **options)[0])
        return _async_transport(kind, {**kind._get_kwargs_from_urls(url), **options}, loop)
    except FileNotFoundError:
        failure: H5StreamError = LayoutError(f"{public_url(url)}: there is no such archive")
    except Exception as error:
        told = redact_text(f"{type(error).__name__}: {error}", secrets_in(url, options))
        failure = ConfigError(
            f"{public_url(url)}: no file system can be made with these storage options: {told}"
        )
    raise failure


def _async_transport(
    kind: Any, options: dict[str, Any], loop: asyncio.AbstractEventLoop
) -> Transport:
    made = {"asynchronous": True, "loop": loop, "skip_instance_cache": True}
    if kind.__module__.startswith("fsspec.implementations.http"):
        from h5stream.fetch.remote.http import HttpTransport, make_client

        return HttpTransport(kind(**{"get_client": make_client, **options, **made}))
    if kind.__module__.startswith("s3fs"):
        from h5stream.fetch.remote.s3 import CONFIG, S3Transport

        config = {**CONFIG, **options.get("config_kwargs", {})}
        return S3Transport(kind(**{**options, "config_kwargs": config, **made}))
    if kind.__module__.startswith("gcsfs"):
        from h5stream.fetch.remote.gcs import GCSFileSystem, GcsTransport

        return GcsTransport(GCSFileSystem(**{**options, **made}))
    return AsyncTransport(kind(**options, **made))
