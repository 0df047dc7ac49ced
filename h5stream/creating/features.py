"""Features: a class that says what files of its kind hold, and how each column is made."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from h5stream.conventions.nodes import attribute
from h5stream.creating.create import Created, create
from h5stream.errors import ConfigError, LayoutError
from h5stream.layout.opening import open_checked
from h5stream.write.columns import ColumnSpec
from h5stream.write.writer import COLUMN_OPTIONS

__all__ = ["Feature", "Features", "feature"]

_PARAMETERS = "parameters"

Made = TypeVar("Made")


@dataclasses.dataclass(frozen=True, eq=False)
class Feature(Generic[Made]):
    """A column, and the method that makes its rows.

    Parameters
    ----------
    function : callable
        Of an instance and a source, or, with `of`, of the values of other features.
    column : ColumnSpec or None
        What it is; None: as its first rows show.
    of : tuple of str
        Features that it is derived from.
    options : mapping
        How it is stored: compression, level, checksum.
    attributes : mapping
        Stored with the column.
    """

    function: Callable[..., Made]
    column: ColumnSpec | None
    of: tuple[str, ...]
    options: Mapping[str, Any]
    attributes: Mapping[str, Any]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return the method, or of a class the feature itself."""
        return self if instance is None else self.function.__get__(instance, owner)


def feature(
    column: ColumnSpec | None = None,
    *,
    of: str | Sequence[str] = (),
    attributes: Mapping[str, Any] | None = None,
    **options: Any,
) -> Callable[[Callable[..., Made]], Feature[Made]]:
    """Make a method of `Features` a column.

    Parameters
    ----------
    column : ColumnSpec, optional
        `DenseColumn`, `RaggedColumn`, `SparseColumn` or `TextColumn`; by default as the first rows
        show.
    of : str or sequence of str
        Features that the method takes instead of the source; they stand before it.
    attributes : mapping, optional
        Stored with the column.
    **options
        How this column is stored: compression, level, checksum.

    Raises
    ------
    ConfigError
        If there is no such option.

    Examples
    --------
    See `Features`.
    """
    unknown = set(options) - COLUMN_OPTIONS
    if unknown:
        raise ConfigError(
            f"feature() has no option {min(unknown)!r}; there are {sorted(COLUMN_OPTIONS)}"
        )
    names = (of,) if isinstance(of, str) else tuple(of)

    def decorate(function: Callable[..., Made]) -> Feature[Made]:
        return Feature(function, column, names, options, dict(attributes or {}))

    return decorate


class Features:
    """What files of a kind hold: a class of yours with a method for each column.

    Methods marked by `feature` make the columns, of a source or of other features. What the class
    has as a dataclass are parameters: they are stored with the file, and `open` makes the instance
    that the file was made with. All other methods are your own.

    Examples
    --------
    >>> import dataclasses, tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import h5stream as h5s
    >>> @dataclasses.dataclass
    ... class Waves(h5s.Features):
    ...     rate: int = 100
    ...
    ...     @h5s.feature(h5s.RaggedColumn("float32"), compression="gzip")
    ...     def wave(self, source):
    ...         return np.sin(np.arange(self.rate * source) / self.rate)
    ...
    ...     @h5s.feature(h5s.DenseColumn((), "float32"), of="wave")
    ...     def loudness(self, wave):
    ...         return np.abs(wave).max()
    ...
    ...     def seconds(self, wave):
    ...         return len(wave) / self.rate
    >>> path = Path(tempfile.mkdtemp()) / "waves.h5"
    >>> Waves(rate=50).create(path, [1, 2, 3]).n_rows
    3
    >>> waves = Waves.open(path)
    >>> batch = next(iter(h5s.H5Stream(path, batch_size=3)))
    >>> waves.rate, waves.seconds(batch["wave"][2]), batch["loudness"].shape
    (50, 3.0, torch.Size([3]))
    """

    features: ClassVar[Mapping[str, Feature[Any]]] = {}
    """The columns of this class and of those that it inherits from."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        found = dict(cls.features)
        found |= {name: each for name, each in vars(cls).items() if isinstance(each, Feature)}
        for name, each in found.items():
            before = list(found)[: list(found).index(name)]
            for other in each.of:
                if other not in before:
                    raise ConfigError(
                        f"{cls.__name__}.{name} is made of {other!r}, which is no feature before it"
                    )
        cls.features = found

    def create(self, path: str | os.PathLike[str], sources: Any, **options: Any) -> Created:
        """Make a file with a row for each source.

        Parameters
        ----------
        path, sources, **options
            As for `create`. A source is left out if a method gives None for it.

        Raises
        ------
        ConfigError
            If there are no features, or a parameter is no number, text, list or dict of those.
        """
        if not self.features:
            raise ConfigError(f"{type(self).__name__} has no features; mark methods with feature()")
        for name in ("columns", "column_attributes", "column_options"):
            if name in options:
                raise ConfigError(f"{name!r} are what the class says; leave it out")
        parameters = json.dumps(self._parameters())
        attributes = {**(options.pop("attributes", None) or {}), _PARAMETERS: parameters}
        every = self.features.items()
        columns = {name: each.column for name, each in every if each.column is not None}
        if columns and len(columns) < len(self.features):
            lacking = next(name for name in self.features if name not in columns)
            raise ConfigError(f"feature {lacking!r} needs its column too, as others have theirs")
        return create(
            path,
            sources,
            self.load,
            columns or None,
            attributes=attributes,
            column_attributes={name: each.attributes for name, each in every if each.attributes},
            column_options={name: each.options for name, each in every if each.options},
            **options,
        )

    def load(self, source: Any) -> dict[str, Any] | None:
        """Make the row of a source; None if a feature has none of it."""
        row: dict[str, Any] = {}
        for name, each in self.features.items():
            given = [row[other] for other in each.of] if each.of else [source]
            row[name] = each.function(self, *given)
            if row[name] is None:
                return None
        return row

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Make the instance with the parameters that a file was made with.

        Raises
        ------
        LayoutError
            If the file has none, or others.
        """
        with open_checked(str(Path(path))) as file:
            text = attribute(file, _PARAMETERS)
        try:
            found: Any = json.loads(text)
            return cls(**found)
        except (TypeError, ValueError, RecursionError) as error:
            raise LayoutError(
                f"{path}: has no parameters of a {cls.__name__}, which could make one: {error}"
            ) from error

    def _parameters(self) -> dict[str, Any]:
        found = {}
        for name in getattr(self, "__dataclass_fields__", {}):
            value = getattr(self, name)
            if isinstance(value, np.generic):
                value = value.item()
            try:
                json.dumps(value)
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(
                    f"{type(self).__name__}.{name} is {value!r:.80}, which cannot be stored: "
                    "parameters are numbers, text, lists and dicts of those"
                ) from error
            found[name] = value
        return found
