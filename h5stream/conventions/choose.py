"""Chooses the fields of a file: what was asked for, in the words of its convention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py

from h5stream.conventions.convention import Convention
from h5stream.conventions.table import CONVENTIONS, recognise
from h5stream.errors import ConfigError
from h5stream.fields import Asked, default_names
from h5stream.layout.scan import describe_all

__all__ = ["Choice", "choose_fields"]


@dataclass(frozen=True)
class Choice:
    """The fields of one file.

    Parameters
    ----------
    fields : mapping
        Key of the column -> path or spec.
    convention : str or None
        Name of the convention that has the say, if there is one.
    """

    fields: Mapping[str, Asked]
    convention: str | None = None


def choose_fields(
    file: h5py.File,
    *,
    fields: Mapping[str, Asked] | None,
    convention: str | None,
    options: Mapping[str, Any],
) -> Choice:
    """Choose the fields of one file.

    Parameters
    ----------
    file : h5py.File
        Open.
    fields : mapping or None
        Key of the column -> path, name in the convention, or spec; None for the default fields.
    convention : str or None
        Name of a convention, "auto" or None.
    options : mapping
        Options of the convention.

    Raises
    ------
    ConfigError
        If there is no such convention or option, or nothing to stream.
    """
    known = _find(file, convention)
    if known is None:
        if options:
            raise ConfigError(
                f"{file.filename}: options {sorted(options)} are those of a convention, but the "
                "file shows none; name one with convention="
            )
        if fields is None:
            fields = {name: name for name in default_names(describe_all(file))}
        return Choice(fields)
    if fields is None:
        return Choice(known.default_fields(file, None, **options), known.name)
    names = set(known.field_names(file))
    wanted = [name for name in fields.values() if isinstance(name, str) and name in names]
    made = known.default_fields(file, list(dict.fromkeys(wanted)), **options) if wanted else {}
    chosen: dict[str, Asked] = {}
    for key, name in fields.items():
        chosen[key] = made[name] if isinstance(name, str) and name in made else name
    return Choice(chosen, known.name)


def _find(file: h5py.File, convention: str | None) -> Convention | None:
    if convention is None:
        return None
    if convention == "auto":
        return recognise(file)
    found = next((known for known in CONVENTIONS if known.name == convention), None)
    if found is None:
        names = ", ".join(repr(known.name) for known in CONVENTIONS)
        raise ConfigError(f'convention must be "auto", None or one of {names}, not {convention!r}')
    if not found.recognise(file):
        raise ConfigError(f"{file.filename} is no file of {found.name}: {found.about}")
    return found
