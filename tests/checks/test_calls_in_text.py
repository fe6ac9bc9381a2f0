"""Calls that a model wrote into its text: which count, and which texts are none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.checks.calls_in_text import BARE, MARKED, WrittenCall, call_finder, call_in_answer

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text("utf-8")
FIND = call_finder(["get_weather", "get_time"])
NOTHING_OFFERED = call_finder([])

CALLS = [
    (
        "Hermes",
        "get_weather",
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    ),
    ("Hermes", "get_weather", '<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}'),
    (
        "Qwen3-Coder",
        "get_weather",
        (
            "<tool_call>\n"
            "<function=get_weather>\n"
            "<parameter=city>\n"
            "Paris\n"
            "</parameter>\n"
            "</function>\n"
            "</tool_call>"
        ),
    ),
    (
        "Llama 3",
        "get_weather",
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}',
    ),
    ("Llama 3", "get_weather", '<|python_tag|>get_weather.call(city="Paris")'),
    (
        "JSON",
        "get_weather",
        '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}',
    ),
    (
        "JSON",
        "get_weather",
        '{"type": "function", "function": {"name": "get_weather", "arguments": "{}"}}',
    ),
    ("function tag", "get_weather", '<function=get_weather>{"city": "Paris"}</function>'),
    (
        "Mistral",
        "get_weather",
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    ),
    ("Mistral", "get_weather", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}'),
    ("Mistral", "get_weather", '[TOOL_CALLS]get_weather{"city": "Paris"}'),
    ("Mistral", "get_weather", "[TOOL_CALLS] get_weather[CALL_ID]abc[ARGS]{}"),
    ("LFM2", "get_weather", '<|tool_call_start|>[get_weather(city="Paris")]<|tool_call_end|>'),
    ("Python", "get_weather", '[get_weather(city="Paris")]'),
    ("Python", "get_weather", '[get_weather(city="Paris"), get_time()]'),
    (
        "DeepSeek",
        "get_weather",
        (
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
            "```json\n"
            "{}\n"
            "```<｜tool▁call▁end｜>"
        ),
    ),
    (
        "DeepSeek",
        "get_weather",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city":1}<｜tool▁call▁end｜>',
    ),
    (
        "Kimi K2",
        "get_weather",
        (
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
            '<|tool_call_argument_begin|>{"city": "P"}<|tool_call_end|>'
        ),
    ),
    (
        "GLM",
        "get_weather",
        (
            "<tool_call>get_weather\n"
            "<arg_key>city</arg_key>\n"
            "<arg_value>Paris</arg_value>\n"
            "</tool_call>"
        ),
    ),
    (
        "Command R",
        "get_weather",
        (
            "Action: ```json\n"
            "[\n"
            "    {\n"
            '        "tool_name": "get_weather",\n'
            '        "parameters": {"city": "Paris"}\n'
            "    }\n"
            "]```"
        ),
    ),
    ("Granite, Phi-4", "get_weather", '<|tool_call|>[{"name": "get_weather", "arguments": {}}]'),
    (
        "Granite, Phi-4",
        "get_weather",
        '<|tool_call|>[{"name":"get_weather","arguments":{}}]<|/tool_call|>',
    ),
    ("name and JSON", "get_weather", '>>>get_weather\n{"city": "Paris"}'),
    (
        "gpt-oss",
        "get_weather",
        (
            "<|channel|>commentary to=functions.get_weather "
            '<|constrain|>json<|message|>{"city":"Paris"}'
        ),
    ),
    (
        "name and JSON",
        "get_weather",
        'assistantcommentary to=functions.get_weather json{"city":"Paris"}',
    ),
    (
        "gpt-oss",
        "get_weather",
        "<|start|>assistant to=functions.get_weather<|channel|>commentary<|message|>{}",
    ),
    ("JSON", "get_weather", '[{"name": "get_weather", "arguments": {"city": "Paris"}}]'),
    (
        "JSON",
        "get_weather",
        '```json\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n```',
    ),
    ("Python", "get_weather", 'Sure!\n```tool_code\nprint(get_weather(city="Paris"))\n```'),
    ("Python", "get_weather", '```python\nget_weather("Paris")\n```'),
    ("Python", "get_weather", 'get_weather(city="Paris")'),
    (
        "JSON",
        "get_weather",
        'I will call {"name": "get_weather", "arguments": {"city": "Paris"} now',
    ),
    ("JSON", "get_weather", '{"tool_calls": [{"name":"get_weather","arguments":{}}]}'),
    ("ReAct", "get_weather", 'Action: get_weather\nAction Input: {"city": "Paris"}'),
    (
        "invoke",
        "get_weather",
        '<invoke name="get_weather"><parameter name="city">Paris</parameter></invoke>',
    ),
    ("Gemma 4", "get_weather", '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>'),
    ("Gemma 4", "get_weather", "<start_function_call>call:get_weather{city:<escape>P<escape>}"),
    ("functools", "get_weather", 'functools[{"name":"get_weather","arguments":{}}]'),
    ("name and JSON", "get_weather", 'get_weather\n{"city": "Paris"}'),
    ("Hermes", "get_weather", '<TOOLCALL>[{"name": "get_weather", "arguments": {}}]</TOOLCALL>'),
    ("JSON", "get_weather", "{'name': 'get_weather', 'arguments': {'city': 'Paris'}}"),
    ("JSON", "get_weather", '{"get_weather": {"city": "Paris"}}'),
    ("Hermes", "other", '<tool_call>{"name": "other", "arguments": {}}</tool_call>'),
    ("JSON", "get_time", '{"name": "get_time"}'),
    ("Python", "get_weather", 'default_api.get_weather(city="Paris")'),
    ("Python", "get_weather", 'weather = get_weather(city="P")'),
]

NO_CALLS = [
    "Paris",
    '{"name": "Alice", "arguments": {"x": 1}}',
    "I can call get_weather for you.",
    "Use `get_weather(city)`.",
    "get_weather() is the function that I would use (see the docs).",
    (
        '{"tools": [{"type":"function","function":{"name": "get_weather", "description": "x", '
        '"parameters": {"type":"object"}}}]}'
    ),
    '{"name": "get_weather", "parameters": {"type": "object", "properties": {}}}',
    "Models wrap calls in <tool_call> tags.",
    '`<tool_call>{"name": "f", "arguments": {}}</tool_call>` is Hermes',
    '```\n<tool_call>{"name": "f", "arguments": {}}</tool_call>\n```',
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
    '{"city": "Paris", "tool": "get_weather is best"}',
    "The [TOOL_CALLS] token",
    '<think>maybe <tool_call>{"name":"get_weather","arguments":{}}</tool_call></think>It is sunny.',
    "Action: call the weather service",
    'get_weather takes {"city": "Paris"}',
    "def get_weather(city):\n    return 1",
    'Action: ```json\n[{"tool_name": "directly-answer", "parameters": {}}]```',
    "[get_weather(city)]",
    '{"answer": {"name": "get_weather", "reason": "x"}}',
]
NO_CALLS += [
    "",
    "42",
    "[1, 2, 3]",
    '{"temperature": 21, "unit": "celsius"}',
    '[{"name": "Paris", "parameters": {"population": 2}}]',
    "The function get_weather returns the weather.",
    "get_weather",
    "I used [get_weather] before.",
    "<function> is a tag, and <tool_call> is one too.",
    "In Hermes' notation it is `<tool_call>{}</tool_call>`.",
    "<tool_call></tool_call>",
    "[TOOL_CALLS]",
    "[TOOL_CALLS][]",
    "<|python_tag|>print(1)",
    "Actions: get_weather, get_time",
    "get_weather == get_time",
    "1. get_weather(city): the weather\n2. get_time(): the time",
    "if get_weather(city='Paris'): pass",
    ">>> 1 + 1\n2",
    '"get_weather": "a tool"',
]

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
PIECES = st.sampled_from(
    [
        *(text for _, _, text in CALLS),
        *("<tool_call>", "{", "[", '{"name":', '"get_weather"', "get_weather", "(", ")", "=", "`"),
        *(
            "[TOOL_CALLS]",
            "<|python_tag|>",
            "<｜tool▁calls▁begin｜>",
            "\n",
            "```",
            ">>>",
            "Action:",
        ),
        *(
            "<think>",
            "</think>",
            '"arguments":',
            "{}",
            "to=functions.",
            "<function=",
            "\0",
            "\ud800",
        ),
    ]
)
MIXED = st.lists(PIECES | ANY_TEXT, max_size=8).map("".join)


@pytest.mark.parametrize(("notation", "name", "text"), CALLS)
def test_a_call_is_known_in_the_notations_that_models_use(
    notation: str, name: str, text: str
) -> None:
    """With a sentence before it, too, and cut off behind its arguments' beginning."""
    found = WrittenCall(notation=notation, name=name)
    assert call_in_answer(text, FIND) == found
    assert call_in_answer(f"Let me look that up.\n\n{text}", FIND) == found
    assert call_in_answer(f"<think>I need the tool.</think>\n\n{text}", FIND) == found


