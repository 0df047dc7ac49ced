"""How ragged and sparse columns become tensors: what can be chosen, for all fields or for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Number
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from h5stream.errors import ConfigError

__all__ = ["CollateOptions", "Collation", "PaddingInfo", "RaggedForm", "Side", "SparseForm"]

RaggedForm = Literal["padded", "nested", "packed", "list", "bytes"]
SparseForm = Literal["csr", "dense", "pairs"]
Side = Literal["right", "left"]
PaddingInfo = Literal["lengths", "mask", "both", "none"]


class CollateOptions(TypedDict, total=False):
    """Keyword arguments of `h5stream.collate`; each is a value, or a dict of values by field."""

    ragged: RaggedForm | Mapping[str, RaggedForm]
    padding_value: complex | Mapping[str, complex]
    padding_side: Side | Mapping[str, Side]
    padding_info: PaddingInfo | Mapping[str, PaddingInfo]
    pad_to: int | Mapping[str, int] | None
    pad_to_multiple_of: int | Mapping[str, int] | None
    max_length: int | Mapping[str, int] | None
    sparse: SparseForm | Mapping[str, SparseForm]


@dataclass(frozen=True)
class Collation:
    """The options of `h5stream.collate`, checked.

    Parameters
    ----------
    ragged, padding_value, padding_side, padding_info : value, or dict of values by field
        See `h5stream.collate`.
    pad_to, pad_to_multiple_of, max_length, sparse : value, or dict of values by field
        See there.

    Raises
    ------
    ConfigError
        If one is not what is allowed, or two do not fit each other.

    Examples
    --------
    >>> options = Collation(padding_value={"tokens": -1})
    >>> options.of("padding_value", "tokens"), options.of("padding_value", "other")
    (-1, 0)
    """

    ragged: Any = "padded"
    padding_value: Any = 0
    padding_side: Any = "right"
    padding_info: Any = "lengths"
    pad_to: Any = None
    pad_to_multiple_of: Any = None
    max_length: Any = None
    sparse: Any = "csr"

    def __post_init__(self) -> None:
        named: set[str] = set()
        for option, (allowed, expected) in _ALLOWED.items():
            given = getattr(self, option)
            by_field: Mapping[Any, Any] = given if isinstance(given, Mapping) else {None: given}
            for field, value in by_field.items():
                if not allowed(value):
                    of_field = "" if field is None else f" of field {field!r}"
                    raise ConfigError(f"{option}{of_field} must be {expected}, not {value!r}")
            named.update(field for field in by_field if field is not None)
        object.__setattr__(self, "_named", frozenset(named))
        for field in {*named, ""}:
            self._check_width(field)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Collation:
        """Make one of keyword arguments.

        Raises
        ------
        TypeError
            If there is no such option.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise TypeError(
                    f"there is no argument {name!r}; options of collate are {', '.join(known)}"
                )
        return cls(**options)

    @property
    def named(self) -> frozenset[str]:
        """Fields that any option names."""
        return self.__dict__["_named"]

    def of(self, option: str, field: str) -> Any:
        """Return the value of an option for a field."""
        value = getattr(self, option)
        if isinstance(value, Mapping):
            return value.get(field, getattr(type(self), option))
        return value

    def padded_lengths(self, field: str, lengths: np.ndarray) -> np.ndarray:
        """Say how long rows are in the batch, if each were the longest of one.

        Examples
        --------
        >>> Collation(pad_to_multiple_of=8, max_length=16).padded_lengths("x", np.array([3, 99]))
        array([ 8, 16])
        """
        longest = self.of("max_length", field)
        found = lengths if longest is None else np.minimum(lengths, longest)
        if self.of("ragged", field) != "padded":
            return found
        if self.of("pad_to", field) is not None:
            return np.full_like(lengths, self.of("pad_to", field))
        multiple = self.of("pad_to_multiple_of", field) or 1
        return -(-found // multiple) * multiple

    def treats_as_ragged(self, field: str) -> bool:
        """Say whether a field is ragged also where its rows happen to be equally long."""
        return isinstance(self.ragged, Mapping) and field in self.ragged

    def _check_width(self, field: str) -> None:
        if self.of("pad_to", field) is None:
            return
        for other in ("pad_to_multiple_of", "max_length"):
            if self.of(other, field) is not None:
                raise ConfigError(f"pad_to is a fixed length already; pass it or {other}, not both")


def _one_of(choices: Any) -> tuple[Callable[[Any], bool], str]:
    allowed = get_args(choices)
    return (lambda value: value in allowed), f"one of {', '.join(map(repr, allowed))}"


def _is_length(value: Any) -> bool:
    return value is None or (
        hasattr(value, "__index__") and not isinstance(value, bool) and value >= 1
    )


_LENGTH = (_is_length, "a positive integer or None")
_ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "ragged": _one_of(RaggedForm),
    "padding_value": (lambda value: isinstance(value, Number | np.generic), "a number"),
    "padding_side": _one_of(Side),
    "padding_info": _one_of(PaddingInfo),
    "pad_to": _LENGTH,
    "pad_to_multiple_of": _LENGTH,
    "max_length": _LENGTH,
    "sparse": _one_of(SparseForm),
}
