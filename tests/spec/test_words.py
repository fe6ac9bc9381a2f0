"""What a new user types, and what helps: what is wrong, where, and what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import SpecError
from matrixbench.spec import slips
from matrixbench.spec.backends import kinds
from matrixbench.spec.base import Part
from matrixbench.spec.checks import CHECK_NAMES
from matrixbench.spec.experiment import ExperimentFile, Metric, SamplingField
from matrixbench.spec.wording import nearest_first, plain_or_quoted
from matrixbench.spec.yaml_source import disagreement, parse_document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.spec.conftest import Load

BACKENDS = "backends: {a: {kind: scripted, replies: [Paris]}}\n"
TEST = "{name: t, messages: [{role: user, content: hi}], expect: [{content: Paris}]}"
TESTS = f"tests: [{TEST}]\n"


def parts_by_name() -> dict[str, type[Part]]:
    """Return every part of the file by its class's name."""
    found: dict[str, type[Part]] = {}
    waiting: list[type[Part]] = [Part]
    while waiting:
        part = waiting.pop()
        found[part.__name__] = part
        waiting += part.__subclasses__()
    return found


# Kinds of backend


@pytest.mark.parametrize(
    ("written", "more", "kind", "page"),
    [
        *((name, "", "llama-server", "docs/servers.md#llama-server") for name in (
            "llamacpp", "llama.cpp", "llama_cpp", "LlamaServer", "llama-cpp-server", "Llama.CPP",
            "ik_llama.cpp", "gguf",
        )),
        *((name, "", "endpoint", "docs/servers.md#endpoint") for name in (
            "openai", "openai-compatible", "OpenAI API", "api", "lmstudio", "LM Studio", "LiteLLM",
            "openrouter", "azure-openai", "http", "remote",
        )),
        *((name, "", "command", "docs/servers.md#command") for name in (
            "vllm", "sglang", "tgi", "mlx", "mlx-lm", "koboldcpp", "llamafile", "TabbyAPI",
            "llama-cpp-python", "lmdeploy", "docker", "shell",
        )),
        ("vllm", "url: 'http://x/v1'", "endpoint", "docs/servers.md#endpoint"),
        ("openai", "argv: [x]", "command", "docs/servers.md#command"),
        ("ollama-server", "", "ollama", "docs/servers-ollama.md"),
        ("mock", "replies: [x]", "scripted", "docs/servers.md#scripted"),
    ],
)  # fmt: skip
def test_a_kind_by_another_name_is_told_with_its_page(
    problems: Callable[[str], list[str]], written: str, more: str, kind: str, page: str
) -> None:
    """What other programs call a server leads to our kind and to the page that explains it."""
    (told,) = problems(f"name: x\nbackends: {{b: {{kind: '{written}', {more}}}}}\n{TESTS}")
    assert told.startswith(f"exp.yaml:2:22: unknown kind in backends.b: the text «{written}»\n")
    assert f"write kind: {kind}, " in told
    assert told.endswith(f"({page})")


def test_a_kind_that_is_missing_is_guessed_from_the_rest(
    problems: Callable[[str], list[str]],
) -> None:
    """A url makes an endpoint, a command line a command."""
    (told,) = problems(f"name: x\nbackends: {{b: {{url: 'http://x/v1'}}}}\n{TESTS}")
    assert told.endswith("; what it says is that of kind: endpoint")


# Keys by other names


@pytest.mark.parametrize(
    ("test", "key", "write"),
    [
        ("prompt: hi", "prompt", "write messages: [{role: user, content: hi}]"),
        ("message: What now?", "message", ', as messages: [{role: user, content: "What now?"}]'),
        ("question: hi", "question", "write messages: [{role: user, content: hi}]"),
        ("input: hi", "input", "write messages: [{role: user, content: hi}]"),
    ],
)
def test_a_test_without_messages_says_them_otherwise(
    problems: Callable[[str], list[str]], test: str, key: str, write: str
) -> None:
    """The right key comes with the whole right form, and nothing is told twice."""
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{{name: t, {test}, expect: [content: a]}}]\n")
    assert told.startswith(f"exp.yaml:3:19: unknown key «{key}» in tests[0]\n")
    assert write in told


