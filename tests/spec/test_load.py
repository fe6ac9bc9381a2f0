"""From a file to an experiment: paths, references, suites, templates, and every problem at once."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrixbench.backends.endpoint import EndpointBackend
from matrixbench.backends.llama.backend import LlamaServerBackend
from matrixbench.checks.judge import compile_checks
from matrixbench.errors import ExitCode, SpecError
from matrixbench.spec.load import load_experiment
from matrixbench.spec.suites import shipped_suites
from tests.properties import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.spec.conftest import Load

ROOT = Path(__file__).parents[2]
BACKEND = "backends: {a: {kind: llama-server}}\n"
TEST = "{name: t, messages: [{role: user, content: hi}], expect: []}"
TESTS = f"tests: [{TEST}]\n"

FULL = """\
# a comment
name: tool-calling
x-shared: &user {role: user, content: hello}
trials: 3
backends:
  candidate:
    kind: llama-server
    binary: ~/bin/llama-server
    options:
      cache-type-k: [f16, q8_0]
      flash-attn: [on, off]
      lora: {value: [a.gguf, b.gguf]}
  builds: {kind: llama-server, binary: {old: builds/old, new: "${BUILDS}/new"}}
  hosted: {kind: endpoint, url: "https://${HOST}/v1", api_key_env: KEY}
models:
  small: {gguf: models/small.gguf, chat_templates: [native]}
  large:
    hf: "org/Large-GGUF:{quant}"
    axes: {quant: [Q4_K_M, Q8_0]}
chat_templates:
  native: {}
  chatml: {name: chatml}
  hermes: {file: hermes.jinja}
sampling:
  - {temperature: [null, 0, 0.5], top_p: 0.95}
  - {temperature: 1.5, samplers: {value: [top_k, temperature]}}
request: {tool_choice: [auto, required]}
tests:
  - suite: suites/mine.yaml
    skip: [skipped-*]
  - name: capital-of-{{ country }}
    parameters: {country: [France, Japan]}
    messages: [*user, {role: user, content: "The capital of {{ country }}?"}]
    request: {max_tokens: 16}
    expect: [{content: {contains: "{{ {'France': 'Paris', 'Japan': 'Tokyo'}[country] }}"}}]
exclude:
  - {backend: hosted, chat_template: [chatml, hermes]}
  - {test: capital-*, options.flash-attn: on, model.quant: Q8_0}
include:
  - {backend: candidate, temperature: 5, test: mine}
charts:
  success: {x: test, y: temperature, row: model, column: [backend, build]}
  change: {metric: difference, baseline: {options.flash-attn: on}}
  builds: {metric: difference, baseline: {build: previous}}
"""

SUITE = """\
name: mine-all-mine
tests:
  - {name: mine, messages: [{role: user, content: "{{ literally }}"}], expect: [json: true]}
  - {name: skipped-1, messages: [{role: user, content: x}], expect: []}
"""


@pytest.fixture
def full(tmp_path: Path) -> str:
    """Return an experiment that uses most of the format; the files that it names are there."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine.yaml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "hermes.jinja").write_text("{{ messages }}", encoding="utf-8")
    return FULL


ENVIRON = {"HOME": "/home/me", "BUILDS": "/builds", "HOST": "example.test"}


def test_a_number_may_be_made_of_parameters(load: Load) -> None:
    """A text is a number once it is filled in; one that is none is told with its place."""
    test = (
        "{name: '{{ a }}', parameters: {a: [2, 3]}, messages: [{role: user, content: x}], "
        "expect: [content: {number: {value: '{{ a * VALUE }}'}}]}"
    )
    head = f"name: x\n{BACKEND}tests: "
    two, three = load(f"{head}[{test.replace('VALUE', '7')}]").tests
    assert two.expect[0].content.number.value == "14"  # type: ignore[union-attr]
    assert compile_checks(three.expect).digest != compile_checks(two.expect).digest
    with pytest.raises(SpecError, match="expected a number, found the text «twotwo»"):
        load(f"{head}[{test.replace('[2, 3]', 'two').replace('VALUE', '2')}]")


def test_paths_are_absolute_and_variables_filled_in(load: Load, full: str, tmp_path: Path) -> None:
    """`~`, `${VAR}` and relative paths mean what they say, from the file's folder."""
    file = load(full, **ENVIRON).file
    candidate, builds, hosted = file.backends.values()
    assert isinstance(candidate, LlamaServerBackend)
    assert candidate.binary == "/home/me/bin/llama-server"
    assert isinstance(builds, LlamaServerBackend)
    assert builds.binary == {"old": f"{tmp_path}/builds/old", "new": "/builds/new"}
    assert isinstance(hosted, EndpointBackend)
    assert hosted.url == "https://example.test/v1"
    assert file.models["small"].gguf == f"{tmp_path}/models/small.gguf"


