"""Where a launch's server comes from, as the file and this machine say it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from matrixbench.backends.registry import origin_in_file
from matrixbench.execution.servers import Servers
from matrixbench.execution.settings import settings_for
from matrixbench.plan.launches import launches

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.plan.cells import Launch, Origin, PresentBuild
    from tests.conftest import Load

TESTS = """
models: {m: {id: a, ollama: "x:1b", gguf: model.gguf}}
tests: [{name: hi, messages: [{role: user, content: hi}], expect: [{content: a}]}]
"""


def launch(load: Load, backend: str) -> Launch:
    """Return the launch of one backend."""
    (found,) = launches(load(f"name: x\nbackends: {{b: {{{backend}}}}}{TESTS}"))
    return found.launch


def in_file(load: Load, backend: str) -> Origin:
    """Return what the file says of where a backend's server comes from."""
    return origin_in_file(launch(load, backend))


def there(load: Load, backend: str) -> PresentBuild:
    """Return the build that is there."""
    experiment = load(f"name: x\nbackends: {{b: {{{backend}}}}}{TESTS}")
    (found,) = launches(experiment)
    return Servers(settings_for(experiment, {"PATH": ""})).present_build(found.launch)


def test_a_running_server_is_its_url(load: Load) -> None:
    """Of an endpoint and of an Ollama; what a url hides tells too, and is not written down."""
    plain = in_file(load, "kind: endpoint, url: 'http://h:1/v1/'")
    assert (plain.url, plain.url_rest) == ("http://h:1/v1", "")
    ollama = in_file(load, "kind: ollama, url: 'http://h:1/v1'")
    assert (ollama.kind, ollama.url) == ("ollama", "http://h:1")
    hiding = [
        in_file(load, f"kind: endpoint, url: 'http://{url}'")
        for url in ("me:pass-word@h:1/v1", "you:pass-word@h:1/v1", "h:1/v1?a=1", "h:1/v1?a=2")
    ]
    assert {origin.url for origin in hiding} == {plain.url}
    assert len({origin.url_rest for origin in (plain, *hiding)}) == 5
    assert not any("pass-word" in origin.to_text() for origin in hiding)


def test_variables_tell_and_are_not_written_down(load: Load) -> None:
    """The file may hold a secret, in whichever variable."""
    texts = [
        in_file(load, f"kind: llama-server, env: {{A_KEY: {value}}}").to_text()
        for value in ("sk-one-secret", "sk-two-secret")
    ]
    assert texts[0] != texts[1]
    assert not any("secret" in text for text in texts)
    assert all("A_KEY" in text for text in texts)


def test_a_replica_is_another_origin(load: Load) -> None:
    """Its trials are kept apart."""
    one, two = (
        in_file(load, f"kind: endpoint, url: 'http://h/v1'{more}") for more in ("", ", replica: 2")
    )
    assert not one.same_as(two)


def test_what_is_missing_is_said(load: Load, tmp_path: Path) -> None:
    """A binary, a program, a model: the origin names it, and is never another's."""
    for backend in (
        "kind: llama-server, binary: ./nowhere",
        "kind: ollama, binary: ./nowhere",
        "kind: command, argv: [./nowhere, '{{ port }}']",
    ):
        seen = there(load, backend)
        assert (seen.build, seen.verified) == (None, False)
        assert seen.origin is not None
        assert seen.origin.binary == str(tmp_path / "nowhere")
        assert "nowhere" in seen.origin.missing
        assert not seen.origin.same_as(seen.origin)


def test_a_program_is_known_without_its_model(load: Load) -> None:
    """So that a run of another program is no guess for it."""
    backend = f"kind: command, argv: [{sys.executable}, '{{{{ model }}}}', '{{{{ port }}}}']"
    seen = there(load, backend)
    assert seen.origin is not None
    assert seen.origin.missing == "model m is not on this machine"
    assert seen.origin.program
    assert seen.origin.argv == (sys.executable, "0")