@pytest.mark.parametrize(
    ("said", "write"),
    [
        ("check: {content: Paris}", "write expect: [{content: Paris}]"),
        ("checks: {contains: Paris}", "write expect: [{content: {contains: Paris}}]"),
        ("assert: Paris", "write expect: [{content: {contains: Paris}}]"),
        ("answer: '4'", 'write expect: [{content: {contains: "4"}}]'),
        ("assertions: [{regex: P.*s}]", "write expect"),
    ],
)
def test_checks_by_another_name(
    problems: Callable[[str], list[str]], said: str, write: str
) -> None:
    """What pytest, promptfoo and others call it leads to `expect`."""
    messages = "messages: [{role: user, content: hi}]"
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{{name: t, {messages}, {said}}}]\n")
    assert write in told


@pytest.mark.parametrize(
    ("model", "write"),
    [
        ("file: a.gguf", "write gguf: a.gguf"),
        ("path: ~/m/a.gguf", "write gguf: ~/m/a.gguf"),
        ("model_path: /m/a.gguf", "write gguf: /m/a.gguf"),
        ("repo: org/repo", "write hf: org/repo"),
        ("huggingface: 'org/repo:Q4'", 'write hf: "org/repo:Q4"'),
        ("name: gpt", "write id: gpt"),
        ("tag: 'qwen:0.5b'", 'write ollama: "qwen:0.5b"'),
    ],
)
def test_a_models_source_by_another_name(
    problems: Callable[[str], list[str]], model: str, write: str
) -> None:
    """`file` is gguf, a repository is hf, a name is an id."""
    (told,) = problems(f"name: x\n{BACKENDS}models: {{m: {{{model}}}}}\n{TESTS}")
    assert told.startswith("exp.yaml:3:14: unknown key")
    assert write in told


@pytest.mark.parametrize(
    ("backend", "write"),
    [
        ("kind: endpoint, base_url: 'http://x/v1'", 'write url: "http://x/v1"'),
        ("kind: endpoint, url: 'http://x/v1', api_key: sk-123", "write api_key_env: NAME"),
        ("kind: endpoint, url: 'http://x/v1', parallel: 8", "write concurrency: 8"),
        ("kind: llama-server, path: /x", "write binary: /x"),
        ("kind: llama-server, n_ctx: 4096", "write context: 4096"),
        ("kind: llama-server, np: 4", "write slots: 4"),
        ("kind: llama-server, url: x", "only kind: ollama and kind: endpoint have it"),
        ("kind: scripted, responses: [a]", "replies: [a]"),
    ],
)
def test_a_backends_key_by_another_name(
    problems: Callable[[str], list[str]], backend: str, write: str
) -> None:
    """The words of other programs lead to ours; a key itself is never printed."""
    told = problems(f"name: x\nbackends: {{b: {{{backend}}}}}\n{TESTS}")
    assert any(write in one for one in told)
    assert "sk-123" not in "".join(told)


@pytest.mark.parametrize(
    ("check", "write"),
    [
        ("Paris", "write {content: {contains: Paris}}"),
        ("{contains: Paris}", "write {content: {contains: Paris}}"),
        ("{equals: Paris}", "write {content: {equals: Paris}}"),
        ("{regex: 'P.*'}", 'write {content: {matches: "P.*"}}'),
        ("{text: Paris}", "write {content: Paris}"),
        ("{thinking: x}", "write {reasoning: x}"),
        ("{function_call: x}", "perhaps you meant «tool_calls»"),
        ("{schema: {type: object}}", "write {json: {type: object}}"),
    ],
)
def test_a_check_by_another_name(
    problems: Callable[[str], list[str]], check: str, write: str
) -> None:
    """A text and a matcher's condition are the content's."""
    test = f"{{name: t, messages: [{{role: user, content: hi}}], expect: [{check}]}}"
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{test}]\n")
    assert write in told


