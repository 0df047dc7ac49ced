"""A file system that works on an event loop and has no transport of its own, as adlfs has none."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import fsspec
from fsspec.asyn import AsyncFileSystem


class AsyncMemory(AsyncFileSystem):
    """Files of fsspec's memory, given after a little while."""

    protocol: ClassVar[str] = "asyncmemory"

    async def _cat_file(self, path: str, start: int = 0, end: int | None = None, **_: Any) -> bytes:
        await asyncio.sleep(0.001)
        return fsspec.filesystem("memory").cat_file(path, start=start, end=end)

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        return fsspec.filesystem("memory").info(path)

    async def _glob(self, path: str, **_: Any) -> list[str]:
        return fsspec.filesystem("memory").glob(self._strip_protocol(path))


fsspec.register_implementation("asyncmemory", AsyncMemory)
