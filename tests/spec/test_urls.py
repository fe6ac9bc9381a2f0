"""Urls of servers that run already, looked at when the file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.spec.conftest import Load

FILE = """\
name: x
backends: {{b: {{kind: {kind}, url: "{url}"}}}}
models: {{m: {{id: i, ollama: o}}}}
tests: [{{name: t, messages: [{{role: user, content: hi}}], expect: []}}]
"""


@pytest.mark.parametrize("kind", ["endpoint", "ollama"])
@pytest.mark.parametrize(
    ("url", "wrong", "hint"),
    [
        ("localhost:8080/v1", "does not begin with http:// or", "perhaps http://localhost:8080/v1"),
        ("127.0.0.1:11434", "does not begin with http:// or", "perhaps http://127.0.0.1:11434"),
        ("ftp://host/v1", "does not begin with http:// or https://", "write it like"),
        ("http:/host/v1", "does not begin with http:// or https://", "write it like"),
        ("http:///v1", "names no host", "write it like"),
        ("http://host:80800/v1", "has a host or a port that is none", "write it like"),
        ("http://[::1/v1", "has a host or a port that is none", "write it like"),
        ("http://host:0", "has the port 0", "write it like"),
        ("http://my host/v1", "holds a space", "write it like"),
        ("", "is empty", "write it like"),
    ],
)
def test_a_url_that_leads_nowhere_is_a_problem(
    problems: Callable[[str], list[str]], kind: str, url: str, wrong: str, hint: str
) -> None:
    """With its place, what is wrong with it, and how it may be meant."""
    (told,) = problems(FILE.format(kind=kind, url=url))
    column = FILE.format(kind=kind, url=url).splitlines()[1].index('"') + 1
    assert told.startswith(f"exp.yaml:2:{column}: the url of the backend «b» {wrong}")
    assert hint in told


@pytest.mark.parametrize(
    "url", ["http://h", "https://user:pass@h:8443/v1?api-version=1", "http://[::1]:8080/v1"]
)
def test_urls_that_are_fine(load: Load, url: str) -> None:
    """Addresses, ports, users and queries may stand in one."""
    load(FILE.format(kind="endpoint", url=url))


def test_what_a_variable_holds_is_not_shown(load: Load) -> None:
    """Neither is what may be a password."""
    for url, value in (("${WHERE}", "sk-secret"), ("user:sk-secret@host", "")):
        with pytest.raises(SpecError) as caught:
            load(FILE.format(kind="endpoint", url=url), WHERE=value)
        assert "does not begin with http" in str(caught.value)
        assert "sk-secret" not in str(caught.value)
