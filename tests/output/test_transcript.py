"""What a server counted of a request, as people and programs read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from matrixbench.output.transcript import usage_facts, usage_json
from matrixbench.records import NO_USAGE, Usage
from tests.fake_servers import fake_server

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

USAGE = Usage(
    cached_tokens=900,
    computed_tokens=100,
    draft_tokens=1200,
    draft_accepted_tokens=600,
    reasoning_tokens=12,
    accepted_prediction_tokens=3,
)


def test_people_read_counts_with_their_shares() -> None:
    """What is not told has no line."""
    assert dict(usage_facts(USAGE)) == {
        "from the cache": "900 of 1,000 prompt tokens (90%)",
        "tokens drafted": "1,200, 600 taken (50%)",
        "reasoning tokens": "12",
        "tokens predicted": "3 taken, 0 not",
    }
    assert dict(usage_facts(NO_USAGE)) == {}
    assert dict(usage_facts(Usage(cached_tokens=0))) == {"from the cache": "0 prompt tokens"}
    assert dict(usage_facts(Usage(draft_tokens=4))) == {"tokens drafted": "4"}
    assert dict(usage_facts(Usage(computed_tokens=7))) == {"prompt tokens computed": "7"}


def test_programs_read_every_figure() -> None:
    """What is not told is null."""
    told = usage_json(USAGE)
    assert (told["cached_share"], told["draft_accepted_share"]) == (0.9, 0.5)
    assert told["predicted_tokens"] is None
    assert json.loads(json.dumps(usage_json(NO_USAGE))) == dict.fromkeys(told)


def test_what_a_server_counts_is_shown_and_exported(cli: CommandLine, write: Write) -> None:
    """`try`, `show` and `export` tell the same figures, and the model that answered."""
    with fake_server() as url:
        write(
            f"""
            name: counted
            trials: 2
            canary: false
            backends: {{e: {{kind: endpoint, url: "{url}/v1", concurrency: 2}}}}
            models: {{m: {{id: m}}}}
            tests:
              - name: t
                messages: [{{role: user, content: hi}}]
                expect: [{{cached_tokens: {{max: 0}}}}]
            """
        )
        (tried,) = json.loads(cli("try", "exp.yaml", "--json").stdout)["trials"]
        assert cli("execute", "exp.yaml").returncode == 0
    shown = json.loads(cli("show", "exp.yaml", "--trial", "1", "--json").stdout)
    first, _ = map(json.loads, cli("export", "exp.yaml", "--trials").stdout.splitlines())
    for told in (tried, shown, first):
        assert (told["cached_tokens"], told["cached_share"]) == (0, 0.0)
        assert told["computed_tokens"] > 0
        assert (told["outcome"], told["reply_model"]) == ("passed", first["reply_model"])
        assert told["fingerprint"].startswith("b")
    assert (shown["concurrency_in_force"], shown["load"], shown["asked"]) == (2, "c2", 1)
    text = cli("show", "exp.yaml", "--trial", "1").stdout
    for said in ("from the cache", "requests at a time   2", "answered as", "fingerprint"):
        assert said in text
