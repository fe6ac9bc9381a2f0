"""The committed JSON Schemas: they are the models', and they accept what the loader accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from matrixbench.spec.experiment import SAMPLING_FIELDS
from matrixbench.spec.load import load_experiment
from matrixbench.spec.schema import (
    SAMPLING,
    experiment_schema,
    schema_text,
    suite_schema,
    write_schemas,
)
from matrixbench.spec.suites import read_shipped, shipped_suites
from matrixbench.spec.yaml_source import parse_document, read_document

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
AGAIN = "write them anew: python -m matrixbench.spec.schema schemas"


def errors(schema: dict[str, Any], data: object) -> list[str]:
    """Return what a schema says against some data."""
    return [error.message for error in Draft202012Validator(schema).iter_errors(data)]


@pytest.mark.parametrize(
    ("name", "schema"), [("experiment", experiment_schema()), ("suite", suite_schema())]
)
def test_the_committed_schema_is_the_models(name: str, schema: dict[str, Any]) -> None:
    """Whoever changes a model writes the schemas anew."""
    Draft202012Validator.check_schema(schema)
    committed = (ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(schema), AGAIN


def test_schemas_are_written_into_a_folder(tmp_path: Path) -> None:
    """Both files are written, as they are committed."""
    write_schemas(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in (ROOT / "schemas").iterdir()
    }


def test_experiments_of_this_repository_pass_both() -> None:
    """Every experiment that ships loads, and its editor sees no mistake in it."""
    for path in EXPERIMENTS:
        load_experiment(path, environ={"HOME": "/home/me"})
        assert not errors(experiment_schema(), read_document(path).root.plain()), path.name


@pytest.mark.parametrize("name", shipped_suites())
def test_shipped_suites_pass_their_schema(name: str) -> None:
    """Editors see no mistake in a suite that ships."""
    assert not errors(suite_schema(), read_shipped(name).root.plain())


def test_every_property_has_a_description_and_nothing_else_is_allowed() -> None:
    """Editors can complete and explain every key, and mark every other one."""
    bare: list[str] = []

    def walk(schema: object, way: str) -> None:
        if isinstance(schema, list):
            for item in schema:
                walk(item, way)
        if not isinstance(schema, dict):
            return
        properties = schema.get("properties")
        if isinstance(properties, dict):
            if "additionalProperties" not in schema and not way.endswith("/Cells"):
                bare.append(f"{way} is open")
            bare.extend(
                f"{way}.{key}" for key, value in properties.items() if not value.get("description")
            )
        for key, value in schema.items():
            walk(value, f"{way}/{key}")

    walk(experiment_schema(), "")
    assert not bare


def test_every_sampling_field_is_explained() -> None:
    """The explanations are those of the fields, in their order."""
    assert tuple(SAMPLING) == SAMPLING_FIELDS


HEAD = "name: x\nbackends: {a: {kind: llama-server, options: [{a: [1]}, {b: {value: [2]}}]}}\n"
TESTS = (
    "tests: [{suite: tool-calling, only: [w*]}, {name: t, messages: [{role: user}], expect: []}]\n"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x-any: [thing]",
        "sampling: {temperature: [null, 0, 0.5], top_k: 40, samplers: {value: [top_k]}}",
        "sampling: {samplers: [[top_k], null], temperature: null}\nmodels: {m: {id: x}}",
        "sampling: {samplers: null}",
        "sampling: [{temperature: 1}, {top_p: {value: 1}}]",
        "request: [{tool_choice: [auto]}, {}]",
        "request: {stream: [false, true]}",
        "request: {stream: null}",
        "chat_templates: {native: {}, chatml: {name: chatml}}",
        "exclude: [{backend: a, chat_template: [native], options.a: 1}]",
        "include: [{temperature: 5, test: weather}]",
        "charts: {c: {x: test, y: [model, backend], metric: latency_p50_s}}",
        "charts: {c: {metric: difference, baseline: {backend: a}}, d: {metric: pass_at_k, k: 3}}",
        "timeouts: {request_s: 3}\nlimits: {cells: 3}\nfaithful: true",
    ],
)
def test_what_the_loader_accepts_the_schema_accepts(tmp_path: Path, text: str) -> None:
    """An editor marks nothing that loads."""
    whole = HEAD + TESTS + text
    path = tmp_path / "exp.yaml"
    path.write_text(whole, encoding="utf-8")
    load_experiment(path, environ={})
    data = json.loads(json.dumps(parse_document(whole, name="f").root.plain()))
    assert not errors(experiment_schema(), data)


@pytest.mark.parametrize(
    "text",
    [
        "trails: 3",
        "trials: ten",
        "sampling: {temprature: 1}",
        "sampling: {temperature: [hot]}",
        "sampling: {temperature: []}",
        "request: {seed: 1}",
        "request: {temperature: 1}",
        "request: {stream: [on, off]}",
        "request: {stream_options: {include_usage: true}}",
        "charts: {c: {metric: x}}",
        "exclude: [{}]",
        "models: {m: {ggufs: x}}",
    ],
)
def test_an_editor_marks_what_the_loader_refuses(text: str) -> None:
    """Most mistakes are seen while they are typed."""
    data = parse_document(HEAD + TESTS + text, name="f").root.plain()
    assert errors(experiment_schema(), data)
