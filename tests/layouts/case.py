"""What a code base is tried on: files as it lays them out, how to ask for them, and their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Case", "Row"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One code base.

    Parameters
    ----------
    name : str
        Of the code base.
    drawn : str
        Its layout, in a line.
    ask : str
        Arguments of `H5Stream`, as the documentation shows them.
    write : callable
        Writes files into the working directory.
    rows : callable
        Reads its samples one by one.
    before : str
        Lines that come before.
    """

    name: str
    drawn: str
    ask: str
    write: Callable[[np.random.Generator], None]
    rows: Callable[[], Iterator[Row]]
    before: str = ""