def test_yaml_1_2_words_stay_texts_in_options(load: Load, full: str) -> None:
    """`on` and `off` reach the server as texts, and a list that is one value as a list."""
    candidate = load(full, **ENVIRON).file.backends["candidate"]
    assert isinstance(candidate, LlamaServerBackend)
    assert candidate.options["flash-attn"] == ["on", "off"]  # type: ignore[call-overload]
    assert candidate.options["lora"] == {"value": ["a.gguf", "b.gguf"]}  # type: ignore[call-overload]


def test_tests_come_in_the_files_order_with_parameters_filled_in(load: Load, full: str) -> None:
    """Suites are read, parameters make one case each, and texts without parameters stay."""
    mine, france, japan = load(full, **ENVIRON).tests
    assert (mine.name, mine.suite) == ("mine", "mine-all-mine")
    assert mine.messages[0]["content"] == "{{ literally }}"
    assert (france.name, france.parameters) == ("capital-of-France", {"country": "France"})
    assert france.messages[1]["content"] == "The capital of France?"
    assert japan.expect[0].content.contains == "Tokyo"  # type: ignore[union-attr]


def test_templates_are_read(load: Load, full: str, tmp_path: Path) -> None:
    """A template is the model's own, known to the server by name, or a file's text, unrendered."""
    native, chatml, hermes = load(full, **ENVIRON).templates.values()
    assert native.is_native
    assert (chatml.known_as, chatml.text) == ("chatml", None)
    assert (hermes.text, hermes.path) == ("{{ messages }}", tmp_path / "hermes.jinja")


def test_the_smallest_experiment_has_one_model_and_the_native_template(
    load: Load, minimal: str
) -> None:
    """Models and templates have defaults."""
    experiment = load(minimal)
    assert list(experiment.file.models) == ["default"]
    assert list(experiment.templates) == ["native"]


@pytest.mark.parametrize("name", shipped_suites())
def test_every_shipped_suite_loads(load: Load, name: str) -> None:
    """Suites that ship are right."""
    assert load(f"name: x\n{BACKEND}tests: [{{suite: {name}}}]").tests


