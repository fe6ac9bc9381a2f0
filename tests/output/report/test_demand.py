"""Where there is no browser, the tests of pages say so; where there must be one, they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.output.report.browser import DEMANDED, demand

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_browser_is_said_or_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tests are skipped with the way out; continuous integration sets what makes them fail."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(DEMANDED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        demand()
    monkeypatch.setenv(DEMANDED, "1")
    with pytest.raises(pytest.fail.Exception, match="no chromium on PATH"):
        demand()
