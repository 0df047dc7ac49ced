"""A table from HDF5 filter id to decoder.

A decoder gets the stored bytes, the exact place where the decoded bytes go and the filter's
client data, and returns how many bytes it wrote. Sizes that a stream claims for itself are
compared with what the file's layout says before a codec may act on them.

Sources: the HDF5 filter specification for 1 to 4; the registered-filter pages of The HDF Group
and the filters' own sources (h5py ``lzf_filter.c``, ``H5Zlz4.c``, hdf5-blosc) for the others.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import imagecodecs
import numpy as np

from h5stream.errors import DecodeError

__all__ = [
    "DECODERS",
    "FLETCHER32",
    "FRAME_ROOM",
    "LZF",
    "SHUFFLE",
    "Decoder",
    "describe_filter",
    "unshuffle_framed",
]

SHUFFLE = 2
"""Id of the byte shuffle, the one decoder that the pipeline feeds from a frame."""

FLETCHER32 = 3
"""Id of the checksum."""

LZF = 32000
"""Id of LZF, which h5py brings itself."""

FRAME_ROOM = 24
"""Bytes in front of shuffled data where `unshuffle_framed` writes a Blosc header."""

_SMALLEST_FRAME, _LARGEST_FRAME = 256, 2**29

_SZIP_MSB, _SZIP_NN = 16, 32
_AEC_MSB, _AEC_PREPROCESS = 4, 8
"""Options of szip (HDF5 ``H5Zszip``) and what libaec calls them."""

Run = Callable[[np.ndarray, np.ndarray, Sequence[int]], int]


def _always(_values: Sequence[int]) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one filter is undone.

    Parameters
    ----------
    name : str
        As people call it.
    run : callable
        ``(stored, out, client_data) -> bytes written``.
    added_bytes : int or None
        What writing added to the size; None for a compressor.
    misfit : callable
        Client data -> why this decoder cannot serve it, or None.
    """

    name: str
    run: Run
    added_bytes: int | None = None
    misfit: Callable[[Sequence[int]], str | None] = _always


def _deflate(data: np.ndarray, out: np.ndarray, _values: Sequence[int]) -> int:
    return imagecodecs.deflate_decode(data, out=out).nbytes


def _zstd(data: np.ndarray, out: np.ndarray, _values: Sequence[int]) -> int:
    return imagecodecs.zstd_decode(data, out=out).nbytes


def _lzf(data: np.ndarray, out: np.ndarray, _values: Sequence[int]) -> int:
    return imagecodecs.lzf_decode(data, out=out).nbytes


def _bzip2(data: np.ndarray, out: np.ndarray, _values: Sequence[int]) -> int:
    """One byte of room tells a stream that is too long, which the codec cuts off silently."""
    wide = imagecodecs.bz2_decode(data, out=np.empty(out.nbytes + 1, np.uint8))
    if wide.nbytes == out.nbytes:
        out[:] = wide
    return wide.nbytes