ONE_MISTAKE = [
    # syntax of the values
    (
        "trials: ten",
        "exp.yaml:4:9: trials: expected a number or a mapping, found the text «ten»",
    ),
    ("trials: '10'", "number or a mapping, found the text «10»\n  write it without quotes: 10"),
    ("trials: {max: 9}", "«until» is missing in trials\n  allowed: min, max, until"),
    ("trials: {max: 9, until: {half_width: 0.5}}", "4:38: trials.until.half_width must be less"),
    ("trials: {max: 9, until: {width: 0.1, half_width: 0.1}}", "unknown key «width»"),
    (
        "trials: {max: 9, until: {}}",
        "4:25: trials.until does not say when there are enough\n  write {half_width: 0.1}, or",
    ),
    (
        "trials: {max: 9, until: {half_width: 0.1, gate: {baseline: {build: previous}}}}",
        "4:25: trials.until has both half_width and gate\n  half_width stops each cell alone",
    ),
    (
        "trials: {max: 9, until: {gate: {baseline: model=default}}}",
        "4:43: trials.until.gate.baseline: expected a mapping, found the text «model=default»",
    ),
    (
        "trials: {max: 9, until: {gate: {baseline: {modell: default}}}}",
        "unknown axis «modell» in trials.until.gate.baseline\n  perhaps you meant «model»",
    ),
    (
        "trials: {max: 9, until: {gate: {baseline: {model: defalt}}}}",
        "4:51: model has no value «defalt» to compare with in trials.until.gate.baseline",
    ),
    (
        "trials: {max: 9, until: {gate: {baseline: {model: default}}}}",
        "4:51: default is the only value of model: trials.until.gate.baseline leaves nothing to",
    ),
    (
        "trials: {max: 9, until: {gate: {baseline: {build: previous}, max_drop: 2}}}",
        "trials.until.gate.max_drop must be at most 1.0, found the number 2",
    ),
    (
        "trials: {min: 10, max: 9, until: {half_width: 0.1}}",
        "4:15: trials.min must be at most trials.max, found 10 and 9",
    ),
    (
        "trials: {max: 9, until: {half_width: 0.1}}\nseed: 4294967290",
        "5:7: the last trial would ask for seed 4294967298",
    ),
    ("trials: 0", "exp.yaml:4:9: trials must be at least 1, found the number 0"),
    ("trials: 1.5", "expected a whole number, found the number 1.5"),
    ("faithful: yes", "true or false, found the text «yes»\n  in YAML 1.2 only true and false"),
    ("description: 3", 'expected a text, found the number 3\n  put it in quotes: "3"'),
    ("description:", "exp.yaml:4:13: description: expected a text, found nothing (null)"),
    (
        "trails: 10",
        "exp.yaml:4:1: unknown key «trails» at the top level\n  perhaps you meant «trials»",
    ),
    (
        "limits: {cell: 3}",
        "exp.yaml:4:10: unknown key «cell» in limits\n  perhaps you meant «cells»",
    ),
    ("limits: 3", "exp.yaml:4:9: limits: expected a mapping, found the number 3"),
    ("models: {}", "exp.yaml:4:1: models must not be empty"),
    ("models: {m: }", "expected a mapping, found nothing (null)\n  write {} for an empty one"),
    ("models: {'': {}}", "exp.yaml:4:10: a name in models is empty"),
    ("exclude: {}", "exp.yaml:4:1: exclude: expected a list, found a mapping"),
    ("charts: {c: {metric: sucess_ratio}}", "perhaps you meant «success_ratio»"),
    (
        "charts: {c: {x: test, row: [model, test]}}",
        "4:36: charts.c names the axis «test» twice: x and row\n  name every axis once",
    ),
    ("charts: {c: {x: [build, build]}}", "charts.c names the axis «build» twice: x and x"),
    ("charts: {c: {x: 3}}", "charts.c.x: expected a text or a list, found the number 3"),
    ("charts: {c: {metric: difference}}", "4:22: charts.c shows a difference, but has no base"),
    (
        "charts: {c: {baseline: {backend: a}}}",
        "charts.c.baseline has no meaning here\n  add",
    ),
    (
        "charts: {c: {metric: difference, baseline: {backnd: a}}}",
        "4:45: unknown axis «backnd» in charts.c.baseline\n  perhaps you meant «backend»",
    ),
    (
        "charts: {c: {metric: difference, baseline: {backend: b}}}",
        "4:54: backend has no value «b» to compare with in charts.c.baseline\n  known: a",
    ),
    ("charts: {c: {metric: difference, baseline: {}}}", "charts.c.baseline must not be empty"),
    ("charts: {c: {metric: pass_at_k, k: 0}}", "charts.c.k must be at least 1"),
    # axes
    ("sampling: {temprature: 1}", "exp.yaml:4:12: unknown key «temprature» in sampling\n  perhaps"),
    ("sampling: {temperature: []}", "exp.yaml:4:12: the axis «temperature» is empty"),
    ("sampling: []", "exp.yaml:4:11: an empty list of grids means nothing"),
    ("sampling: {temperature: [hot]}", "4:26: temperature: expected a number or null"),
    ("sampling: {temperature: true}", "expected a number or null, found true"),
    ("sampling: {top_k: 1.5}", "top_k: expected a whole number or null, found the number 1.5"),
    ("sampling: {samplers: [top_k]}", "samplers: expected a list, found the text «top_k»"),
    ("request: {seed: 1}", "exp.yaml:4:11: the request field «seed» is not given here"),
    ("request: {temperature: 1}", "the sampling field «temperature» stands in request"),
    ("request: {max_tokens: [0]}", "max_tokens: expected a whole number of at least 1"),
    ("request: [{stop: []}]", "the axis «stop» is empty"),
    ("seed: 4294967290", "4:7: the last trial would ask for seed 4294967299"),
    ("seed: -1", "seed must be at least 0, found the number -1"),
    # models and templates
    ("models: {m: {gguf: a, hf: b}}", "4:10: the model «m» has several sources: gguf, hf"),
    ("models: {m: {hf: 'x:{q}'}}", "4:18: the placeholder «{q}» stands for no axis"),
    ("models: {m: {axes: {q: [1]}}}", "4:21: no source of this model says «{q}»"),
    ("models: {m: {hf: '{q}', axes: {q: []}}}", "the axis «q» is empty"),
    ("models: {m: {hf: '{q}', axes: {q: [[1]]}}}", "expected a text or a number, found a list"),
    ("models: {m: {backends: [b]}}", "no backend is called «b» in models.m\n  known: a"),
    ("models: {m: {chat_templates: [nativ]}}", "«nativ» in models.m\n  perhaps you meant «native»"),
    ("models: {m: {gguf: ''}}", "the path is empty"),
    ("models: {m: {gguf: '${NOPE}'}}", "4:20: the environment variable «NOPE» is not set"),
    ("models: {m: {gguf: '${HOM'}}", "«${HOM» is no variable"),
    ("models: {m: {gguf: '~bob/x'}}", "«~bob» does not expand"),
    ("models: {m: {gguf: '~/x'}}", "the environment variable «HOME» is not set"),
    ("chat_templates: {t: {name: a, file: exp.yaml}}", "«t» has both a name and a file"),
    ("chat_templates: {t: {file: ex.yaml}}", "there is no such file\n  perhaps you meant"),
    ("chat_templates: {t: {file: '.'}}", "cannot be read: it is a folder"),
    # names
    ("exclude: [{backend: b}]", "4:21: backend has no value «b» to exclude\n  known: a"),
    ("exclude: [{test: 'x*'}]", "test has no value «x*» to exclude\n  known: t"),
    ("exclude: [{temperature: 1}]", "4:12: unknown axis «temperature» in exclude[0]"),
    ("exclude: [{modl: x}]", "unknown axis «modl» in exclude[0]\n  perhaps you meant «model»"),
    ("exclude: [{}]", "4:11: exclude[0] names no axis"),
    ("exclude: [{model: []}]", "exclude[0].model is an empty list, which fits no cell"),
    ("include: [{request.x: 1}]", "unknown axis «request.x» in include[0]"),
    ("include: [{temperature: hot}]", "temperature: expected a number or null"),
    ("charts: {c: {y: temp}}", "4:17: unknown axis «temp» in charts.c.y"),
]


