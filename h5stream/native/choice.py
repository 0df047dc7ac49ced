"""Which executor reads, and why: the native one where it was built, else the one in Python."""

from __future__ import annotations

import os
from dataclasses import dataclass

from h5stream.errors import ConfigError
from h5stream.native.library import load_library

__all__ = ["VARIABLE", "Executor", "choose_executor"]

VARIABLE = "H5STREAM_EXECUTOR"
"""The environment variable that asks for one of them."""

_NATIVE, _PYTHON = "native", "python"


@dataclass(frozen=True, slots=True)
class Executor:
    """Who does the jobs of reading.

    Parameters
    ----------
    name : {"native", "python"}
        What `H5STREAM_EXECUTOR` calls it.
    reason : str
        Why it is not the native one.
    """

    name: str
    reason: str = ""

    @property
    def is_native(self) -> bool:
        """Whether jobs run without the interpreter."""
        return self.name == _NATIVE

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


def choose_executor() -> Executor:
    """Choose who does the jobs of reading, by `H5STREAM_EXECUTOR` and by what was built.

    Raises
    ------
    ConfigError
        If another is asked for than there is.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", _NATIVE, _PYTHON):
        raise ConfigError(f"{VARIABLE} is {asked!r}; expected {_NATIVE!r} or {_PYTHON!r}")
    if asked == _PYTHON:
        return Executor(_PYTHON, f"{VARIABLE} asks for it")
    reason = load_library().reason
    if reason and asked == _NATIVE:
        raise ConfigError(f"{VARIABLE} asks for the native executor, which cannot read: {reason}")
    return Executor(_PYTHON, reason) if reason else Executor(_NATIVE)
