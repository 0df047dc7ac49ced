"""Chooses the fields of a file: what was asked for, in the words of its convention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py

from h5stream.conventions.convention import Convention
from h5stream.conventions.table import all_conventions, find_convention, recognise
from h5stream.errors import ConfigError
from h5stream.fields import (
    Asked,
    FileSpec,
    Meaning,
    Members,
    default_names,
    omitted_by_default,
    resolve,
    resolve_known,
)
from h5stream.layout import DatasetLayout
from h5stream.layout.elements import describe
from h5stream.layout.scan import describe_all

__all__ = ["Choice", "Wanted"]


@dataclass(frozen=True)
class Choice:
    """The fields of one file.

    Parameters
    ----------
    specs : mapping
        Key of the column -> concrete spec.
    convention : str or None
        Name of the convention that has the say, if there is one.
    left_out : tuple of str
        What is left out by default, a sentence each.
    meanings : mapping
        Key of the column -> what its numbers mean in this file.
    """

    specs: Mapping[str, Any]
    convention: str | None = None
    left_out: tuple[str, ...] = ()
    meanings: Mapping[str, Meaning] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of every file of a stream.

    Parameters
    ----------
    fields : mapping or None
        Key of the column -> path, name in the convention, or spec; None for the default fields.
    convention : str or None
        Name of a convention, "auto" or None.
    options : mapping
        Options of the convention.
    alone : bool
        Whether there is one file only, with which no other must agree.
    """

    fields: Mapping[str, Asked] | None = None
    convention: str | None = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = True

    def choose(self, file: h5py.File) -> Choice:
        """Choose the fields of one file, and make them concrete.

        Raises
        ------
        ConfigError
            If there is no such convention, option or field, or nothing to stream.
        """
        known = _find(file, self.convention)
        if known is None:
            plain, left_out = self._plain(file)
            return Choice(resolve(file, plain), left_out=left_out)
        fields = self._named(known, file)
        if self.fields is not None:
            meanings = self._meanings(known, file, self.fields)
            asked = [name for name in self.fields.values() if isinstance(name, str)]
            left_out = tuple(known.omits(file, asked))
            return Choice(resolve(file, fields), known.name, left_out, meanings)
        specs, unreadable = _readable(file, resolve(file, fields))
        meanings = self._meanings(known, file, {name: name for name in specs})
        return Choice(specs, known.name, (*known.omits(file, None), *unreadable), meanings)

    def _meanings(
        self, known: Convention, file: h5py.File, fields: Mapping[str, Any]
    ) -> dict[str, Meaning]:
        found = {
            key: known.meaning(file, name, alone=self.alone, options=self.options)
            for key, name in fields.items()
            if isinstance(name, str)
        }
        return {key: meaning for key, meaning in found.items() if meaning is not None}

    def choose_saved(
        self, datasets: Mapping[str, DatasetLayout], convention: str | None, *, complete: bool
    ) -> Choice | None:
        """Do the same with what is known of a file already.

        Parameters
        ----------
        datasets : mapping
            Of the file, by their paths.
        convention : str or None
            The one that it shows.
        complete : bool
            Whether these are all its datasets.

        Returns
        -------
        Choice or None
            None if the file itself must be asked.
        """
        plain = self.convention is None or (self.convention == "auto" and convention is None)
        if not plain or self.options or (self.fields is None and not complete):
            return None
        fields, left_out = (self.fields, ()) if self.fields else _by_default(datasets)
        specs = resolve_known(fields, datasets)
        return None if specs is None else Choice(specs, left_out=left_out)

    def _plain(self, file: h5py.File) -> tuple[Mapping[str, Asked], tuple[str, ...]]:
        if self.options:
            raise ConfigError(
                f"{file.filename}: options {sorted(self.options)} are those of a convention, but "
                "the file shows none; name one with convention="
            )
        if self.fields is not None:
            return self.fields, ()
        return _by_default(describe_all(file))

    def _named(self, known: Convention, file: h5py.File) -> Mapping[str, str | FileSpec]:
        if self.fields is None:
            return known.default_fields(file, None, **self.options)
        names = set(known.field_names(file))
        wanted = [name for name in self.fields.values() if isinstance(name, str) and name in names]
        asked = list(dict.fromkeys(wanted))
        made = known.default_fields(file, asked, **self.options) if wanted else {}
        return {
            key: made[name] if isinstance(name, str) and name in made else name
            for key, name in self.fields.items()
        }


def _by_default(
    datasets: Mapping[str, DatasetLayout],
) -> tuple[dict[str, Asked], tuple[str, ...]]:
    """Choose plain datasets, and say which are left out."""
    names = default_names(datasets)
    return {name: name for name in names}, tuple(omitted_by_default(datasets, names))


def _readable(file: h5py.File, specs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Leave out fields of groups whose datasets cannot be rows, unless that leaves none."""
    reasons = {key: _reason_against(file, spec) for key, spec in specs.items()}
    kept = {key: spec for key, spec in specs.items() if reasons[key] is None}
    told = [f"{file.filename}: {key!r} {reason}" for key, reason in reasons.items() if reason]
    return (kept, told) if any(isinstance(s, Members) for s in kept.values()) else (dict(specs), [])


def _reason_against(file: h5py.File, spec: Any) -> str | None:
    if not isinstance(spec, Members):
        return None
    first = describe(file[spec.paths[0]], sizes=False)
    if first.vlen is not None and first.shape:
        return "has elements of variable length, one dataset a row"
    return f"cannot be a field: {first.refused}" if first.refused and first.shape else None


def _find(file: h5py.File, convention: str | None) -> Convention | None:
    if convention is None:
        return None
    if convention == "auto":
        return recognise(file)
    found = find_convention(convention)
    if found is None:
        names = ", ".join(repr(known.name) for known in all_conventions())
        raise ConfigError(f'convention must be "auto", None or one of {names}, not {convention!r}')
    if not found.recognise(file):
        raise ConfigError(f"{file.filename} is no file of {found.name}: {found.about}")
    return found