@pytest.mark.parametrize(("text", "said"), ONE_MISTAKE)
def test_one_mistake_is_one_problem_with_its_place(
    problems: Callable[[str], list[str]], text: str, said: str
) -> None:
    """Each mistake is told once: where, what was found, what is allowed or probably meant."""
    (told,) = problems(f"name: x\n{BACKEND}{TESTS}{text}\n")
    assert said in told
    assert "pydantic" not in told
    assert "http" not in told


BACKEND_MISTAKES = [
    (
        "{kind: llama-sever}",
        "unknown kind in backends.b: the text «llama-sever»\n  perhaps you meant",
    ),
    ("{binary: x}", "2:12: «kind» is missing in backends.b\n  one of: llama-server,"),
    ("{kind: endpoint}", "2:12: «url» is missing in backends.b"),
    ("{kind: endpoint, ulr: x}", "unknown key «ulr» in backends.b\n  perhaps you meant «url»"),
    (
        "{kind: llama-server, env: {A: 0}}",
        'expected a text, found the number 0\n  put it in quotes: "0"',
    ),
    ("{kind: llama-server, binary: 3}", "backends.b.binary: expected a text or a mapping"),
    ("{kind: llama-server, options: [3]}", "backends.b.options[0]: expected a mapping"),
    ("{kind: llama-server, options: {ctx-size: 1}}", "«ctx-size» is not given here\n  say it with"),
    ("{kind: llama-server, options: {chat-template: x}}", "say it under `chat_templates:`"),
    ("{kind: llama-server, options: {--foo: 1}}", "without its dashes, found «--foo»\n  write foo"),
    ("{kind: llama-server, options: {foo: []}}", "the axis «foo» is empty"),
    ("{kind: scripted, replies: 3}", "expected a list or a mapping, found the number 3"),
]


@pytest.mark.parametrize(("backend", "said"), BACKEND_MISTAKES)
def test_one_mistake_in_a_backend_is_one_problem(
    problems: Callable[[str], list[str]], backend: str, said: str
) -> None:
    """Unions of kinds and shapes do not multiply a mistake."""
    (told,) = problems(f"name: x\nbackends: {{b: {backend}}}\n{TESTS}")
    assert said in told


