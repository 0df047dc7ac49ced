"""A writer whose file is looked into while it is written: by row, and with trees of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from h5stream.errors import ConfigError
from h5stream.write.column_writers import write_whole
from h5stream.write.columns import ColumnSpec
from h5stream.write.in_place import read_row, read_texts
from h5stream.write.writer import Writer, checked_columns

__all__ = ["OpenWriter"]


class OpenWriter(Writer):
    """Writes rows as `Writer` does in mode "append" or "memory", and reads them."""

    def file(self) -> h5py.File:
        """Return the file with all rows so far, which are not committed by that."""
        return self._settled()

    def declare(self, columns: Mapping[str, ColumnSpec]) -> None:
        """Say what columns are, before the first row.

        Raises
        ------
        ConfigError
            If rows have come.
        """
        if len(self):
            raise ConfigError(f"{self.path}: columns are declared before the first row")
        self._specs = checked_columns(columns)

    def read_row(self, name: str, row: int) -> Any:
        """Return a row of a column; in mode "append"."""
        file = self._settled()
        return read_row(file, name, self._columns[name].kind, row)

    def texts(self, name: str) -> list[str]:
        """Return all rows of a column of text; none if there is no such column."""
        file = self._settled()
        if name not in self._columns:
            return []
        return read_texts(file, name, self._columns[name].kind)

    def put_tree(self, path: str, tree: bytes, arrays: Sequence[np.ndarray]) -> None:
        """Store arrays and a text about them in a group, in the place of what is there."""
        file = self._settled()
        storage = self._storage(lambda _nbytes: 1)
        with self._explained():
            if path in file:
                del file[path]
            file.create_dataset(f"{path}/tree", data=np.frombuffer(tree, np.uint8))
            for number, array in enumerate(arrays):
                write_whole(file, f"{path}/{number}", array, storage)

    def image(self) -> bytes:
        """Return the bytes of the whole file; in mode "append"."""
        file = self._settled()
        file.flush()
        return bytes(file.id.get_file_image())
