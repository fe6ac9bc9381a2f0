"""What does not apply to Ollama, and what makes its cells' ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.plan.matrix import build_matrix

if TYPE_CHECKING:
    from matrixbench.plan.matrix import Matrix
    from tests.conftest import Load, Write

BASE = """
name: demo
trials: 3
backends:
  o: {kind: ollama, context: 4096, slots: 1}
models: {a: {ollama: "small:1b"}}
chat_templates: {native: {}}
sampling: {temperature: 0.5}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: a}}]}
"""


def matrix(load: Load, old: str = "", new: str = "") -> Matrix:
    """Return the matrix of the file, changed in one place."""
    assert old in BASE
    return build_matrix(load(BASE.replace(old, new, 1) if old else BASE))


def ids(built: Matrix) -> list[str]:
    """Return the ids of the cells."""
    return [cell.id for group in built.launches for cell in group.cells]


def reasons(built: Matrix) -> list[str]:
    """Return why points do not apply."""
    return [point.reason for point in built.not_applicable]


def test_golden_id(load: Load) -> None:
    """This id stands in people's stores: a change here must raise IDENTITY_VERSION."""
    assert ids(matrix(load)) == ["2aee3ee27257adb22b2c0a94"]


def test_what_is_said_later_must_be_honoured_too(load: Load) -> None:
    """A turn is looked at like the messages before it."""
    turn = "turns: [{role: developer, content: x}], expect:"
    assert reasons(matrix(load, "expect:", turn)) == ["Ollama has no role developer"]
    assert len(ids(matrix(load, "expect:", "turns: [x], expect:"))) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("context: 4096, slots: 1", "slots: 2, loaded_models: 2, binary: /x/ollama, pull: never"),
        ("context: 4096, slots: 1", "models_dir: /somewhere"),
        ("context: 4096, slots: 1", 'url: "http://127.0.0.1:11434"'),
        ('{ollama: "small:1b"}', '{ollama: "small:1b", gguf: /x/small.gguf, id: y}'),
    ],
)
def test_what_does_not_decide_the_answer_keeps_the_id(load: Load, old: str, new: str) -> None:
    """Places, slots, whose server it is, and sources that Ollama does not use."""
    assert ids(matrix(load, old, new)) == ids(matrix(load))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("context: 4096", "context: 8192"),
        ("slots: 1", "options: {kv-cache-type: q8_0}"),
        ("slots: 1", "env: {A: b}"),
        ('ollama: "small:1b"', 'ollama: "small:3b"'),
        ('ollama: "small:1b"', "gguf: /x/small.gguf"),
    ],
)
def test_what_decides_the_answer_changes_the_id(load: Load, old: str, new: str) -> None:
    """The context, options, variables and the model."""
    assert ids(matrix(load, old, new)) != ids(matrix(load))


def test_the_kind_of_server_is_part_of_the_id(load: Load) -> None:
    """The same file on Ollama and on llama-server makes two cells."""
    text = BASE.replace('ollama: "small:1b"', "gguf: /x/a.gguf")
    other = text.replace("kind: ollama", "kind: llama-server")
    assert ids(build_matrix(load(text))) != ids(build_matrix(load(other)))


PACKAGE = f'package: {{name: a, version: "1", file: f, sha256: "{"0" * 64}"}}'


@pytest.mark.parametrize("source", ["gguf: /x/a.gguf", "hf: org/a", PACKAGE])
def test_a_throw_away_tag_can_be_made_of_any_file(load: Load, source: str) -> None:
    """Here, on a hub or in a package."""
    assert reasons(matrix(load, 'ollama: "small:1b"', source)) == []


def test_a_model_needs_a_tag_or_a_file(load: Load) -> None:
    """An id is for endpoints."""
    built = matrix(load, 'ollama: "small:1b"', "id: small")
    assert reasons(built) == ["model a has no source for Ollama"]


def test_chat_templates(load: Load, write: Write) -> None:
    """The model's own and those in Ollama's language apply, names and Jinja files do not."""
    write("{{ .Prompt }}", "t.gotmpl")
    write("{{ messages }}", "t.jinja")
    templates = (
        "{native: {}, named: {name: chatml}, jinja: {file: t.jinja}, "
        "go: {ollama_file: t.gotmpl}, both: {file: t.jinja, ollama_file: t.gotmpl}}"
    )
    built = matrix(load, "{native: {}}", templates)
    assert [group.launch.template.name for group in built.launches] == ["native", "go", "both"]
    assert len(set(ids(built))) == 2
    assert all("cannot take the chat template" in reason for reason in reasons(built))