HEAD = "name: t, messages: [{role: user, content: x}]"
CALL = "{name: a, arguments: {b: {matches: '['}}}"
TOOL = "tools: [{type: function, function: {name: weather}}]"
TEST_MISTAKES = [
    ("3", "3:9: tests[0]: expected a mapping, found the number 3"),
    ("{sute: x}", "unknown key «sute» in tests[0]\n  perhaps you meant «suite»"),
    ("{suite: tool-caling}", "no suite called «tool-caling» ships with"),
    ("{suite: nope.yaml}", "3:17: the suite nope.yaml cannot be read: there is no such file"),
    ("{suite: tool-calling, only: [wether]}", "no test of the suite is called «wether»\n  perhaps"),
    ("{name: '', messages: [{role: user}], expect: []}", "the test's name is empty"),
    ("{name: t, messages: [], expect: []}", "tests[0].messages must not be empty"),
    ("{name: t, messages: [{content: x}], expect: []}", "a message without a «role»"),
    (
        f"{{{HEAD}, expect: [], tools: [{{function: {{nam: x}}}}]}}",
        "a tool whose function has no name",
    ),
    (f"{{{HEAD}, expect: [], tools: [{{type: function}}]}}", "a tool without a «function»"),
    (f"{{{HEAD}, expect: [], request: {{max_tokens: null}}}}", "max_tokens: expected a whole"),
    (f"{{{HEAD}, expect: [], request: {{stream: [true]}}}}", "stream: expected true or false"),
    (f"{{{HEAD}, expect: [], request: {{stream: yes}}}}", "expected true or false, found the"),
    (f"{{{HEAD}, expect: [], request: {{stream_options: {{}}}}}}", "is not given here"),
    (f"{{{HEAD}, expect: [], request: {{temperature: hot}}}}", "expected a number or null"),
    (
        f"{{{HEAD}, expect: [contents: x]}}",
        "unknown check «contents» in tests[0].expect[0]\n  perhaps",
    ),
    (f"{{{HEAD}, expect: [3]}}", "tests[0].expect[0]: expected a check, found the number 3"),
    (f"{{{HEAD}, expect: [{{}}]}}", "tests[0].expect[0]: expected a check, found a mapping"),
    (
        f"{{{HEAD}, expect: [{{json: true, content: x}}]}}",
        "two checks in one entry: tests[0].expect[0]",
    ),
    (f"{{{HEAD}, expect: [json: false]}}", "tests[0].expect[0].json: expected true, found false"),
    (f"{{{HEAD}, expect: [content: {{contain: x}}]}}", "perhaps you meant «contains»"),
    (f"{{{HEAD}, expect: [content: {{matches: '('}}]}}", "«(» is no regular expression"),
    (
        f"{{{HEAD}, expect: [content: {{matches: '(?a)(?u)x'}}]}}",
        "«(?a)(?u)x» is no regular expression",
    ),
    (
        f"{{{HEAD}, expect: [content: {{contains: null}}]}}",
        "a matcher without a condition would accept anything",
    ),
    (f"{{{HEAD}, expect: [content: {{}}]}}", "a matcher without a condition would accept anything"),
    (
        f"{{{HEAD}, expect: [json: {{schema: {{items: {{$ref: '#/$defs/x'}}}}}}]}}",
        "«#/$defs/x» leads nowhere in this schema",
    ),
    (f"{{{HEAD}, expect: [json: {{schema: {{type: strin}}}}]}}", "not a JSON Schema: 'strin'"),
    (
        f"{{{HEAD}, {TOOL}, expect: [tool_calls: [{{name: wether}}]]}}",
        "perhaps you meant «weather»",
    ),
    (
        f"{{{HEAD}, expect: [tool_calls: [{{name: a, arguments: {{b: {{type: strng}}}}}}]]}}",
        "tests[0].expect[0].tool_calls[0].arguments.b.type: the text «strng» is not allowed",
    ),
    (
        f"{{{HEAD}, expect: [tool_calls: {{calls: [{CALL}]}}]}}",
        "«[» is no regular expression",
    ),
    (f"{{{HEAD}, expect: [reasoning: {{}}]}}", "a matcher without a condition"),
    (f"{{{HEAD}, expect: [finish_reason: 3]}}", "expected a text or a list or a mapping"),
    (f"{{{HEAD}, expect: [content: {{number: {{}}}}]}}", "give it one of: value, min, max"),
    (
        f"{{{HEAD}, expect: [content: {{number: many}}]}}",
        "content.number: expected a number, found the text «many»",
    ),
    (f"{{{HEAD}, expect: [content: {{number: {{tolerance: 1}}}}]}}", "tolerance without a value"),
    (f"{{{HEAD}, expect: [content: {{number: {{value: 1, max: 2}}}}]}}", "a value and bounds"),
    (
        f"{{{HEAD}, expect: [content: {{number: {{in_text: any, value: 1}}}}]}}",
        "whole, only, first",
    ),
    (f"{{{HEAD}, expect: [content: {{length: {{min: 3, max: 2}}}}]}}", "min 3 is more than max 2"),
    (f"{{{HEAD}, expect: [content: {{length: 1.5}}]}}", "expected a whole number"),
    (f"{{{HEAD}, expect: [content: {{length: long}}]}}", "expected a number or a mapping"),
    (f"{{{HEAD}, expect: [latency_s: {{}}]}}", "no bound is given"),
    (f"{{{HEAD}, expect: [latency_s: {{max: -1}}]}}", "max -1 is less than 0: nothing could be so"),
    (f"{{{HEAD}, expect: [content: {{length: {{max: -1}}}}]}}", "max -1 is less than 0"),
    (f"{{{HEAD}, expect: [content: {{one_of: []}}]}}", "content.one_of must not be empty"),
    (f"{{{HEAD}, expect: [content: {{contains: []}}]}}", "content.contains must not be empty"),
    (f"{{{HEAD}, expect: [finish_reason: []]}}", "finish_reason must not be empty"),
    (f"{{{HEAD}, expect: [any: []]}}", "tests[0].expect[0].any must not be empty"),
    (f"{{{HEAD}, expect: [all: {{json: true}}]}}", "expect[0].all: expected a list, found a map"),
    (
        f"{{{HEAD}, expect: [any: [{{not: {{contnt: x}}}}]]}}",
        "unknown check «contnt» in tests[0].expect[0].any[0].not\n  perhaps you meant «content»",
    ),
    (
        f"{{{HEAD}, expect: [any: [{{not: {{content: {{}}}}}}]]}}",
        "a matcher without a condition",
    ),
    (f"{{{HEAD}, expect: [all: [json: true, content: 3]]}}", "all[1].content: expected a text or"),
    (
        f"{{{HEAD}, expect: [not: {{json: true, content: x}}]}}",
        "two checks in one entry: tests[0].expect[0].not",
    ),
    (f"{{{HEAD}, expect: [{{content: x, trun: 1}}]}}", "perhaps you meant «turn»"),
    (f"{{{HEAD}, expect: [{{turn: 1}}]}}", "«turn» without a check in tests[0].expect[0]"),
    (f"{{{HEAD}, expect: [{{turn: 1, contnt: x}}]}}", "unknown check «contnt»"),
    (f"{{{HEAD}, expect: [{{content: x, turn: 0}}]}}", "must be at least 1, found the number 0"),
    (
        f"{{{HEAD}, expect: [{{content: x, turn: all}}]}}",
        "«all» is not allowed\n  allowed: any, every",
    ),
    (
        f"{{{HEAD}, expect: [{{content: x, turn: 2}}]}}",
        "turn 2: the test has one reply\n  a test with turns or returns is a conversation",
    ),
    (
        f"{{{HEAD}, turns: [y], max_turns: 2, expect: [{{any: [{{content: x, turn: 3}}]}}]}}",
        "turn 3: the test has at most 2 replies",
    ),
    (f"{{{HEAD}, expect: [python: politeness]}}", "«politeness» names no function"),
    (f"{{{HEAD}, expect: [python: 'a.py:b']}}", "a module is named without its .py"),
    (f"{{{HEAD}, expect: [same_as: {{}}]}}", "same_as must not be empty"),
    (f"{{{HEAD}, expect: [same_as: {{backnd: a}}]}}", "unknown axis «backnd»"),
    (
        f"{{{HEAD}, expect: [any: [same_as: {{backend: b}}]]}}",
        "3:82: backend has no value «b» to compare with\n  known: a",
    ),
    (
        f"{{{HEAD}, expect: [same_as: {{backend: a}}]}}",
        "expect[0].same_as: every cell would be compared with itself",
    ),
    (f"{{{HEAD}, expect: [{{python: 'a:b', threshold: 2}}]}}", "must be at most 1"),
    (f"{{{HEAD}, expect: [{{python: 'a:b', arguments: [1]}}]}}", "expected a mapping"),
    (f"{{{HEAD}, expect: [latency_s: 2.5]}}", "expected a mapping, found the number 2.5"),
    (f"{{{HEAD}, expect: [completion_tokens: {{mx: 3}}]}}", "perhaps you meant «max»"),
    (
        f"{{{HEAD}, expect: [tool_calls: {{calls: [{{name: a}}], at_most: 0}}]}}",
        "1 call is expected, but at_most is 0: no reply could pass",
    ),
    (f"{{{HEAD}, expect: [tool_calls: {{count: 1, at_least: 1}}]}}", "count says exactly"),
    (
        f"{{{HEAD}, expect: [tool_calls: {{at_least: 3, at_most: 1}}]}}",
        "at_least 3 is more than at_most 1",
    ),
    (f"{{{HEAD}, expect: [json: {{paths: {{a..b: 1}}}}]}}", "«a..b»: no path from '..b' on"),
    (
        f"{{{HEAD}, expect: [json: {{paths: {{a: {{matches: '('}}}}}}]}}",
        "«(» is no regular expression",
    ),
    (f"{{{HEAD}, expect: [], parameters: {{a: []}}}}", "the axis «a» is empty"),
    (
        f"{{{HEAD}, expect: [], parameters: {{a b: 1}}}}",
        "the parameter «a b» cannot stand in {{ … }}",
    ),
    (
        f"{{{HEAD}, expect: [], parameters: {{a: [1, 2]}}}}",
        "duplicate test name t\n  write {{ PARAM",
    ),
    (f"{{{HEAD}, expect: []}}, {TEST}", "duplicate test name t\n  see exp.yaml:3:16"),
    (
        "{name: '{{ b }}', messages: [{role: user}], expect: [], parameters: {a: 1}}",
        "'b' is undefined",
    ),
    ("{name: '{{ a', messages: [{role: user}], expect: [], parameters: {a: 1}}", "not a template"),
]


