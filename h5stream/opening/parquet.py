"""Columns of Parquet files, each read when it is asked for. pyarrow is imported only here."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from h5stream.errors import ConfigError

__all__ = ["ParquetColumns"]

_MOST_UNPACKED_BYTES = 2**31
_MOST_ROWS = 2**30


class ParquetColumns(Mapping[str, list[Any]]):
    """The columns of a table, by their names.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    data : bytes
        What it holds.

    Raises
    ------
    ConfigError
        If it is no table, is larger than plausible, or pyarrow is not installed.
    """

    def __init__(self, name: str, data: bytes) -> None:
        pyarrow = _load_pyarrow()
        self._name, self._errors = name, (pyarrow.ArrowException, OSError, ValueError)
        try:
            self._file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        except self._errors as error:
            raise ConfigError(f"{name}: cannot be read as a parquet file: {error}") from error
        about = self._file.metadata
        unpacked = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
        if unpacked > _MOST_UNPACKED_BYTES or about.num_rows > _MOST_ROWS:
            raise ConfigError(
                f"{name}: claims {about.num_rows} rows of {unpacked} bytes, too many for a table "
                "that is kept in memory; select the columns and rows that are needed"
            )

    def __getitem__(self, column: str) -> list[Any]:
        """Read a column.

        Raises
        ------
        ConfigError
            If the file is damaged.
        """
        if column not in set(self):
            raise KeyError(column)
        try:
            return self._file.read(columns=[column]).column(column).to_pylist()
        except self._errors as error:
            raise ConfigError(f"{self._name}: cannot read column {column!r}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.schema_arrow.names)

    def __len__(self) -> int:
        return len(self._file.schema_arrow.names)


def _load_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "tables in parquet need pyarrow: pip install 'h5stream[parquet]', or pass what reads "
            "them: Table(pandas.read_parquet(...))"
        ) from error
    return pyarrow
