"""The section of the documentation that says how files of code bases are asked for.

``python -m tests.layouts.page`` writes it there.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import numpy as np

from tests.layouts.case import Case
from tests.layouts.cases import CASES, SECTIONS
from tests.layouts.drawing import draw_files

__all__ = ["PAGE", "section"]

PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"

_TITLE = f"""## Code bases

How the files of {len(CASES)} public code bases are asked for. `batch_size=`, `shuffle=` and the \
others go beside. Each is tested, in order, shuffled, on ranks and by row number, against a reader \
that takes its samples one by one with h5py. Files are drawn as the tests write them, small; `n` \
is a size that differs.
"""


def section(folder: Path) -> str:
    """Write the section, with the files of each code base in a folder of its own."""
    rows = [f"| [{case.name}](#{_anchor(case.name)}) | {case.drawn} |" for case in CASES]
    parts = [_TITLE, "\n".join(["| code base | layout |", "|---|---|", *rows]) + "\n"]
    for title, cases in SECTIONS.items():
        parts += [f"### {title}\n", *(_told(case, folder) for case in cases)]
    return "\n".join(parts)


def _anchor(name: str) -> str:
    return re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-")


def _told(case: Case, folder: Path) -> str:
    own = folder / _anchor(case.name)
    own.mkdir()
    with contextlib.chdir(own):
        case.write(np.random.default_rng(0))
    files = f"```text\n{draw_files(own)}\n```"
    code = f"```py\n{case.before}h5s.H5Stream({case.ask})\n```"
    return f"#### {case.name}\n\n{case.drawn}\n\n{files}\n\n{code}\n"


def _write_page() -> None:
    before, *_ = PAGE.read_text().partition("## Code bases\n")
    with tempfile.TemporaryDirectory() as name:
        PAGE.write_text(before + section(Path(name)))


if __name__ == "__main__":
    _write_page()
