"""Loads the compiled executor, and finds the codecs that it calls.

Codecs are functions of the C libraries that imagecodecs brings: its extension modules are linked
with them, so a look-up in a module finds them, wherever a build has put them. One that is not
found is left out, and chunks that need it are decoded in Python.
"""

from __future__ import annotations

import ctypes
import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from h5stream.native.build import LIBRARY, SOURCE, describe_source

__all__ = ["Codecs", "Library", "load_library"]

_FUNCTIONS = (
    ("_deflate", "libdeflate_alloc_decompressor"),
    ("_deflate", "libdeflate_free_decompressor"),
    ("_deflate", "libdeflate_zlib_decompress"),
    ("_lz4", "LZ4_decompress_safe"),
    ("_zstd", "ZSTD_createDCtx"),
    ("_zstd", "ZSTD_freeDCtx"),
    ("_zstd", "ZSTD_decompressDCtx"),
    ("_lzf", "lzf_decompress"),
    ("_blosc", "blosc_decompress_ctx"),
    ("_bz2", "BZ2_bzBuffToBuffDecompress"),
    ("_h5checksum", "H5_checksum_fletcher32"),
)
"""Module of imagecodecs and function, in the order of `struct codecs` in executor.c."""

_NEEDED = {
    1: ("libdeflate_zlib_decompress",),
    2: (),
    3: ("H5_checksum_fletcher32",),
    307: ("BZ2_bzBuffToBuffDecompress",),
    32000: ("lzf_decompress",),
    32001: ("blosc_decompress_ctx",),
    32004: ("LZ4_decompress_safe",),
    32015: ("ZSTD_decompressDCtx",),
}
"""Filter id -> the functions that undo it."""


class Codecs(ctypes.Structure):
    """Addresses of codecs; zero for one that was not found. `struct codecs` in executor.c."""

    _fields_ = [(name, ctypes.c_void_p) for _module, name in _FUNCTIONS]


@dataclass(frozen=True)
class Library:
    """The executor, or why there is none.

    Parameters
    ----------
    run : callable or None
        ``h5stream_run`` of executor.c.
    codecs : Codecs
        What it calls.
    filters : frozenset of int
        Ids of the filters that it undoes.
    reason : str
        Why there is none.
    """

    run: Any
    codecs: Codecs
    filters: frozenset[int] = frozenset()
    reason: str = ""


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Load the executor, once in a process."""
    if not LIBRARY.exists():
        return _without("the native executor was not built when h5stream was installed")
    try:
        library = ctypes.CDLL(str(LIBRARY))
        run, source = library.h5stream_run, library.h5stream_source
    except (OSError, AttributeError) as error:
        return _without(f"the native executor cannot be loaded: {error}")
    source.restype = ctypes.c_uint32
    if SOURCE.exists() and source() != describe_source():
        return _without(
            "the native executor was built from another version; install h5stream again, or run "
            f"python {SOURCE.with_name('build.py')}"
        )
    run.restype, run.argtypes = ctypes.c_int64, [ctypes.c_void_p]
    found = {name: _find(module, name) for module, name in _FUNCTIONS}
    filters = frozenset(number for number, names in _NEEDED.items() if all(map(found.get, names)))
    return Library(run, Codecs(*found.values()), filters)


def _without(reason: str) -> Library:
    return Library(None, Codecs(), reason=reason)


def _find(module: str, name: str) -> int | None:
    """Return the address of a function that a module of imagecodecs is linked with."""
    try:
        path = importlib.import_module(f"imagecodecs.{module}").__file__
        return ctypes.cast(getattr(ctypes.CDLL(path), name), ctypes.c_void_p).value
    except (ImportError, OSError, AttributeError):
        return None
