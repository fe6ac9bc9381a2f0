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
from matrixbench.spec.checks import CHECK_NAMES, Check, JsonContent, NumberMatcher, ToolCalls
from matrixbench.spec.tests import TestEntry

DOCS = Path(__file__).parents[2] / "docs"
CHECKS_PAGE = (DOCS / "checks.md").read_text("utf-8")
OUTCOMES_PAGE = (DOCS / "outcomes.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", CHECKS_PAGE, re.MULTILINE | re.DOTALL)

EXPECT: TypeAdapter[list[Check]] = TypeAdapter(list[Check])
TESTS: TypeAdapter[list[TestEntry]] = TypeAdapter(list[TestEntry])


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_compiles(block: str) -> None:
    """A list holds entries of `expect`; a mapping holds `tests`."""
    content = yaml.safe_load(block)
    if isinstance(content, list):
        compile_checks(EXPECT.validate_python(content))
    else:
        assert TESTS.validate_python(content["tests"])


def test_every_check_and_key_is_described() -> None:
    """Names of checks, of matcher keys and of the checks' own keys stand in a table."""
    own = {
        field.alias or name
        for part in (ToolCalls, JsonContent, NumberMatcher)
        for name, field in part.model_fields.items()
    }
    for name in {*CHECK_NAMES, *MATCHER_KEYS, *own}:
        assert f"| `{name}` |" in CHECKS_PAGE, name


def test_every_outcome_and_kind_is_described_once() -> None:
    """The closed lists and the tables hold the same words."""
    rows = re.findall(r"^\| `(\w+)` \|", OUTCOMES_PAGE, re.MULTILINE)
    assert sorted(rows) == sorted([*Outcome, *Kind])
