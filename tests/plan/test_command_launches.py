"""Launches of servers that a command line starts: what decides, and what does not apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.plan.matrix import Matrix, build_matrix
from matrixbench.plan.planner import History, TrialBudget, plan_matrix

if TYPE_CHECKING:
    from tests.conftest import Load

TESTS = """
tests: [{name: hi, messages: [{role: user, content: hi}], expect: []}]
"""
ARGV = "[serve, '--port={{ port }}', '{{ model }}', '--kv={{ options.kv }}']"


def matrix_of(load: Load, backend: str, rest: str = "models: {m: {gguf: a.gguf}}") -> Matrix:
    """Return the matrix of one command backend."""
    head = f"name: x\nbackends: {{s: {{kind: command, {backend}}}}}\n"
    return build_matrix(load(f"{head}{rest}\n{TESTS}"))


def digests(load: Load, backend: str, rest: str = "models: {m: {gguf: a.gguf}}") -> list[str]:
    """Return the digests of a file's launches."""
    return [group.launch.digest for group in matrix_of(load, backend, rest).launches]


def test_options_are_an_axis_and_each_launch_a_server(load: Load) -> None:
    """The plan counts a start for each."""
    matrix = matrix_of(load, f"argv: {ARGV}, options: {{kv: [auto, fp8]}}")
    assert [group.launch.options for group in matrix.launches] == [{"kv": "auto"}, {"kv": "fp8"}]
    wanted = TrialBudget(trials=3, greedy=2)
    plan = plan_matrix("x", matrix, wanted=wanted, history=History(), builds={})
    assert plan.server_starts == 2


def test_what_decides_the_answer_makes_another_launch(load: Load) -> None:
    """The templates as they are written, options, environment, context and model."""
    argv = "[serve, '{{ port }}', '{{ model }}']"
    variants = [
        f"argv: {argv}",
        "argv: [serve, '{{ port }}', '{{ model }}', --eager]",
        "argv: [other, '{{ port }}', '{{ model }}']",
        f"argv: {argv}, env: {{A: b}}",
        f"argv: {argv}, context: 512",
        f"argv: {argv}, replica: 2",
    ]
    found = [digests(load, variant)[0] for variant in variants]
    found += digests(load, variants[0], "models: {m: {gguf: b.gguf}}")
    found += digests(load, variants[0], "models: {m: {id: a}}")
    assert len(set(found)) == len(found)


def test_what_only_carries_the_answer_does_not(load: Load) -> None:
    """The program's folder, readiness, slots, concurrency and what is honoured."""
    argv = "argv: [serve, '{{ port }}', '{{ model }}']"
    variants = [
        argv,
        "argv: [/opt/bin/serve, '{{ port }}', '{{ model }}']",
        f"{argv}, ready: {{path: /up, timeout_s: 5}}",
        f"{argv}, slots: 9, concurrency: 3",
        f"{argv}, honours: [top_k]",
    ]
    assert len({digests(load, variant)[0] for variant in variants}) == 1
    moved = digests(load, argv, "models: {m: {gguf: deep/down/a.gguf}}")
    assert moved == digests(load, argv)


def test_the_id_of_a_launch_is_pinned(load: Load) -> None:
    """A change of what is hashed would orphan every stored trial."""
    argv = "argv: [serve, '{{ port }}', '{{ model_id }}'], context: 512"
    assert digests(load, argv, "models: {m: {id: org/m}}") == ["7a41086fbd0ee510531732b7"]


def test_a_model_s_options_count_as_far_as_the_command_line_names_them(load: Load) -> None:
    """What belongs to its llama-server makes no axis here."""
    models = "models: {m: {gguf: a.gguf, options: {kv: [fp8, auto], threads: [1, 2]}}}"
    matrix = matrix_of(load, f"argv: {ARGV}", models)
    assert [group.launch.options for group in matrix.launches] == [{"kv": "fp8"}, {"kv": "auto"}]


@pytest.mark.parametrize(
    ("backend", "rest", "reason"),
    [
        ("argv: [s, '{{ port }}', '{{ model }}']", "models: {m: {}}", "neither a file nor an id"),
        (
            "argv: [s, '{{ port }}', '{{ model_id }}']",
            "models: {m: {gguf: a.gguf}}",
            "has no id for {{ model_id }}",
        ),
        (
            "argv: [s, '{{ port }}']",
            "chat_templates: {c: {name: chatml}}",
            "takes no chat template, so not c",
        ),
        ("argv: [s, '{{ port }}']", "faithful: true", "cannot be told to be faithful"),
        ("argv: [s, '{{ port }}']", "sampling: {top_k: 40}", "top_k is not known to be honoured"),
    ],
)
def test_what_a_server_cannot_be_told_does_not_apply(
    load: Load, backend: str, rest: str, reason: str
) -> None:
    """With the reason; it is never run with the setting dropped."""
    matrix = matrix_of(load, backend, rest)
    assert matrix.cells == 0
    assert reason in matrix.not_applicable[0].reason


@pytest.mark.parametrize(
    ("backend", "rest"),
    [
        ("argv: [s, '{{ port }}']", ""),
        ("argv: [s, '{{ port }}', '{{ model }}']", "models: {m: {id: a}}"),
        (
            "chat_template: true, argv: [s, '{{ port }}', '{{ chat_template }}']",
            "chat_templates: {c: {name: chatml}}",
        ),
        ("argv: [s, '{{ port }}', '{% if faithful %}-x{% endif %}']", "faithful: true"),
        ("honours: [top_k], argv: [s, '{{ port }}']", "sampling: {top_k: 40}"),
    ],
)
def test_what_it_can_be_told_applies(load: Load, backend: str, rest: str) -> None:
    """A server that carries its own model needs none named."""
    assert matrix_of(load, backend, rest).cells == 1