@pytest.mark.parametrize("text", NO_CALLS)
def test_a_text_about_calls_is_none(text: str) -> None:
    """Nor is an answer in JSON, a definition of a tool, or a thought."""
    assert call_in_answer(text, FIND) is None


@pytest.mark.parametrize(("notation", "name", "text"), CALLS)
def test_without_marks_the_tool_must_be_offered(notation: str, name: str, text: str) -> None:
    """Marks speak for themselves, also where a tool was made up."""
    found = NOTHING_OFFERED(text)
    if notation in {known.name for known in MARKED}:
        assert found == WrittenCall(notation=notation, name=name)
    else:
        assert found is None


def test_in_code_the_tool_must_be_offered() -> None:
    """An answer that explains a notation is no call; a call that a model fenced is one."""
    for text in (
        '```\n<tool_call>{"name": "NAME", "arguments": {}}</tool_call>\n```',
        'Like `<tool_call>{"name": "NAME", "arguments": {}}</tool_call>`.',
    ):
        assert FIND(text.replace("NAME", "f")) is None
        assert FIND(text.replace("NAME", "get_time")) is not None


def test_a_call_in_reasoning_counts_where_nothing_follows() -> None:
    """What was only thought of is no call; what got lost in an open thought is one."""
    call = '<tool_call>{"name": "get_weather", "arguments": {}}</tool_call>'
    assert call_in_answer(f"<think>{call}?</think>It rains.", FIND) is None
    assert call_in_answer(f"<think>{call}</think>\n", FIND) is not None
    assert call_in_answer(f"<think>I need it. {call}", FIND) is not None


