"""A plugin of pytest: takes from h5stream what Windows and macOS lack, before it is imported.

    python -m pytest -p tests.lacking ...

Other packages keep everything: only what modules of h5stream import is cut down.
"""

from __future__ import annotations

import builtins
import os
import select
from collections.abc import Mapping
from types import ModuleType
from typing import Any

_NAMES = {
    os: (
        "O_CLOEXEC",
        "O_NOFOLLOW",
        "O_NONBLOCK",
        "fork",
        "geteuid",
        "getuid",
        "posix_fadvise",
        "pread",
        "preadv",
        "pwrite",
        "register_at_fork",
        "sched_getaffinity",
        "sysconf",
    ),
    select: ("poll",),
}
_MODULES = ("fcntl", "resource")

_import = builtins.__import__


def _without(module: ModuleType, names: tuple[str, ...]) -> ModuleType:
    made = ModuleType(module.__name__)
    vars(made).update({name: vars(module)[name] for name in vars(module) if name not in names})
    return made


_CUT = {module.__name__: _without(module, names) for module, names in _NAMES.items()}


def _import_less(
    name: str, globals: Mapping[str, Any] | None = None, *arguments: Any, **options: Any
) -> ModuleType:
    importer = str((globals or {}).get("__name__", ""))
    if importer.partition(".")[0] == "h5stream":
        if name in _MODULES:
            raise ImportError(f"{name} was taken away")
        if name in _CUT:
            return _CUT[name]
    return _import(name, globals, *arguments, **options)


builtins.__import__ = _import_less
