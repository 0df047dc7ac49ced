"""The files that tasks read, each opened at its first read."""

from __future__ import annotations

from h5stream.fetch import Access, DataFile, LocalFile
from h5stream.layout import Fingerprint
from h5stream.reader.execution.fallback import FallbackFile
from h5stream.reader.stats import Stats

__all__ = ["OpenFiles"]


class OpenFiles:
    """Files of one process, by their names.

    Parameters
    ----------
    access : Access
        The way to the files.
    stats : Stats
        Where retries are counted.
    """

    def __init__(self, access: Access, stats: Stats) -> None:
        self._access = access
        self._stats = stats
        self._files: dict[str, DataFile] = {}
        self._fallbacks: dict[str, FallbackFile] = {}

    def file(self, path: str, version: Fingerprint) -> DataFile:
        """Return the file of this name."""
        found = self._files.get(path)
        if found is None:
            made = self._access.data_file(path, version, self._count_retry)
            found = self._files.setdefault(path, made)
        return found

    def fallback(self, path: str, version: Fingerprint) -> FallbackFile:
        """Return the file of this name as h5py reads it."""
        found = self._fallbacks.get(path)
        if found is None:
            made = FallbackFile(path, self._access.reopen(path, version))
            found = self._fallbacks.setdefault(path, made)
        return found

    def _count_retry(self) -> None:
        self._stats.add(retries=1)

    def release(self) -> None:
        """Let go of all files; a task that still needs one opens it again."""
        for fallback in list(self._fallbacks.values()):
            fallback.close()
        for file in list(self._files.values()):
            if isinstance(file, LocalFile):
                file.let_go()
        self._files.clear()
