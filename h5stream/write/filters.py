"""Filters that new chunks go through, and how each is done: outside HDF5's lock, on any thread.

HDF5 is told of the same filters when a dataset is made, and gets chunks that are encoded already.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Literal, get_args

import imagecodecs
import numpy as np
from h5py import h5z

from h5stream.errors import ConfigError, UnsupportedError

__all__ = ["Codec", "Compression", "Filters", "filters_for", "filters_of"]

Compression = Literal["auto", "gzip", "zstd", "lz4"] | None
"""How chunks are compressed; "auto": gzip, where the first chunk shrinks by a tenth."""

Codec = Literal["gzip", "zstd", "lz4"]

_LEVELS: dict[str, tuple[int, range]] = {
    "gzip": (4, range(1, 10)),
    "zstd": (3, range(1, 20)),
    "lz4": (0, range(1)),
}
"""Default level, and those that there are."""

_NUMBERS: dict[Codec, int] = {"gzip": 1, "zstd": 32015, "lz4": 32004}
_SHUFFLE, _FLETCHER32 = 2, 3
_CHECKSUM_BYTES = 4
_PAYS = 0.9
"""A chunk that keeps more than this part of its bytes is not worth decoding."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What is done to each chunk of a dataset.

    Parameters
    ----------
    codec : str or None
        What compresses it, after its bytes were shuffled.
    level : int
        How hard.
    itemsize : int
        Bytes of an element, for the shuffle.
    checksum : bool
        Whether a checksum (fletcher32) is added.
    """

    codec: Codec | None
    level: int
    itemsize: int
    checksum: bool

    def encode(self, chunk: np.ndarray) -> bytes | np.ndarray:
        """Return what is stored of a chunk: uint8.

        Parameters
        ----------
        chunk : numpy.ndarray
            uint8, contiguous.
        """
        data: Any = chunk
        if self.codec is not None:
            data = _compress(_shuffled(chunk, self.itemsize), self.codec, self.level)
        if not self.checksum:
            return data
        stored = np.empty(len(data) + _CHECKSUM_BYTES, np.uint8)
        stored[:-_CHECKSUM_BYTES] = np.frombuffer(data, np.uint8)
        checksum = imagecodecs.h5checksum_fletcher32(stored[:-_CHECKSUM_BYTES])
        stored[-_CHECKSUM_BYTES:] = np.frombuffer(int(checksum).to_bytes(4, "little"), np.uint8)
        return stored

    def tell(self, plist: Any) -> None:
        """Set the same filters on HDF5's description of a new dataset.

        Parameters
        ----------
        plist : h5py.h5p.PropDCID
            The description.
        """
        if self.codec is not None and self.itemsize > 1:
            plist.set_shuffle()
        if self.codec == "gzip":
            plist.set_deflate(self.level)
        elif self.codec == "zstd":
            plist.set_filter(_NUMBERS["zstd"], h5z.FLAG_MANDATORY, (self.level,))
        elif self.codec == "lz4":
            plist.set_filter(_NUMBERS["lz4"], h5z.FLAG_MANDATORY, (0,))
        if self.checksum:
            plist.set_fletcher32()

    @property
    def numbers(self) -> list[int]:
        """HDF5's numbers of the filters, in order."""
        shuffle = [_SHUFFLE] if self.codec is not None and self.itemsize > 1 else []
        codec = [] if self.codec is None else [_NUMBERS[self.codec]]
        return [*shuffle, *codec, *([_FLETCHER32] if self.checksum else [])]

    def pays(self, chunk: np.ndarray) -> bool:
        """Tell whether a chunk shrinks enough to be worth decoding."""
        return len(self.encode(chunk)) <= _PAYS * chunk.nbytes


def filters_for(compression: Any, level: int | None, checksum: bool, itemsize: int) -> Filters:
    """Choose filters by name; "auto" means gzip, which the first chunk may show to be vain.

    Raises
    ------
    ConfigError
        If there is no such compression or level.
    UnsupportedError
        If what it needs is not installed.
    """
    if compression is None:
        if level is not None:
            raise ConfigError("compression=None has no level; leave it out")
        return Filters(None, 0, itemsize, checksum)
    codec: Any = "gzip" if compression == "auto" else compression
    if codec not in get_args(Codec):
        names = '"auto", "gzip", "zstd", "lz4" or None'
        raise ConfigError(f"compression must be {names}, not {compression!r}")
    default, levels = _LEVELS[codec]
    if level is not None and level not in levels:
        raise ConfigError(
            f"{codec} has levels from {levels.start} to {levels.stop - 1}, not {level!r}"
        )
    _require_plugin(codec)
    return Filters(codec, default if level is None else level, itemsize, checksum)


def filters_of(dataset: Any, itemsize: int) -> Filters | None:
    """Return the filters of a dataset, None if they are not among those that are known here."""
    plist = dataset.id.get_create_plist()
    found = [plist.get_filter(number) for number in range(plist.get_nfilters())]
    values = {each[0]: each[2] for each in found}
    codec = next((name for name, number in _NUMBERS.items() if number in values), None)
    level = _LEVELS[codec][0] if codec else 0
    if codec in ("gzip", "zstd") and values[_NUMBERS[codec]]:
        level = int(values[_NUMBERS[codec]][0])
    filters = Filters(codec, level, itemsize, _FLETCHER32 in values)
    return filters if [each[0] for each in found] == filters.numbers else None


def _require_plugin(codec: Codec) -> None:
    """HDF5 must know a filter when a dataset with it is made."""
    number = _NUMBERS[codec]
    if not h5z.filter_avail(number) and importlib.util.find_spec("hdf5plugin"):
        importlib.import_module("hdf5plugin")
    if not h5z.filter_avail(number):
        raise UnsupportedError(
            f"compression={codec!r} needs `pip install hdf5plugin`, here and wherever HDF5 itself "
            "reads the file; gzip is read everywhere"
        )


def _shuffled(chunk: np.ndarray, itemsize: int) -> np.ndarray:
    if itemsize < 2:
        return chunk
    return np.ascontiguousarray(chunk.reshape(-1, itemsize).T).reshape(-1)


def _compress(data: np.ndarray, codec: Codec, level: int) -> Any:
    if codec == "gzip":
        return imagecodecs.deflate_encode(data, level=level)
    if codec == "zstd":
        return imagecodecs.zstd_encode(data, level=level)
    return imagecodecs.lz4h5_encode(data)