@pytest.mark.parametrize(("tests", "said"), TEST_MISTAKES)
def test_one_mistake_in_a_test_is_one_problem(
    problems: Callable[[str], list[str]], tests: str, said: str
) -> None:
    """Tests are checked as far as can be done without a reply."""
    (told,) = problems(f"name: x\n{BACKEND}tests: [{tests}]\n")
    assert said in told


def test_a_suite_is_told_from_an_experiment(problems: Callable[[str], list[str]]) -> None:
    """Whoever validates a suite's file is shown the command that reads it."""
    (told,) = problems(f"name: x\n{TESTS}")
    assert told.startswith("exp.yaml:1:1: «backends» is missing at the top level\n")
    assert told.endswith("look at it with: matrixbench suites FILE")
    (told,) = problems(f"name: x\ntrials: 3\n{TESTS}")
    assert "allowed: name," in told


def test_an_experiment_taken_for_a_suite_is_one_problem(
    problems: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """What else a suite may not have is not told one by one."""
    (tmp_path / "other.yaml").write_text(f"name: y\n{BACKEND}{TESTS}trials: 3\n", encoding="utf-8")
    (told,) = problems(f"name: x\n{BACKEND}tests: [{{suite: other.yaml}}]\n")
    assert told.startswith("other.yaml:2:1: this is an experiment, not a suite")


NAMED = "name: {name}\n{key}\ntests: [{{name: {test}, messages: [{{role: user}}], expect: []}}]\n"
FINE = {"name": "x", "key": "backends: {a: {kind: scripted, replies: [b]}}", "test": "t"}


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"name": '"x\\e[31m"'}, "1:7"),
        ({"key": 'backends: {"a\\e]0;t\\a": {kind: scripted, replies: [b]}}'}, "2:12"),
        ({"key": FINE["key"] + '\nrequest: {"top\\x9b": 1}'}, "3:11"),
        ({"key": FINE["key"] + '\ncharts: {"a\\u202E": {}}'}, "3:10"),
        ({"test": '"a\\nb"'}, "3:16"),
    ],
)
def test_names_that_a_terminal_would_obey_are_refused(
    problems: Callable[[str], list[str]], changed: dict[str, str], place: str
) -> None:
    """Control characters and turned directions are told of with their place, and not printed."""
    told = problems(NAMED.format_map(FINE | changed))
    assert told[0].startswith(f"exp.yaml:{place}: the name «")
    assert "» holds a control character" in told[0]
    assert all(sign.isprintable() or sign == "\n" for sign in "".join(told))


