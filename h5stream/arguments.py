"""Checks of the arguments that public functions take."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from h5stream.errors import ConfigError

__all__ = ["a_callable", "a_count", "a_seed", "an_option", "is_integer"]

Number = TypeVar("Number", bound=int)


def is_integer(value: object) -> bool:
    """Say whether something counts as an integer: NumPy's do, booleans do not."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def a_count(name: str, value: Number) -> Number:
    """Return a positive integer, or raise a ConfigError."""
    if not is_integer(value) or value < 1:
        raise ConfigError(f"{name} must be a positive integer, not {value!r}")
    return value


def a_callable(method: str, function: Any) -> Any:
    """Return a function, or raise a ConfigError."""
    if not callable(function):
        raise ConfigError(f"{method}() needs a function, not {function!r}")
    return function


def a_seed(value: int) -> int:
    """Return a seed, or raise a ConfigError."""
    if not is_integer(value) or not 0 <= value < 2**64:
        raise ConfigError(f"seed must be an integer in [0, 2**64), not {value!r}")
    return int(value)


def an_option(name: str, value: Any, literal: Any) -> Any:
    """Return one of the values of a `Literal`, or raise a ConfigError."""
    if value not in get_args(literal):
        known = " or ".join(repr(option) for option in get_args(literal))
        raise ConfigError(f"{name} must be {known}, not {value!r}")
    return value