def test_ollamas_templates_are_nothing_to_others(load: Load, write: Write) -> None:
    """A template in Ollama's language only does not apply to a llama-server; in both it does."""
    write("{{ .Prompt }}", "t.gotmpl")
    write("{{ messages }}", "t.jinja")
    text = BASE.replace("kind: ollama", "kind: llama-server").replace(
        'ollama: "small:1b"', "hf: org/a"
    )
    jinja = text.replace("{native: {}}", "{x: {file: t.jinja}}")
    both = text.replace("{native: {}}", "{x: {file: t.jinja, ollama_file: t.gotmpl}}")
    only = text.replace("{native: {}}", "{x: {ollama_file: t.gotmpl}}")
    assert ids(build_matrix(load(both))) == ids(build_matrix(load(jinja)))
    assert "Ollama's language only" in reasons(build_matrix(load(only)))[0]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("tool_choice: required", "Ollama's API has no tool_choice"),
        ("tool_choice: auto", "Ollama's API has no tool_choice"),
        ("logit_bias: {value: {}}", "Ollama's API has no logit_bias"),
        ("chat_template_kwargs: [{enable_thinking: true}]", "no chat_template_kwargs"),
        ("response_format: [{type: grammar}]", "not this response_format"),
        ("reasoning_effort: most", "knows no reasoning_effort most"),
        ("max_completion_tokens: 4", "mean the same"),
    ],
)
def test_request_fields_that_would_be_dropped(load: Load, field: str, told: str) -> None:
    """They do not apply, each with its reason; left out by a null they do."""
    built = matrix(load, "tests:", f"request: {{{field}}}\ntests:")
    assert ids(built) == []
    assert told in reasons(built)[0]
    name = field.partition(":")[0]
    assert ids(matrix(load, "tests:", f"request: {{{name}: null}}\ntests:")) == ids(matrix(load))


def test_a_field_of_the_test_itself(load: Load) -> None:
    """What a test asks for counts as well."""
    built = matrix(load, "{name: hi,", "{name: hi, request: {tool_choice: required},")
    assert "no tool_choice" in reasons(built)[0]


@pytest.mark.parametrize(
    ("field", "applies"),
    [
        ("top_k: 3", True),
        ("min_p: 0.1", True),
        ("repeat_penalty: 1.1", True),
        ("dry_multiplier: 0.5", False),
        ("dry_multiplier: null", True),
        ("mirostat: 1", False),
    ],
)
def test_sampling_fields(load: Load, field: str, *, applies: bool) -> None:
    """Those of Ollama's own options apply; of the others it would only log a warning."""
    built = matrix(load, "{temperature: 0.5}", f"{{{field}}}")
    assert bool(ids(built)) is applies


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("{role: developer, content: x}", "no role developer"),
        ("{role: user, content: x, name: me}", "no name"),
        ("{role: user, content: [{type: input_audio, input_audio: {}}]}", "text and images"),
        ("{role: user, content: [{type: image_url, image_url: {url: 'http://x'}}]}", "images"),
        (
            "{role: assistant, tool_calls: [{function: {name: f, arguments: 'no json'}}]}",
            "arguments as an object",
        ),
    ],
)
def test_messages_that_ollama_has_no_place_for(load: Load, message: str, told: str) -> None:
    """A test whose messages cannot be sent as they are does not apply."""
    built = matrix(load, "{role: user, content: hi}", message)
    assert told in reasons(built)[0]


def test_the_shipped_suite_applies(load: Load) -> None:
    """The tool tests, with a tool's answer among them, can be asked of Ollama."""
    entry = (
        "  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: a}}]}"
    )
    built = matrix(load, entry, "  - suite: tool-calling")
    assert len(ids(built)) == 3


def test_faithful(load: Load) -> None:
    """Ollama cannot be told to leave its prompt cache alone."""
    assert "prompt cache" in reasons(matrix(load, "trials: 3", "trials: 3\nfaithful: true"))[0]


def test_builds_and_options_are_axes(load: Load) -> None:
    """So are the options of a model that are Ollama's; those of other servers are not its."""
    backend = "binary: {old: /a/ollama, new: /b/ollama}, options: {kv-cache-type: [f16, q8_0]}"
    text = BASE.replace("slots: 1", backend).replace(
        'ollama: "small:1b"', 'ollama: "small:1b", options: {num_gpu: [0, 9], threads: [1, 2]}'
    )
    built = build_matrix(load(text))
    assert len(built.launches) == 8
    assert set(built.launches[0].launch.options) == {"kv-cache-type", "num_gpu"}
