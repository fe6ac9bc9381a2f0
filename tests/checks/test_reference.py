"""The pages on checks and outcomes say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from matrixbench.checks.judge import compile_checks
from matrixbench.checks.matchers import MATCHER_KEYS
from matrixbench.records import Kind, Outcome
from matrixbench.spec.checks import (
    CHECK_NAMES,
    Check,
    JsonContent,
    NumberMatcher,
    PythonCheck,
    ToolCalls,
)
from matrixbench.spec.paths import Origin
from matrixbench.spec.tests import TestEntry

DOCS = Path(__file__).parents[2] / "docs"
CHECKS_PAGE = (DOCS / "checks.md").read_text("utf-8")
OUTCOMES_PAGE = (DOCS / "outcomes.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", CHECKS_PAGE, re.MULTILINE | re.DOTALL)

EXPECT: TypeAdapter[list[Check]] = TypeAdapter(list[Check])
TESTS: TypeAdapter[list[TestEntry]] = TypeAdapter(list[TestEntry])


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_compiles(block: str, tmp_path: Path) -> None:
    """A list holds entries of `expect`, as does a mapping of that name; another holds `tests`."""
    (tmp_path / "politeness.py").write_text("def thanks(reply): return True\n", encoding="utf-8")
    (tmp_path / "my_evals").mkdir()
    (tmp_path / "my_evals" / "text.py").write_text(
        "def similar(reply, to, ignore_case): return 0.9\n", encoding="utf-8"
    )
    content = yaml.safe_load(block)
    if isinstance(content, list):
        compile_checks(EXPECT.validate_python(content), origin=Origin(folder=tmp_path))
    elif "expect" in content:  # with a check that a package would bring
        assert EXPECT.validate_python(content["expect"])
    else:
        assert TESTS.validate_python(content["tests"])


def test_every_check_and_key_is_described() -> None:
    """Names of checks, of matcher keys and of the checks' own keys stand in a table."""
    own = {
        field.alias or name
        for part in (ToolCalls, JsonContent, NumberMatcher, PythonCheck)
        for name, field in part.model_fields.items()
    }
    for name in {*CHECK_NAMES, *MATCHER_KEYS, *own} - {"turn"}:
        assert f"| `{name}` |" in CHECKS_PAGE, name


def test_every_outcome_and_kind_is_described_once() -> None:
    """The closed lists and the tables hold the same words; one kind belongs to two outcomes."""
    rows = re.findall(r"^\| `(\w+)` \|", OUTCOMES_PAGE, re.MULTILINE)
    assert sorted(rows) == sorted([*Outcome, *Kind, Kind.SERVER_ERROR])