def test_no_alias_is_a_key_of_ours_and_each_leads_to_one() -> None:
    """The tables agree with the models, whatever is added to either."""
    parts = parts_by_name()
    backends = {name for part in kinds().known.values() for name in part.model_fields}
    for name, table in slips.words_for_keys().items():
        own = {info.alias or key for key, info in parts[name].model_fields.items()}
        targets = backends if name.endswith("Backend") else own
        assert set(table.values()) <= targets, name
        if not name.endswith("Backend"):
            assert not own & table.keys(), name
    assert set(slips.words_for("sampling").values()) <= set(get_args(SamplingField))
    assert set(slips.words_for("checks").values()) <= set(CHECK_NAMES)
    assert not set(slips.words_for("checks")) & set(CHECK_NAMES)
    assert set(slips.words_for("metrics").values()) <= {metric.value for metric in Metric}
    known = kinds().known
    meant = {slips.kind_meant(word) for word in ("llamacpp", "api", "vllm", "mock")}
    assert {one.kind for one in meant if one} <= set(known)
    assert all(slips.kind_meant(kind) is None or kind in known for kind in known)


# Keys at the wrong level


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (
            "backends:\n  fake:\n  kind: scripted\n  replies: [Paris]\n",
            "4:3",
            "right under backends\n  indent kind and replies under fake",
        ),
        (
            "backends:\n  fake:\n  kind: llama-server\n  options: {x: 1}\n",
            "4:3",
            "indent kind and options under fake",
        ),
        (
            "backends:\n  fake:\nkind: scripted\nreplies: [Paris]\n",
            "4:1",
            "indent kind and replies under fake",
        ),
        (
            "backends: {kind: scripted, replies: [Paris]}\n",
            "2:12",
            "give it a name: backends: {NAME: {kind: scripted, replies: [Paris]}}",
        ),
        ("backends:\nfake:\n  kind: scripted\n  replies: [x]\n", "3:1", "indent fake under backen"),
    ],
)
def test_keys_of_a_backend_one_level_too_high(
    problems: Callable[[str], list[str]], text: str, place: str, said: str
) -> None:
    """One mistake in the indentation is one problem, whatever types it breaks."""
    (told,) = problems(f"name: x\n{text}{TESTS}")
    assert told.startswith(f"exp.yaml:{place}:")
    assert said in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models:\n  q:\n  gguf: a.gguf\n", "indent gguf under q"),
        ("models: {hf: org/repo}\n", "give it a name: models: {NAME: {hf: org/repo}}"),
        ("models:\nq:\n  gguf: a.gguf\n", "indent q under models"),
        ("chat_templates:\n  t:\n  name: chatml\n", "indent name under t"),
        ("sampling:\ntemperature: [0, 1]\n", "indent temperature under sampling"),
        ("sampling:\ntemp: [0, 1]\ntop_k: 4\n", "indent temp and top_k under sampling"),
        ("timeouts:\nrequest_s: 4\n", "indent request_s under timeouts"),
        ("request:\ntool_choice: auto\n", "indent tool_choice under request"),
    ],
)
def test_what_stands_beside_its_owner(
    problems: Callable[[str], list[str]], text: str, said: str
) -> None:
    """A key with nothing under it, and what belongs there beside it."""
    (told,) = problems(f"name: x\n{BACKENDS}{TESTS}{text}")
    assert "one level too high" in told
    assert told.endswith(f"\n  {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "temperature: 0\n",
            "write temperature under sampling:, such as sampling: {temperature: 0}",
        ),
        ("temp: 0\n", "write temperature under sampling:"),
        (
            "top_p: 1\nmin_p: 0\n",
            "unknown keys «top_p» and «min_p» at the top level\n  write top_p and min_p under",
        ),
        ("request_s: 5\n", "write request_s under timeouts:, such as timeouts: {request_s: 5}"),
        ("tool_choice: auto\n", "write tool_choice under request:"),
        ("stop: [a]\n", "write stop under request:, such as request: {stop: [a]}"),
        ("binary: /x\n", "write binary under a backend's name"),
        ("url: x\n", "write url under a backend's name"),
        ("gguf: x\n", "write gguf under a model's name"),
        ("turns: [x]\n", "write turns in a test"),
        ("repeats: 3\n", "write trials: 3"),
        ("max_new_tokens: 3\n", "as max_tokens: 3"),
        ("model: {m: {}}\n", "perhaps you meant «models»"),
    ],
)
def test_a_key_of_another_level_at_the_top(
    problems: Callable[[str], list[str]], text: str, said: str
) -> None:
    """Sampling, request, timeouts, backends, models, tests: where it belongs is said."""
    (told,) = problems(f"name: x\n{BACKENDS}{TESTS}{text}")
    assert said in told


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("temperature: 0", "write temperature under sampling:, at the top level of the file"),
        ("trials: 3", "write trials at the top level of the file"),
        ("models: {m: {}}", "write models at the top level of the file"),
        ("gguf: a.gguf", "write gguf under a model's name: models: {NAME: {…}}"),
        ("ngl: 99", "write n-gpu-layers under options:, such as options: {n-gpu-layers: 99}"),
        ("fa: on", "write flash-attn under options:"),
        ("cache-type-k: q8_0", "write cache-type-k under options:"),
        ("tool_choice: auto", "write tool_choice under request:, at the top level of the file"),
        ("messages: []", "write messages in a test"),
    ],
)
def test_a_key_of_another_level_in_a_backend(
    problems: Callable[[str], list[str]], backend: str, said: str
) -> None:
    """The same in a backend, where llama-server's options are expected too."""
    text = f"name: x\nbackends: {{b: {{kind: llama-server, {backend}}}}}\n{TESTS}"
    (told,) = problems(text)
    assert said in told


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("temperature: 0", "write temperature under the test's request:, such as request: {tem"),
        ("tool_choice: auto", "write tool_choice under the test's request:"),
        ("max_tokens: 3", "write max_tokens under the test's request:"),
        ("content: Paris", "write content in the test's expect:"),
        ("context: 512", "write context under the test's needs:, such as needs: {context: 512}"),
        ("trials: 3", "write trials at the top level of the file"),
        ("contains: Paris", "write contains in the test's expect:, under content:"),
    ],
)
def test_a_key_of_another_level_in_a_test(
    problems: Callable[[str], list[str]], test: str, said: str
) -> None:
    """The same in a test."""
    fields = "name: t, messages: [{role: user, content: hi}], expect: [content: a]"
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{{{fields}, {test}}}]\n")
    assert said in told


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("max_tokens: 3", "write max_tokens at the top level of the file"),
        ("seed: 3", "write seed at the top level of the file"),
        ("tool_choice: auto", "write tool_choice under request:, at the top level of the file"),
        ("temp: 3", "as temperature: 3"),
        ("repetition_penalty: 1.1", "as repeat_penalty: 1.1"),
    ],
)
def test_what_is_no_sampling_field(
    problems: Callable[[str], list[str]], key: str, said: str
) -> None:
    """The same among sampling fields."""
    (told,) = problems(f"name: x\n{BACKENDS}{TESTS}sampling: {{{key}}}\n")
    assert said in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models:\n  q:\n    hf: 'a/b:{quant}'\n    axes:\n    quant: [Q4, Q8]\n",
            "«quant» stands one level too high, right under models.q\n  indent quant under axes",
        ),
        (
            "models:\n  q:\n    hf: a/b\n    options:\n    n-gpu-layers: 99\n    fa: on\n",
            "right under models.q\n  indent n-gpu-layers and fa under options",
        ),
        (
            "tests:\n- name: t\n  messages:\n  - role: user\n  content: hi\n  expect: []\n",
            "right under tests[0]\n  indent content as far as role, in the message",
        ),
        (
            "tests:\n- name: t\n  parameters:\n  city: [a, b]\n  messages: []\n",
            "indent city under parameters",
        ),
    ],
)
def test_what_stands_beside_its_owner_further_down(
    problems: Callable[[str], list[str]], text: str, said: str
) -> None:
    """The same in a model, in a backend, in a test, and for a message's content."""
    tests = "" if text.startswith("tests") else TESTS
    told = problems(f"name: x\n{BACKENDS}{tests}{text}")
    assert said in "\n".join(told)
    assert not any("expected a mapping" in one for one in told)


