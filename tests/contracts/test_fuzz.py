"""A few cases of each fuzzer; ``fuzz/README.md`` says how to run many."""

from __future__ import annotations

import pytest

from fuzz import files, servers
from fuzz.harness import Case, main


@pytest.mark.parametrize(
    ("name", "case", "count"),
    [("fuzz.files", files.run_case, 250), ("fuzz.servers", servers.run_case, 40)],
)
def test_no_case_is_a_finding(name: str, case: Case, count: int) -> None:
    outcome = main(name, case, ["--count", str(count), "--seed", "0"])
    assert outcome.findings == []
    assert outcome.cases == count
    assert len(outcome.ends) > 1
