"""The error tree. Every error says what was found, what was expected and what to do.

::

    H5StreamError
    ├── ConfigError       (ValueError)           an argument does not fit, or does not fit the files
    ├── StateError        (ValueError)           a saved state does not fit this stream
    ├── LayoutError       (OSError)              a file is missing, damaged, locked or not HDF5
    ├── FetchError        (OSError)              bytes did not arrive, or the file changed meanwhile
    ├── DecodeError       (ValueError)           bytes do not decode to what the file says
    ├── WriteError        (ValueError)           rows do not fit a new file, or cannot be written
    └── UnsupportedError  (NotImplementedError)  nothing installed can read this

Each is also the builtin in brackets, so that code which catches builtins keeps working.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DecodeError",
    "FetchError",
    "H5StreamError",
    "LayoutError",
    "StateError",
    "UnsupportedError",
    "WriteError",
]


class H5StreamError(Exception):
    """Root of all errors that h5stream raises on purpose."""


class ConfigError(H5StreamError, ValueError):
    """An argument is wrong in itself, or does not fit the files."""


class StateError(H5StreamError, ValueError):
    """A saved state does not fit the stream that should load it."""


class LayoutError(H5StreamError, OSError):
    """A file is missing, not HDF5, damaged, or open for writing elsewhere."""


class WriteError(H5StreamError, ValueError):
    """Rows do not fit the file that they are written to, or the file cannot be written."""


class UnsupportedError(H5StreamError, NotImplementedError):
    """The file is fine, but nothing installed can read this part of it."""


class FetchError(H5StreamError, OSError):
    """Bytes did not arrive as asked.

    Parameters
    ----------
    message : str
        What was found, what was expected, what to do.
    url : str, optional
        The file.
    byte_range : tuple of (int, int), optional
        First byte and one past the last byte that was asked for.
    attempts : int, optional
        How often a remote range was asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        url: str | None = None,
        byte_range: tuple[int, int] | None = None,
        attempts: int | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.byte_range = byte_range
        self.attempts = attempts


class DecodeError(H5StreamError, ValueError):
    """Stored bytes do not decode to the chunk that the file describes.

    Parameters
    ----------
    message : str
        What was found, what was expected, what to do.
    url : str, optional
        The file.
    dataset : str, optional
        Path of the dataset inside the file.
    chunk_offset : tuple of int, optional
        Element coordinates of the chunk's first element.
    """

    def __init__(
        self,
        message: str,
        *,
        url: str | None = None,
        dataset: str | None = None,
        chunk_offset: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.dataset = dataset
        self.chunk_offset = chunk_offset
