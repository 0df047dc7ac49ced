"""Puts whole files where a URL says, so that nobody sees a part of one."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec

from h5stream.errors import ConfigError, WriteError
from h5stream.fetch.redact import public_url, redact_text, secrets_in
from h5stream.fetch.remote.filesystems import filesystem_class

__all__ = ["Uploads"]

_AT_ONCE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss"}
"""Object stores show an object when all of it is there; elsewhere it is renamed then."""


class Uploads:
    """A place of files that a URL names.

    Parameters
    ----------
    url : str
        Of a file.
    options : mapping
        Of its file system.

    Raises
    ------
    ConfigError
        If no driver for it is installed, or it refuses the options.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        if "::" in url or "?" in url:
            raise ConfigError(f"{public_url(url)}: files are written to plain URLs")
        filesystem_class(url)
        self._secrets = secrets_in(url, options)
        with self._told(url):
            self._files, _path = fsspec.core.url_to_fs(url, **options)

    def size(self, url: str) -> int | None:
        """Return the bytes of a file, None if there is none."""
        with self._told(url):
            try:
                return int(self._files.info(self._path(url))["size"] or 0)
            except FileNotFoundError:
                return None

    def put(self, local: Path, url: str) -> None:
        """Copy a file there, where it is seen as a whole.

        Raises
        ------
        WriteError
            If that fails; nothing is seen then.
        """
        path = self._path(url)
        with self._told(url):
            if url.split("://")[0] in _AT_ONCE:
                self._files.put_file(str(local), path)
            else:
                self._rename_into_place(local, path)
        if self.size(url) != local.stat().st_size:
            raise WriteError(f"{public_url(url)}: is not as long as what was uploaded; try again")

    def _rename_into_place(self, local: Path, path: str) -> None:
        folder, _, name = path.rpartition("/")
        part = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        try:
            self._files.put_file(str(local), part)
            self._files.mv(part, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._files.rm_file(part)
            raise

    def _path(self, url: str) -> str:
        return str(self._files._strip_protocol(url))

    @contextlib.contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Turn what the driver says into an error of ours, without secrets."""
        try:
            yield
            return
        except Exception as error:
            told = redact_text(f"{type(error).__name__}: {error}", self._secrets)
        raise WriteError(f"{public_url(url)}: cannot be written: {told}")
