"""Where what is written again ends up: beside local files, or at a URL."""

from __future__ import annotations

import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from h5stream.errors import ConfigError
from h5stream.fetch.redact import is_url, public_url
from h5stream.fetch.remote.upload import Uploads

__all__ = ["Target", "target_of"]


class Target(ABC):
    """Names that files get when they are whole.

    Parameters
    ----------
    folder : Path
        Where they are written, until then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def name(self, number: int | None) -> str:
        """Return the name of the only file (None), or of one of several."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return the bytes of a file that is there, None if it is not."""

    @abstractmethod
    def publish(self, part: Path, name: str) -> None:
        """Give a file that is whole its name."""

    def shown(self, name: str) -> str:
        """Return a name without secrets."""
        return name


class _Local(Target):
    def __init__(self, path: Path) -> None:
        super().__init__(path.with_name(f".{path.name}.repack"))
        self._path = path
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")

    def name(self, number: int | None) -> str:
        path = self._path
        if number is not None:
            path = path.with_name(f"{path.stem}-{number:05}{path.suffix}")
        return str(path)

    def size(self, name: str) -> int | None:
        return Path(name).stat().st_size if Path(name).exists() else None

    def publish(self, part: Path, name: str) -> None:
        part.replace(name)


class _Remote(Target):
    """Written locally, then uploaded."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        mark = hashlib.sha256(url.encode()).hexdigest()[:16]
        super().__init__(Path(tempfile.gettempdir()) / f"h5stream-repack-{mark}")
        self._url = url
        self._uploads = Uploads(url, options)

    def name(self, number: int | None) -> str:
        if number is None:
            return self._url
        folder, slash, name = self._url.rpartition("/")
        path = PurePosixPath(name)
        return f"{folder}{slash}{path.stem}-{number:05}{path.suffix}"

    def size(self, name: str) -> int | None:
        return self._uploads.size(name)

    def publish(self, part: Path, name: str) -> None:
        self._uploads.put(part, name)
        part.unlink()

    def shown(self, name: str) -> str:
        return public_url(name)


def target_of(output: str, options: Mapping[str, Any] | None) -> Target:
    """Make the target that a path or URL names.

    Raises
    ------
    ConfigError
        If there is no such folder, or no driver for the URL.
    """
    if is_url(output):
        return _Remote(output, options or {})
    return _Local(Path(output))
