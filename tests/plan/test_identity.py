"""What a cell's id depends on, and what it does not. Golden values pin IDENTITY_VERSION 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.identity import IDENTITY_VERSION, canonical_json, combine, digest
from matrixbench.plan.matrix import build_matrix

if TYPE_CHECKING:
    from tests.conftest import Load

BASE = """
name: demo
trials: 3
seed: 1
backends:
  s: {kind: llama-server, context: 4096, slots: 4, options: {cache-type-k: f16}}
models: {a: {hf: org/repo:Q4_K_M}}
chat_templates: {native: {}}
sampling: {temperature: 0.5}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: a}}]}
"""


def ids(load: Load, text: str) -> list[str]:
    """Return the ids of an experiment's cells."""
    return [cell.id for group in build_matrix(load(text)).launches for cell in group.cells]


def test_golden_ids(load: Load) -> None:
    """These ids stand in people's stores: a change here must raise IDENTITY_VERSION."""
    assert IDENTITY_VERSION == 1
    assert ids(load, BASE) == ["f0039dbcb7e3e80fff95f2d2"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: demo", "name: renamed"),
        ("trials: 3", "trials: 30"),
        ("seed: 1", "seed: 7"),
        ("  s: {", "  renamed: {"),
        ("models: {a: {", "models: {renamed: {"),
        ("{name: hi,", "{name: renamed, description: x,"),
        ("contains: a", "contains: b"),
        ("slots: 4", "slots: 2, concurrency: 9, binary: /somewhere/else"),
        ("context: 4096, ", ""),
        ("trials: 3", "trials: 3\ntimeouts: {request_s: 5}\nmax_tokens: 512\nfaithful: false"),
        ("chat_templates: {native: {}}", "chat_templates: {renamed: {}}"),
        ("temperature: 0.5", "temperature: 0.5, top_p: null"),
        ("tests:", "charts: {c: {x: test}}\ntests:"),
    ],
)
def test_what_does_not_decide_the_answer_keeps_the_id(load: Load, old: str, new: str) -> None:
    """Names, paths, timeouts, concurrency, trials, seeds, charts, checks and defaults."""
    assert old in BASE
    assert ids(load, BASE.replace(old, new)) == ids(load, BASE)


def test_a_models_file_counts_by_its_name(load: Load) -> None:
    """Not by its folder, whose content the build tells; another name is another model."""
    text = BASE.replace("hf: org/repo:Q4_K_M", "gguf: here/a.gguf")
    assert ids(load, text.replace("here/", "there/deep/")) == ids(load, text)
    assert ids(load, text.replace("a.gguf", "b.gguf")) != ids(load, text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: llama-server, context: 4096", "kind: llama-server, context: 8192"),
        ("cache-type-k: f16", "cache-type-k: q8_0"),
        ("org/repo:Q4_K_M", "org/repo:Q8_0"),
        ("native: {}", "native: {name: chatml}"),
        ("temperature: 0.5", "temperature: 0.6"),
        ("content: hi}", "content: ho}"),
        ("trials: 3", "trials: 3\nmax_tokens: 100"),
        ("trials: 3", "trials: 3\nfaithful: true"),
        ("tests:", "request: {tool_choice: auto}\ntests:"),
        ("slots: 4", "replica: 2"),
        ("slots: 4", "env: {A: b}"),
    ],
)
def test_what_decides_the_answer_changes_the_id(load: Load, old: str, new: str) -> None:
    """Options, model, template, sampling, messages and request fields."""
    assert old in BASE
    assert ids(load, BASE.replace(old, new)) != ids(load, BASE)


STREAMED = BASE.replace("tests:", "request: {stream: STREAM}\ntests:")


@pytest.mark.parametrize("stream", ["false", "null", "[false, null]"])
def test_a_reply_that_is_not_streamed_is_what_there_was_before(load: Load, stream: str) -> None:
    """False written out is the same cell as ever."""
    assert ids(load, STREAMED.replace("STREAM", stream)) == ids(load, BASE)


def test_a_streamed_reply_is_another_cell(load: Load) -> None:
    """Its golden id, however it is asked for; false and true are two values of an axis."""
    streamed = ["93ed72bc21b128c63ea7eda5"]
    assert ids(load, STREAMED.replace("STREAM", "true")) == streamed
    assert ids(load, STREAMED.replace("STREAM", "[false, true]")) == [*ids(load, BASE), *streamed]
    own = BASE.replace("expect:", "request: {stream: true}, expect:")
    assert ids(load, own) == streamed
    assert ids(load, own.replace("tests:", "request: {stream: [false, true]}\ntests:")) == streamed
    included = STREAMED.replace("STREAM", "false") + "include: [{request.stream: true}]\n"
    assert ids(load, included) == [*ids(load, BASE), *streamed]


def test_a_suite_may_be_streamed_as_a_whole(load: Load) -> None:
    """Where an entry says so, it does for each of its tests."""
    whole, _ = BASE.split("tests:")
    entry = "tests: [{suite: tool-calling, only: [weather]REQUEST}]"
    plain = ids(load, whole + entry.replace("REQUEST", ""))
    assert ids(load, whole + entry.replace("REQUEST", ", request: {stream: false}")) == plain
    assert ids(load, whole + entry.replace("REQUEST", ", request: {stream: true}")) != plain


CONVERSATION = """
name: demo
backends: {s: {kind: llama-server, context: 4096}}
models: {a: {hf: org/repo:Q4_K_M}}
tests:
  - name: hi
    messages: [{role: user, content: hi}]
    tools:
      - type: function
        function: {name: f, parameters: {properties: {x: {}}}}
        returns: [{when: {x: {equals: 1}}, content: one}, {error: none}]
    turns: [{content: more}]
    expect: []
"""


def test_golden_ids_of_conversations(load: Load) -> None:
    """What follows the first reply decides answers, the limit written out or not."""
    assert ids(load, CONVERSATION) == ["5e8d2ef8dfc9b87677813ff0"]
    same = CONVERSATION.replace("    turns:", "    max_turns: 9\n    turns:")
    assert ids(load, same.replace("{content: more}", "more")) == ids(load, CONVERSATION)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("equals: 1", "equals: 2"),
        ("content: one", "content: two"),
        ("error: none", "content: none"),
        ("error: none", "error: none, times: 1"),
        ("{content: more}", "{content: less}"),
        ("{content: more}", "more, more"),
        ("    turns: [{content: more}]\n", ""),
        ("    turns:", "    max_turns: 5\n    turns:"),
        ("        returns: [{when: {x: {equals: 1}}, content: one}, {error: none}]\n", ""),
    ],
)
def test_what_decides_a_conversation_changes_the_id(load: Load, old: str, new: str) -> None:
    """Results, turns and their limit."""
    assert old in CONVERSATION
    assert ids(load, CONVERSATION.replace(old, new)) != ids(load, CONVERSATION)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    """A mapping and its reverse have the same canonical text."""
    backwards = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(backwards)  # type: ignore[arg-type]


def test_whole_floats_are_integers() -> None:
    """`1.0` and `1` are one value; `true` is another."""
    assert digest({"t": 1.0}) == digest({"t": 1})
    assert digest({"t": True}) != digest({"t": 1})


def test_the_order_of_digests_counts() -> None:
    """Combining is a sequence, not a set."""
    assert combine("a", "b") != combine("b", "a")
    assert len(combine("a")) == 24


def test_what_json_cannot_say_is_refused() -> None:
    """NaN has no canonical text."""
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))
