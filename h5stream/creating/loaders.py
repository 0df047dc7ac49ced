"""Ready functions that load a source: each returns one sample, or yields many."""

from __future__ import annotations

import csv
import io
import os
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import imagecodecs
import numpy as np

from h5stream.errors import ConfigError, DecodeError, UnsupportedError

__all__ = [
    "class_of_folder",
    "decode_image",
    "load_audio",
    "load_csv",
    "load_encoded",
    "load_image",
    "load_lines",
    "load_numpy",
    "load_parquet",
]

_IMAGES = ("png", "jpeg8", "webp", "tiff", "bmp", "gif", "qoi")
"""Codecs that are tried, one after the other."""

_WAVE_TYPES = {1: "u1", 2: "<i2", 4: "<i4"}

Source = str | os.PathLike[str]


def _read(source: Source) -> bytes:
    """Read a file, or what a URL has."""
    with fsspec.open(os.fspath(source), "rb") as file:
        return bytes(file.read())


def load_image(source: Source) -> dict[str, Any]:
    """Load an image, decoded: PNG, JPEG, WebP, TIFF, BMP, GIF or QOI.

    Returns
    -------
    dict
        ``image``: shape (height, width, channels), or (height, width).

    Raises
    ------
    DecodeError
        If it is no image.
    """
    return {"image": decode_image(_read(source), str(source))}


def load_encoded(source: Source) -> dict[str, Any]:
    """Load the bytes of an image as they are, as a ragged row; `decode_image` decodes them.

    Returns
    -------
    dict
        ``image``: uint8.
    """
    return {"image": np.frombuffer(_read(source), np.uint8)}


def decode_image(data: Any, name: str = "image") -> np.ndarray:
    """Decode an image.

    Parameters
    ----------
    data : bytes or array of uint8
        As it is stored in a file.
    name : str
        For messages.

    Raises
    ------
    DecodeError
        If it is no image.

    Examples
    --------
    >>> picture = np.zeros((4, 5, 3), np.uint8)
    >>> decode_image(imagecodecs.png_encode(picture)).shape
    (4, 5, 3)
    """
    try:
        return np.asarray(imagecodecs.imread(bytes(data), list(_IMAGES), memmap=False))
    except Exception as error:  # each codec has errors of its own
        raise DecodeError(f"{name}: cannot be decoded as an image: {error}") from error


def load_numpy(source: Source) -> dict[str, Any]:
    """Load a ``.npy`` file as the field ``data``, or the arrays of a ``.npz`` file by their names.

    Raises
    ------
    DecodeError
        If it is neither, or holds Python objects, which are never loaded.
    """
    try:
        found: Any = np.load(io.BytesIO(_read(source)), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"data": found}
        with found:
            return {name: found[name] for name in found.files}
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise DecodeError(f"{source}: cannot be read as arrays: {error}") from error


def load_audio(source: Source) -> dict[str, Any]:
    """Load sound: WAV files of whole numbers, others where ``soundfile`` is installed.

    Returns
    -------
    dict
        ``audio``: shape (time, channels), as it is stored; ``rate``: samples a second.

    Raises
    ------
    UnsupportedError
        If it is not WAV, and soundfile is not installed.
    """
    data = _read(source)
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels = file.getsampwidth(), file.getnchannels()
            if width in _WAVE_TYPES:
                flat = np.frombuffer(file.readframes(file.getnframes()), _WAVE_TYPES[width])
                return {"audio": flat.reshape(-1, channels), "rate": file.getframerate()}
    except (wave.Error, EOFError):
        pass  # something else, or WAV of floats
    try:
        import soundfile
    except ImportError as error:
        raise UnsupportedError(
            f"{source}: is no WAV file of whole numbers; others need `pip install soundfile`"
        ) from error
    audio, rate = soundfile.read(io.BytesIO(data), always_2d=True, dtype="float32")
    return {"audio": audio, "rate": rate}


def load_lines(source: Source) -> Iterator[dict[str, Any]]:
    """Load a text file, a sample a line: ``text`` without its end, and ``line``, its number.

    Raises
    ------
    DecodeError
        If it is not UTF-8.
    """
    try:
        text = _read(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DecodeError(f"{source}: is not UTF-8: {error}") from error
    for number, line in enumerate(text.splitlines()):
        yield {"text": line, "line": number}


def load_csv(source: Source) -> Iterator[dict[str, Any]]:
    """Load a CSV file, a sample a row; a column is of numbers if all its values are.

    Raises
    ------
    DecodeError
        If rows have more or fewer values than the first line has names.
    """
    try:
        rows = list(csv.reader(io.StringIO(_read(source).decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DecodeError(f"{source}: cannot be read as CSV: {error}") from error
    names, rows = (rows[0], rows[1:]) if rows else ([], [])
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise DecodeError(f"{source}: line {number} has {len(row)} values, not {len(names)}")
    columns = [_numbers_or_text(column) for column in zip(*rows, strict=True)]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _numbers_or_text(column: Sequence[str]) -> list[Any]:
    for kind in (int, float):
        try:
            return [kind(value) for value in column]
        except ValueError:
            continue
    return list(column)


def load_parquet(source: Source) -> Iterator[dict[str, Any]]:
    """Load a parquet file, a sample a row; needs ``h5stream[parquet]``.

    Raises
    ------
    UnsupportedError
        If pyarrow is not installed.
    DecodeError
        If it is no parquet file.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UnsupportedError(
            f"{source}: parquet files need `pip install 'h5stream[parquet]'`"
        ) from error
    try:
        file = parquet.ParquetFile(io.BytesIO(_read(source)))
        for batch in file.iter_batches():
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise DecodeError(f"{source}: cannot be read as parquet: {error}") from error


def class_of_folder(sources: Sequence[Source]) -> Callable[[Source], dict[str, Any]]:
    """Make a function that labels a file by the folder that it lies in.

    Parameters
    ----------
    sources : sequence of paths
        All files; their folders, in order of names, are the classes.

    Returns
    -------
    callable
        Path -> ``{"label": number, "class": name}``.

    Examples
    --------
    >>> label = class_of_folder(["train/dog/1.png", "train/cat/7.png"])
    >>> label("train/dog/1.png")
    {'label': 1, 'class': 'dog'}
    """
    names = sorted({Path(os.fspath(source)).parent.name for source in sources})
    numbers: Mapping[str, int] = {name: number for number, name in enumerate(names)}

    def label(source: Source) -> dict[str, Any]:
        name = Path(os.fspath(source)).parent.name
        if name not in numbers:
            raise ConfigError(f"{source}: lies in no folder of {names[:8]}")
        return {"label": numbers[name], "class": name}

    return label