@pytest.mark.parametrize("key", ["sk-abcdef", "hf_abcdef", "gsk_abc", "Bearer abc", "a.b"])
def test_a_key_in_place_of_its_variable_is_not_repeated(
    problems: Callable[[str], list[str]], key: str
) -> None:
    """What cannot be a variable's name, or begins as keys do, is told without being shown."""
    backend = f"{{kind: endpoint, url: 'http://x/v1', api_key_env: '{key}'}}"
    (told,) = problems(f"name: x\nbackends: {{e: {backend}}}\n{TESTS}")
    assert "expected the name of an environment variable" in told
    assert key not in told


def test_a_tool_without_its_function_is_written_out(problems: Callable[[str], list[str]]) -> None:
    """The flat form that some APIs take leads to the one that is sent here."""
    tool = "{name: weather, parameters: {type: object}}"
    test = f"{TEST[:-1]}, tools: [{tool}]}}"
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{test}]\n")
    assert told.endswith(f"write {{type: function, function: {tool}}}")


# Whole right forms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: {q: 'org/repo:Q4'}", 'write {hf: "org/repo:Q4"}'),
        ("models: {q: org/repo}", "write {hf: org/repo}"),
        ("models: {q: a/b.gguf}", "write {gguf: a/b.gguf}"),
        ("models: {q: ~/b}", "write {gguf: ~/b}"),
        ("models: {q: 'qwen2.5:0.5b'}", 'write {ollama: "qwen2.5:0.5b"}'),
        ("models: {q: gpt-4}", "write {id: gpt-4}"),
        ("models: 'org/repo:Q4'", 'write {NAME: {hf: "org/repo:Q4"}}'),
        ("chat_templates: {t: chatml}", "write {name: chatml}"),
        ("chat_templates: {t: x/y.jinja}", "write {file: x/y.jinja}"),
        ("charts: {c: success_ratio}", "write {metric: success_ratio}"),
        ("timeouts: 60", "write {request_s: 60}"),
        ("limits: 60", "write {cells: 60}"),
        ("sampling: 0", "write {temperature: 0}"),
        ("trials: [5, 50]", "write {min: 5, max: 50, until: {half_width: 0.1}}"),
        (
            "trials: {max: 50, until: {gate: backend=b}}",
            "write {baseline: {backend: b}, max_drop: 0.1}",
        ),
        ("trials: {max: 50, until: {gate: {baseline: b}}}", "write {backend: b}"),
        ("exclude: {backend: a}", "write [{backend: a}]"),
    ],
)
def test_a_value_of_the_wrong_shape_at_the_top(
    problems: Callable[[str], list[str]], text: str, said: str
) -> None:
    """What was meant is written out, as it loads."""
    (told,) = problems(f"name: x\n{BACKENDS}{TESTS}{text}\n")
    assert told.split("\n  ")[1].startswith(said)


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("'http://127.0.0.1:8080/v1'", 'write {kind: endpoint, url: "http://127.0.0.1:8080/v1"}'),
        ("'http://me:pw@x/v1'", 'write {kind: endpoint, url: "http://…@x/v1"}'),
        ("ollama", "write {kind: ollama}"),
        ("llama.cpp", "write {kind: llama-server}"),
        ("~/bin/llama-server", "write {kind: llama-server, binary: ~/bin/llama-server}"),
        (
            "{kind: command, argv: 'vllm serve q --port {{ port }}'}",
            'each argument is an element: [vllm, serve, q, --port, "{{ port }}"]',
        ),
        (
            "{kind: command, argv: ['vllm serve q --port {{ port }}']}",
            'each argument is an element: [vllm, serve, q, --port, "{{ port }}"]',
        ),
        ("{kind: command, argv: ['python -m x', '{{ port }}']}", "element: [python, -m, x]"),
        (
            "{kind: llama-server, options: -ngl 99 -fa on}",
            "write {n-gpu-layers: 99, flash-attn: on}",
        ),
        ("{kind: llama-server, env: [A=b]}", "write {A: b}"),
    ],
)
def test_a_backend_of_the_wrong_shape(
    problems: Callable[[str], list[str]], backend: str, said: str
) -> None:
    """A url, a path, a kind, a command line; passwords are not repeated."""
    (told,) = problems(f"name: x\nbackends: {{b: {backend}}}\n{TESTS}")
    assert told.split("\n  ")[1].startswith(said) or told.endswith(said)
    assert "me:pw" not in told


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("messages: hi, expect: [content: a]", "write [{role: user, content: hi}]"),
        ("messages: [hi], expect: [content: a]", "write {role: user, content: hi}"),
        ("messages: [{user: hi}], expect: [content: a]", "write {role: user, content: hi}"),
        ("messages: {role: user, content: hi}, expect: [content: a]", "write [{role: user, con"),
        ("messages: [{role: user, content: hi}], expect: Paris", "write [{content: {contains: P"),
        ("messages: [{role: user, content: hi}], expect: {json: true}", "write [{json: true}]"),
        (
            "messages: [{role: user, content: hi}], expect: [content: a], turns: more",
            "write [more]",
        ),
        (
            "messages: [{role: user, content: hi}], expect: [content: a], needs: 512",
            "write {context: 512}",
        ),
        (
            "messages: [{role: user, content: hi}], expect: [completion_tokens: 9]",
            "write {max: 9}",
        ),
    ],
)
def test_a_test_of_the_wrong_shape(
    problems: Callable[[str], list[str]], test: str, said: str
) -> None:
    """Messages, checks and turns, as a text or without their brackets."""
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{{name: t, {test}}}]\n")
    assert told.split("\n  ")[1].startswith(said)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("[tool-calling]", "write {suite: tool-calling}"),
        ("tool-calling", "write [{suite: tool-calling}]"),
        (TEST, "begin each test with «- », or write [{name: t"),
        (
            "{capital: {messages: [{role: user, content: hi}]}}",
            "with «- » and its name: - name: ca",
        ),
    ],
)
def test_tests_that_are_no_list(
    problems: Callable[[str], list[str]], tests: str, said: str
) -> None:
    """A suite's name, one test without its dash, tests by name."""
    (told,) = problems(f"name: x\n{BACKENDS}tests: {tests}\n")
    assert said in told


