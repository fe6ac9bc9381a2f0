"""A server that is stopped under way: what was in flight is lost, and nothing else."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import FAKE_SERVER, left_behind
from tests.cli.test_faults import ends

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

SLOTS = 4
EXPERIMENT = f"""\
name: frozen
trials: 300
canary: false
timeouts: {{request_s: 0.5, start_s: 60}}
models: {{m: {{gguf: model.gguf}}}}
tests:
  - name: hi
    messages: [{{role: user, content: hi}}]
    expect: [{{content: {{matches: .}}}}]
backends:
  frozen:
    kind: command
    argv: [{sys.executable}, {FAKE_SERVER}, "--host={{{{ host }}}}", "--port={{{{ port }}}}"]
    slots: {SLOTS}
    env: {{FAKE_MODE: "freeze_after:40", FAKE_STATE: "FROZE"}}
"""


@pytest.mark.usefixtures("fake_binary")
def test_a_restart_is_waited_for(cli: CommandLine, write: Write) -> None:
    """While the server is brought back no trial is given a verdict: only those in flight have one.

    They are errored, for nothing was measured; the next run measures them.
    """
    state = str(cli.folder / "froze")
    write(EXPERIMENT.replace("FROZE", state))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 7, done.stderr
    assert "was started again" in done.stderr
    (found,) = ends(cli.folder).values()
    assert found.keys() == {"passed", "errored/server_hung"}
    # As many in a row as are sent at a time say that it is the server; others begin meanwhile.
    assert SLOTS <= found["errored/server_hung"] < 2 * SLOTS
    assert found.total() == 300
    again = cli("execute", "exp.yaml", "--resume", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["outcomes"] == {"passed": found["errored/server_hung"]}
    assert left_behind(cli.folder) == []