@given(MIXED)
def test_no_text_makes_it_raise(text: str) -> None:
    """And what is found has a name."""
    for find in (FIND, NOTHING_OFFERED):
        found = call_in_answer(text, find)
        assert found is None or (found.name and found.notation)


@given(st.text(st.characters(exclude_characters="<[{>(:=\n`"), max_size=80))
def test_prose_is_never_a_call(text: str) -> None:
    """Whatever words stand in it, also the tools' names."""
    assert call_in_answer(f"{text} get_weather {text}", FIND) is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    st.sampled_from(["name", "function", "tool", "tool_name"]),
    st.sampled_from(["arguments", "parameters", "args", "input"]),
    st.dictionaries(st.text(max_size=8).filter(lambda key: key != "properties"), JSON_VALUES),
    st.booleans(),
)
def test_any_object_that_names_an_offered_tool_and_its_arguments_is_a_call(
    name_key: str, arguments_key: str, arguments: dict[str, object], turned: bool
) -> None:
    """In either order, alone, in a list, in text and in a code block; another tool's is none."""
    if arguments.get("type") == "object":
        return
    for name in ("get_weather", "get_stock"):
        pairs = [(name_key, name), (arguments_key, arguments)]
        text = json.dumps(dict(reversed(pairs) if turned else pairs))
        for content in (text, f"[{text}]", f"So: {text} Done.", f"```json\n{text}\n```"):
            assert (FIND(content) is not None) is (name == "get_weather")


@given(JSON_VALUES.map(json.dumps))
def test_an_answer_in_json_is_no_call(text: str) -> None:
    """As long as it names no tool."""
    assert call_in_answer(text, FIND) is None


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"' * 40_000,
        '{"name":' * 40_000,
        '{"x":{"get_weather":' * 20_000,
        "get_weather(" * 40_000,
        "[get_weather(x=" * 40_000,
        "get_weather(x='" * 40_000,
        "[TOOL_CALLS]" + " " * 200_000,
        "<｜tool▁call▁begin｜>" * 20_000,
        "```\n" * 50_000 + "get_weather",
        "`" * 100_000 + "get_weather",
        "Action:" * 50_000 + "get_weather",
        "\n" * 200_000 + "get_weather",
        "a" * 500_000 + " get_weather",
    ],
    ids=lambda text: repr(text)[:24],
)
def test_long_texts_come_to_an_end(text: str) -> None:
    """Whatever is repeated in them; the answer itself does not matter here."""
    call_in_answer(text, FIND)
    call_in_answer(text, NOTHING_OFFERED)


def test_the_page_lists_every_notation() -> None:
    """In the order of the tables."""
    section = PAGE.partition("### Calls that were written into the text")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\w ,.-]+) \| (.+) \|$", section, re.MULTILINE)
    names = [name for name, _ in rows if name != "notation" and not name.startswith("-")]
    assert [name for name in names if set(name) != {"-", " "}] == [
        *(notation.name for notation in MARKED),
        *(name for name, _ in BARE),
    ]