@pytest.mark.parametrize(
    ("head", "wrong", "right"),
    [
        (
            "tests: [{name: t, expect: [{content: a}], messages: ",
            "hi",
            "[{role: user, content: hi}]",
        ),
        (
            "tests: [{name: t, messages: [{role: user, content: hi}], expect: ",
            "Paris",
            "[{content: {contains: Paris}}]",
        ),
    ],
)
def test_what_is_written_out_loads(load: Load, head: str, wrong: str, right: str) -> None:
    """A hint that is followed is not refused again."""
    with pytest.raises(SpecError) as caught:
        load(f"name: x\n{BACKENDS}{head}{wrong}}}]\n")
    assert caught.value.hint == f"write {right}"
    assert load(f"name: x\n{BACKENDS}{head}{right}}}]\n").tests


@given(st.text(max_size=40))
def test_what_is_written_out_means_itself(text: str) -> None:
    """A text in a hint reads back as that text, its blanks made one."""
    meant = " ".join(text.split())
    if all(sign.isprintable() for sign in meant) and "@" not in meant:
        document = parse_document(f"a: [{plain_or_quoted(text)}]", name="f")
        (found,) = document.root.child_items("a")
        assert found.value == meant


# Lists without brackets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "sampling: {temperature: 0, 0.5, 1}",
            "4:28: «0.5» has no value: a list needs brackets\n  write temperature: [0, 0.5, 1]",
        ),
        ("sampling: [{top_k: 1, 20}]", "write top_k: [1, 20]"),
        ("request: {tool_choice: auto, required}", "write tool_choice: [auto, required]"),
        ("models: {m: {hf: 'a/b:{q}', axes: {q: Q4, Q8}}}", "write q: [Q4, Q8]"),
        ("sampling: {temperature: '0, 0.5, 1'}", "a list needs brackets: [0, 0.5, 1]"),
        ("models: {m: {hf: 'a/b:{q}', axes: {q: 'Q4, Q8'}}}", "a list needs brackets: [Q4, Q8]"),
    ],
)
def test_a_list_without_brackets(
    problems: Callable[[str], list[str]], text: str, said: str
) -> None:
    """`{temperature: 0, 0.5, 1}` is three keys to YAML, and one problem here."""
    (told,) = problems(f"name: x\n{BACKENDS}{TESTS}{text}\n")
    assert said in told


