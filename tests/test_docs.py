"""Every Python snippet of the README and the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.layouts.drawing import draw_files
from tests.streams import write_columns

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    # The design shows names that are still to come.
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "design.md"),
]
MADE_LAST = "## The file of this page"
"""Pages by domain make their files at their end, so that they can open with what to write."""

SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for name in ("images.h5", "train-0.h5", "train-1.h5", "train-10.h5"):
        columns = {
            "images": generator.integers(0, 256, (512, 3, 64, 64), np.uint8),
            "labels": generator.integers(0, 10, 512),
        }
        write_columns(tmp_path / name, columns, chunk_rows=64)
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run_and_print_what_their_comments_say(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page.read_text()
    namespace: dict[str, object] = {"__name__": "snippets"}
    expected: list[str] = []
    made = text.find(MADE_LAST)
    snippets = sorted(SNIPPET.finditer(text), key=lambda match: not 0 <= made < match.start())
    for match in snippets:
        line = text.count("\n", 0, match.start(1))
        code = compile("\n" * line + match[1], page, "exec", dont_inherit=True)
        exec(code, namespace)
        expected += re.findall(r"print\(.*\)  # (.*)", match[1])
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in expected if line not in printed] == []


def test_readme_begins_with_two_commands_and_a_snippet() -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert [language for language, _ in blocks[:3]] == ["sh", "sh", "python"]
    assert all(code.count("\n") == 1 for _, code in blocks[:2])
    assert "h5stream demo" in blocks[0][1]
    assert "pytest" in blocks[1][1]


def test_documented_pages_are_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in PAGES[1:] if page.name not in navigation] == []


DOMAINS = [page for page in PAGES if MADE_LAST in page.read_text()]


@pytest.mark.parametrize("page", DOMAINS, ids=lambda page: page.name)
def test_pages_by_domain_open_with_their_file_and_at_most_twelve_lines(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    made = SNIPPET.search(text, text.index(MADE_LAST))
    assert made is not None
    exec(made[1], {})
    drawn, code, *_others = re.findall(r"^```\w+\n(.*?)^```", text, re.M | re.S)
    assert drawn.rstrip("\n") == draw_files(tmp_path)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12


def test_there_is_a_page_for_each_domain() -> None:
    assert len(DOMAINS) == 7