def _szip(data: np.ndarray, out: np.ndarray, values: Sequence[int]) -> int:
    """Decode as libaec's szip interface does, but notice a stream that ends early.

    Lines of pixels are stored padded to whole blocks, and pixels of 32 or 64 bits byte by byte:
    all first bytes, then all second bytes, as the byte shuffle does (libaec ``sz_compat.c``).
    """
    _expect_claim(data, "<I", 0, out.nbytes)
    mask, block, bits, line = values[:4]
    sample = np.dtype(np.uint16 if bits == 16 else np.uint8)
    blocks = -(-line // block)
    whole, rest = divmod(out.nbytes // sample.itemsize, line)
    padded = np.empty((whole + bool(rest), blocks * block), sample)
    last = (rest or line) - 1
    for unlikely in (0xA5, 0x5A):
        padded[-1, last] = unlikely
        imagecodecs.aec_decode(
            data[4:],
            bitspersample=8 * sample.itemsize,
            flags=(_AEC_MSB if mask & _SZIP_MSB else 0)
            | (_AEC_PREPROCESS if mask & _SZIP_NN else 0),
            blocksize=block,
            rsi=blocks,
            out=padded.reshape(-1),
        )
        if padded[-1, last] != unlikely:
            break
    else:
        raise DecodeError("the stream ends early")
    pixels = padded[:, :line].reshape(-1).view(np.uint8)[: out.nbytes]
    if bits <= 16:
        out[:] = pixels
        return pixels.nbytes
    return _unshuffle(pixels, out, (bits // 8,))


def _szip_misfit(values: Sequence[int]) -> str | None:
    if len(values) < 4:
        return "its szip parameters are incomplete"
    _mask, block, bits, line = values[:4]
    usual = block in (8, 16, 32) and bits in (8, 16, 32, 64) and 0 < line <= 4096
    return None if usual else f"its szip parameters are unusual: {tuple(values)}"


def _lz4(data: np.ndarray, out: np.ndarray, _values: Sequence[int]) -> int:
    _expect_claim(data, ">Q", 0, out.nbytes)
    return imagecodecs.lz4h5_decode(data, out=out).nbytes


def _blosc(data: np.ndarray, out: np.ndarray, _values: Sequence[int]) -> int:
    _expect_claim(data, "<I", 4, out.nbytes)
    _expect_claim(data, "<I", 12, data.nbytes)
    return imagecodecs.blosc_decode(data, numthreads=1, out=out).nbytes


def _expect_claim(data: np.ndarray, layout: str, at: int, expected: int) -> None:
    if data.nbytes < at + struct.calcsize(layout):
        raise DecodeError(f"{data.nbytes} stored bytes are too few for a header")
    (claimed,) = struct.unpack(layout, data[at : at + struct.calcsize(layout)].tobytes())
    if claimed != expected:
        raise DecodeError(f"the stream's header claims {claimed} bytes, expected {expected}")


def _fletcher32(data: np.ndarray, out: np.ndarray, _values: Sequence[int]) -> int:
    """Verify and strip the 4-byte checksum; HDF5 accepts either byte order within its halves."""
    payload = data[:-4]
    (stored,) = struct.unpack("<I", data[-4:].tobytes())
    computed = imagecodecs.h5checksum_fletcher32(payload)
    swapped = ((computed & 0x00FF00FF) << 8) | ((computed >> 8) & 0x00FF00FF)
    if stored not in (computed, swapped):
        raise DecodeError(f"checksum {computed:#010x} differs from the stored {stored:#010x}")
    out[:] = payload
    return payload.nbytes


def _unshuffle(data: np.ndarray, out: np.ndarray, values: Sequence[int]) -> int:
    """Undo the byte shuffle plane by plane; bytes beyond the last whole item are not shuffled."""
    itemsize = values[0]
    count = data.nbytes // itemsize
    if not count:  # HDF5 leaves data alone that is shorter than an item
        out[:] = data
        return data.nbytes
    whole = count * itemsize
    planes = data[:whole].reshape(itemsize, count)
    items = out[:whole].reshape(count, itemsize)
    for byte in range(itemsize):
        items[:, byte] = planes[byte]
    out[whole:] = data[whole:]
    return data.nbytes


def unshuffle_framed(frame: np.ndarray, out: np.ndarray, values: Sequence[int]) -> int:
    """Undo the byte shuffle of ``frame[FRAME_ROOM:]`` with SIMD instructions.

    Blosc undoes the same shuffle, so the data is dressed up as a Blosc buffer of one
    stored block: the header goes into the room that the frame has in front.
    """
    itemsize, nbytes = values[0], out.nbytes
    if not (1 < itemsize < 256 and _SMALLEST_FRAME <= nbytes <= _LARGEST_FRAME):
        return _unshuffle(frame[FRAME_ROOM:], out, values)
    version, codec_version, flags = 2, 1, 0x01 | 0x10  # byte shuffle, block not split
    sizes = (nbytes, nbytes, frame.nbytes, FRAME_ROOM - 4, nbytes)
    header = struct.pack("<BBBBIIIII", version, codec_version, flags, itemsize, *sizes)
    frame[:FRAME_ROOM] = np.frombuffer(header, np.uint8)
    return imagecodecs.blosc_decode(frame, numthreads=1, out=out).nbytes


def _shuffle_misfit(values: Sequence[int]) -> str | None:
    return None if values and values[0] > 0 else "its shuffle has no item size"


DECODERS: dict[int, Decoder] = {
    1: Decoder("gzip", _deflate),
    SHUFFLE: Decoder("shuffle", _unshuffle, added_bytes=0, misfit=_shuffle_misfit),
    FLETCHER32: Decoder("fletcher32", _fletcher32, added_bytes=4),
    4: Decoder("szip", _szip, misfit=_szip_misfit),
    307: Decoder("bzip2", _bzip2),
    LZF: Decoder("lzf", _lzf),
    32001: Decoder("blosc", _blosc),
    32004: Decoder("lz4", _lz4),
    32015: Decoder("zstd", _zstd),
}
"""Filter id -> decoder: what can be read directly."""

_OTHERS = {
    5: "nbit",
    6: "scaleoffset",
    32008: "bitshuffle",
    32013: "zfp",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
}
"""Names of filters that only HDF5 itself, or hdf5plugin, can undo."""


def describe_filter(number: int, stored_name: str = "") -> str:
    """Name a filter for a message.

    Examples
    --------
    >>> describe_filter(32008)
    'bitshuffle (filter 32008)'
    """
    decoder = DECODERS.get(number)
    name = decoder.name if decoder else _OTHERS.get(number, stored_name.split(";")[0] or "unnamed")
    return f"{name} (filter {number})"