def test_an_option_of_several_values_in_one_text_is_doubtful(load: Load) -> None:
    """`f16, q8_0` may be one text: it loads, with a warning."""
    backend = "{kind: llama-server, options: {cache-type-k: 'f16, q8_0', tensor-split: '3,1'}}"
    (warning,) = load(f"name: x\nbackends: {{a: {backend}}}\n{TESTS}").warnings
    assert "«f16, q8_0» is one text; a list needs brackets" in warning.message


# Indentation


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  b:\n    c: 1\n   d: 2\n", "line 4 is indented by 3, line 3 by 4"),
        ("a: 1\n  b: 2\n", "line 2 is indented by 2, line 1 by 0, and line 1 has its value"),
        ("a:\n  - b: 1\n    c: 2\n   d: 3\n", "line 4 is indented by 3, line 3 by 4"),
        ("a:\n  - b: 1\n  c: 2\n", "line 3 is indented by 2, line 2 by 4"),
        ("a:\n  - b: 1\n      c: 2\n", "line 3 is indented by 6, line 2 by 4, and line 2 has"),
        ("a:\n  b: {c: 1}\n   d: 2\n", "line 3 is indented by 3, line 2 by 2, and line 2 has"),
        ("a: [1,\n 2]\nb:\n    c: 1\n  d: 2\n", "line 5 is indented by 2, line 4 by 4"),
        ("a: |\n   text\n  more\n x: 1\nb:\n  c: 1\n d: 2\n", None),
        ("a: 1\n- b\n", "line 2 begins with «-», and line 1 with a key"),
        ("# x\n\na:\n    b: 1\n  c: 2 # y\n", "line 5 is indented by 2, line 4 by 4"),
    ],
)
def test_two_lines_that_disagree(text: str, said: str | None) -> None:
    """A wrong indentation names both lines and how far each is indented."""
    with pytest.raises(SpecError) as caught:
        parse_document(text, name="f")
    if said is not None:
        assert said in str(caught.value)
        assert "\n  " in str(caught.value)


