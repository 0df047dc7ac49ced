"""Compiles `executor.c` to a shared library beside it; needs nothing but Python and a C compiler.

The build hook of the package runs this; in a checkout ``python h5stream/native/build.py`` does.
``CC`` names another compiler and ``CFLAGS`` adds options; ``CC=false`` builds nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

__all__ = ["LIBRARY", "SOURCE", "build", "describe_source"]

SOURCE = Path(__file__).with_name("executor.c")
"""What is compiled."""

LIBRARY = SOURCE.with_suffix(".shared")
"""What comes of it; its name keeps Python from taking it for a module of its own."""

_OPTIONS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fvisibility=hidden")
_MOST_SECONDS = 300.0
_MOST_TOLD = 2000


def describe_source(source: Path = SOURCE) -> int:
    """Return the number by which a library says which source it was built from."""
    return zlib.crc32(source.read_bytes())


def build(target: Path = LIBRARY, *, flags: str | None = None) -> str | None:
    """Compile the executor.

    Parameters
    ----------
    target : Path
        The library to make.
    flags : str, optional
        In place of ``CFLAGS``.

    Returns
    -------
    str or None
        Why there is none; None if it was built.
    """
    command = shlex.split(os.environ.get("CC", "")) or _find_compiler()
    if not command:
        return "no C compiler was found (cc, gcc or clang)"
    options = shlex.split(os.environ.get("CFLAGS", "") if flags is None else flags)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    define = f"-DH5STREAM_SOURCE={describe_source()}u"
    line = [*command, *_OPTIONS, *options, define, "-o", str(partial), str(SOURCE)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=_MOST_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} could not be run: {error}"
    if done.returncode or not partial.exists():
        told = done.stderr.strip()[:_MOST_TOLD] or f"it ended with {done.returncode}"
        return f"{command[0]} failed: {told}"
    partial.replace(target)
    return None


def _find_compiler() -> list[str]:
    return [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]


if __name__ == "__main__":
    sys.exit(build())