def test_a_name_filled_in_with_a_control_character_is_refused(
    problems: Callable[[str], list[str]],
) -> None:
    """What a parameter brings into it counts as well."""
    name = "name: 'of {{ a }}', parameters: {a: [b, \"c\\ed\"]}"
    test = f"{{{name}, messages: [{{role: user}}], expect: []}}"
    (told,) = problems(f"name: x\n{FINE['key']}\ntests: [{test}]\n")
    assert told.startswith("exp.yaml:3:16: the name «of c d» holds a control character")


def test_every_problem_is_told_at_once_in_the_files_order(
    problems: Callable[[str], list[str]],
) -> None:
    """Types, names, paths, duplicates and suites are told in one go."""
    text = (
        "name: 3\ntrials: 1\ntrials: 2\nbackends: {a: {kind: llama-server, binary: '${NOPE}'}}\n"
        "chat_templates: {t: {file: nope}}\ntests:\n- suite: nope.yaml\n- {name: t}\n"
        "exclude: [{backend: b}]\n"
    )
    places = [told.split(": ")[0] for told in problems(text)]
    assert places == [f"exp.yaml:{place}" for place in
                      ("1:7", "3:1", "4:44", "5:28", "7:10", "8:3", "8:3", "9:21")]  # fmt: skip