@given(st.recursive(
    st.integers(0, 9) | st.text("ab: '", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=9,
))  # fmt: skip
def test_lines_of_a_right_text_do_not_disagree(data: object) -> None:
    """Whatever YAML writes, no two of its lines are said to disagree."""
    text = yaml.safe_dump({"top": data, "end": 1}, default_flow_style=False, sort_keys=False)
    assert disagreement(text, len(text.split("\n"))) is None


def test_a_bracket_that_is_not_closed_is_shown(problems: Callable[[str], list[str]]) -> None:
    """The place where the list begins is told beside the one where the parser gave up."""
    (told,) = problems(f"name: x\n{BACKENDS}trials: [3\n{TESTS}")
    assert "exp.yaml:4:6: " in told
    assert "the list that begins in line 3, column 9 is not closed" in told


# Suites that are not there


def test_a_missing_suite_suggests_no_file_that_is_none(
    problems: Callable[[str], list[str]], load: Load, tmp_path: Path
) -> None:
    """Only what is there is suggested."""
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{{suite: mine}}]\n")
    assert ".yaml" not in told.partition("\n")[2]
    assert "shipped: " in told
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{{suite: suites/mine.yaml}}]\n")
    assert told.endswith("there is no such file")
    (tmp_path / "mine.yaml").write_text(f"name: m\n{TESTS}", encoding="utf-8")
    (told,) = problems(f"name: x\n{BACKENDS}tests: [{{suite: mine}}]\n")
    assert "write suite: mine.yaml" in told
    assert load(f"name: x\n{BACKENDS}tests: [{{suite: mine.yaml}}]\n").tests


# Metrics


@pytest.mark.parametrize(
    ("written", "first"),
    [
        ("latency", "latency_p50_s"),
        ("latency_p90", "latency_p90_s"),
        ("ttft", "time_to_first_token_p50_s"),
        ("accuracy", "success_ratio"),
        ("tokens_per_second", "completion_tokens_per_s"),
        ("pass@k", "pass_at_k"),
        ("sucess", "success_ratio"),
    ],
)
def test_a_metric_by_another_name(
    problems: Callable[[str], list[str]], written: str, first: str
) -> None:
    """The nearest metrics come first, by their letters and by what other tools call them."""
    (told,) = problems(f"name: x\n{BACKENDS}{TESTS}charts: {{c: {{metric: '{written}'}}}}\n")
    assert f"perhaps you meant «{first}»; metrics, the nearest first: {first}, " in told


def test_the_nearest_come_first() -> None:
    """What begins with a name, then what holds it, then what resembles it."""
    names = ["time", "capitals", "my-capital", "capitol", "zzz"]
    assert nearest_first("capital", names)[:3] == ["capitals", "my-capital", "capitol"]
    assert set(nearest_first("x", ExperimentFile.model_fields)) == set(ExperimentFile.model_fields)
