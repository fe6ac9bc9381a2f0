"""Which launches only their load tells apart, and what their cells are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.plan.cells import load_in, load_text, plain_id
from matrixbench.plan.matrix import build_matrix, experiment_loads
from matrixbench.plan.selector import parse_where

if TYPE_CHECKING:
    from tests.conftest import Load

TESTS = """
tests: [{name: t, messages: [{role: user, content: hi}], expect: [{no_tool_calls: true}]}]
"""


def ids(load: Load, backends: str, *where: str) -> dict[str, str]:
    """Return backend → the id of its one cell."""
    experiment = load(f"name: x\nbackends: {{{backends}}}\n{TESTS}")
    matrix = build_matrix(experiment, parse_where(where, ("backend",)))
    return {group.launch.backend: group.cells[0].id for group in matrix.launches}


def apart(load: Load, backends: str) -> bool:
    """Return whether the load tells launches apart."""
    return bool(experiment_loads(load(f"name: x\nbackends: {{{backends}}}\n{TESTS}")).apart)


C1 = "c1: {kind: scripted, replies: [a], concurrency: 1}"
C8 = "c8: {kind: scripted, replies: [a], concurrency: 8}"
OTHER = "other: {kind: scripted, replies: [b], concurrency: 2}"
LLAMA = "kind: llama-server, context: 1024"
ENDPOINT = "kind: endpoint, url: 'http://127.0.0.1:1/v1'"
COMMAND = "kind: command, argv: [serve, '{{ port }}', '--max-num-seqs={{ slots }}']"


def test_a_load_that_is_compared_stands_behind_the_plain_id(load: Load) -> None:
    """Alone, a backend's cell has the plain id; beside another load both have theirs."""
    plain = ids(load, C1)["c1"]
    assert load_in(plain) is None
    assert ids(load, C8) == {"c8": plain}
    assert ids(load, f"{C1}, {C8}, {OTHER}") == {
        "c1": f"{plain}@c1",
        "c8": f"{plain}@c8",
        "other": ids(load, OTHER)["other"],
    }
    assert plain_id(f"{plain}@c8") == plain


def test_neither_order_nor_selection_changes_an_id(load: Load) -> None:
    """What a cell is called depends on the file alone, not on what of it is looked at."""
    both = ids(load, f"{C1}, {C8}")
    assert ids(load, f"{C8}, {C1}") == both
    assert ids(load, f"{C1}, {C8}", "backend=c8") == {"c8": both["c8"]}


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (f"{LLAMA}, slots: 1", f"{LLAMA}, slots: 4", True),
        (f"{LLAMA}, slots: 4", f"{LLAMA}, slots: 4, concurrency: 1", True),
        (f"{LLAMA}, slots: 4", f"{LLAMA}, concurrency: 4", False),
        (f"{LLAMA}, slots: 4", f"{LLAMA}, slots: 8, options: {{threads: 2}}", False),
        (f"{LLAMA}, slots: 4, binary: a", f"{LLAMA}, slots: 8, binary: b", False),
        (f"{LLAMA}, slots: 4", f"{LLAMA}, slots: 8, replica: 2", False),
        (f"{COMMAND}, slots: 1", f"{COMMAND}, slots: 16", True),
        (ENDPOINT, f"{ENDPOINT}, concurrency: 8", True),
        (f"{ENDPOINT}, concurrency: 1", f"{ENDPOINT.replace(':1/', ':2/')}, concurrency: 8", False),
    ],
)
def test_only_what_would_share_its_trials_is_told_apart(
    load: Load, one: str, two: str, expected: bool
) -> None:
    """Other options, replicas, binaries and urls have trials of their own anyway."""
    assert apart(load, f"a: {{{one}}}, b: {{{two}}}") is expected


def test_a_faithful_file_has_one_load(load: Load) -> None:
    """It asks for one request at a time whatever its backends say."""
    experiment = load(f"name: x\nfaithful: true\nbackends: {{{C1}, {C8}}}\n{TESTS}")
    assert not experiment_loads(experiment).apart


def test_a_load_is_said_in_words() -> None:
    """Its key is for machines."""
    assert load_text("c8s4") == "8 at a time (4 slots)"
    assert load_text("c1s1") == "1 at a time (1 slot)"
    assert load_text("c16") == "16 at a time"
    assert load_text("auto") == "one for each slot"