def test_a_broken_test_does_not_make_names_wrong(problems: Callable[[str], list[str]]) -> None:
    """Where tests could not be read, names of tests are not judged."""
    told = problems(f"name: x\n{BACKEND}tests: [{{name: t}}]\nexclude: [{{test: other}}]")
    assert [line.partition(" is missing")[0] for line in told] == [
        "exp.yaml:3:9: «messages»",
        "exp.yaml:3:9: «expect»",
    ]


def test_problems_of_a_suite_are_told_with_their_own_places(
    problems: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """What is wrong in a suite's file is told there, after the experiment's own problems."""
    (tmp_path / "s.yaml").write_text("name: s\ntests: [{name: t}]\ntets: []\n", encoding="utf-8")
    (tmp_path / "l.yaml").write_text("- 1\n", encoding="utf-8")
    (tmp_path / "e.yaml").write_text("a: [\n", encoding="utf-8")
    suites = "{suite: s.yaml}, {suite: l.yaml}, {suite: e.yaml}"
    told = problems(f"name: x\n{BACKEND}tests: [{suites}]\ntrials: x\n")
    assert [line.split(": ")[0] for line in told] == [
        "exp.yaml:4:9", "l.yaml:1:1", "s.yaml:2:9", "s.yaml:2:9", "s.yaml:3:1", "e.yaml:2:1",
    ]  # fmt: skip


def test_null_and_true_are_told_apart_from_numbers_in_exclude(
    problems: Callable[[str], list[str]],
) -> None:
    """1 means 1.0 but not true, null means that a cell lacks the axis, and texts may be globs."""
    base = f"name: x\n{BACKEND}{TESTS}request: {{a: [1, true], b: [x-1]}}\nexclude: "
    assert not problems(f"{base}[{{request.a: [1.0, true, null], request.b: x-*}}]")
    assert problems(f"{base}[{{request.b: y-*}}]")
    assert problems(f"{base}[{{request.b: true}}]")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is a mapping with name, backends and tests: it is empty"),
        (b"# nothing\n", "it is empty"),
        (b"- a\n- b\n", "exp.yaml:1:1: an experiment is a mapping with name, backends and tests"),
        (b"word", "found the text «word»"),
        (b"\0\1\2", "is not a text file"),
        (b"a" * 50_000_000, "is larger than 10 MB"),
        (b"[" * 1_000_000, "nested more than 100 levels deep"),
    ],
    ids=["empty", "comment", "list", "word", "binary", "50MB", "deep"],
)
def test_a_file_that_is_no_experiment_is_one_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    """Whatever the file is, it is refused in one line, as a mistake of usage."""
    path = tmp_path / "exp.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_experiment(path, environ={})
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1
    assert caught.value.exit_code is ExitCode.USAGE


PIECES = st.sampled_from(
    [
        "", "null", "3", "-1", "x", "[]", "{}", "[[]]", "{a: 1}", "*user", "&a [1]", "!x y",
        "'{{ a'", "{value: []}", "${X}", "~", "<<", ".nan", "\n", "  ", "- ", ": ", "\t", '"',
        "\0", "é", "[key]", "1e400", "'\\0'", "- - - -", "? ", "|\n", "*", "&",
    ]
)  # fmt: skip


@given(st.data())
@settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutilated_file_never_does_more_than_raise_a_spec_error(
    full: str, load: Load, data: st.DataObject
) -> None:
    """Whatever is cut out of a valid file and put in, it loads, or says what is wrong."""
    text = full
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 40)))
        text = text[:start] + data.draw(PIECES) + text[end:]
    with suppress(SpecError):
        load(text, **ENVIRON)


@given(st.data())
@settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_of_any_other_type_never_does_more_than_raise_a_spec_error(
    full: str, load: Load, data: st.DataObject
) -> None:
    """Any value of a valid file may be replaced by any other: that is told, not tripped over."""
    lines = full.splitlines()
    index = data.draw(st.sampled_from([n for n, line in enumerate(lines) if ": " in line]))
    key, _, _ = lines[index].partition(": ")
    lines[index] = f"{key}: {data.draw(PIECES)}"
    with suppress(SpecError):
        load("\n".join(lines), **ENVIRON)


def test_a_plain_file_loads_without_heavy_libraries(tmp_path: Path, minimal: str) -> None:
    """Jinja2 is for parameters and jsonschema for schemas: others do not wait for them."""
    path = tmp_path / "exp.yaml"
    path.write_text(minimal, encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from matrixbench.spec.load import load_experiment; "
        f"load_experiment(Path({str(path)!r}), environ={{}}); "
        "print({'jinja2', 'jsonschema', 'pandas', 'aiohttp'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.strip() == "set()"
