"""What a convention is: a name, how to know its files, and which fields they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py

from h5stream.conventions.nodes import refuse_damage
from h5stream.errors import ConfigError
from h5stream.fields import FileSpec, Meaning

__all__ = ["Convention"]


def _nothing(file: h5py.File, fields: Sequence[str] | None) -> list[str]:
    return []


def _no_meaning(file: h5py.File, name: str, *, alone: bool, options: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class Convention:
    """One way in which other libraries lay samples out in HDF5 files.

    Packages publish theirs as entry points of the group ``h5stream.conventions``. The functions get
    an open `h5py.File`, and must not keep it.

    Parameters
    ----------
    name : str
        Of the library or the custom.
    about : str
        In a line.
    override : str
        In a line: how to ask for something else than the default fields.
    recognises : callable
        File -> whether it is one of them.
    names : callable
        File -> the names of all fields that can be asked for.
    make : callable
        File, names (or None) and options -> fields by name.
    options : tuple of str
        Keyword arguments that `make` takes.
    omits : callable
        File, and names of fields (None: the default ones) -> what they leave out, a sentence each.
    meaning : callable
        File, name of a field, whether the file is streamed alone, and the options -> what the
        numbers of the field mean, where files may differ in that.
    """

    name: str
    about: str
    override: str
    recognises: Callable[[h5py.File], bool]
    names: Callable[[h5py.File], list[str]]
    make: Callable[..., dict[str, FileSpec]]
    options: tuple[str, ...] = ()
    omits: Callable[[h5py.File, Sequence[str] | None], list[str]] = _nothing
    meaning: Callable[..., Meaning | None] = _no_meaning

    def recognise(self, file: h5py.File) -> bool:
        """Tell whether a file was written in this way; damaged files were not."""
        try:
            return self.recognises(file)
        except (RuntimeError, OSError, KeyError, ValueError, TypeError):
            return False

    def field_names(self, file: h5py.File) -> list[str]:
        """List the names of all fields that can be asked for.

        Raises
        ------
        LayoutError
            If the file is not what it seems.
        """
        with refuse_damage(file):
            return self.names(file)

    def default_fields(
        self, file: h5py.File, fields: Sequence[str] | None = None, **options: Any
    ) -> dict[str, FileSpec]:
        """Say how the fields of one file are laid out.

        The answer is for this file alone: it holds row numbers and columns that were read from it.

        Parameters
        ----------
        file : h5py.File
            Open for reading.
        fields : sequence of str or None
            Names out of `field_names`; None: those that suit most training.
        **options
            Those of the convention.

        Raises
        ------
        ConfigError
            If a field or an option does not fit the file.
        LayoutError
            If the file breaks its own convention.
        """
        for option in options:
            if option not in self.options:
                known = ", ".join(self.options) or "none"
                raise ConfigError(
                    f"files of {self.name} have no option {option!r}; there are: {known}"
                )
        with refuse_damage(file):
            return self.make(file, fields, **options)
