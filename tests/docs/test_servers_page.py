"""The page about servers: its examples load, and its lists are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from matrixbench.backends.command_line import VARIABLES
from matrixbench.spec.backends import kinds
from matrixbench.spec.load import load_experiment

if TYPE_CHECKING:
    from tests.conftest import Write

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "servers.md").read_text("utf-8")
BLOCKS = re.findall(r"(?ms)^```yaml\n(.*?)^```$", PAGE)
REST = """
name: x
tests: [{name: weather, messages: [{role: user, content: hi}], expect: []}]
"""


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: next(iter(yaml.safe_load(text))))
def test_examples_of_backends_load(text: str, write: Write) -> None:
    """With a name and a test each example is an experiment; some have both."""
    path = write(text if "tests:" in text else text + REST)
    load_experiment(path, environ={"HOME": "/home/me", "API_HOST": "example.test"})


def test_every_kind_and_every_variable_is_explained() -> None:
    """A kind is listed, and so is all that a command line may say."""
    assert [kind for kind in kinds().known if f"`{kind}`" not in PAGE] == []
    assert [name for name in VARIABLES if f"`{name}`" not in PAGE] == []
