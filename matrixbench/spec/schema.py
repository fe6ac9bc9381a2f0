"""The JSON Schemas of the files, made from the models, for editors to complete from.

`python -m matrixbench.spec.schema FOLDER` writes them; a test compares the committed ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixbench.spec.axes import axes_that, axis_of
from matrixbench.spec.experiment import SAMPLING_FIELDS, ExperimentFile
from matrixbench.spec.rules import RESERVED_FIELDS, STREAM, WHOLE_NUMBERS
from matrixbench.spec.tests import Suite

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.records import JsonObject
    from matrixbench.spec.base import Part

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SAMPLING: Mapping[str, str] = {
    "temperature": "How flat the distribution is made; 0 always takes the likeliest token.",
    "top_p": "Keep the likeliest tokens that together reach this probability; 1 keeps all.",
    "top_k": "Keep this many of the likeliest tokens; 0 keeps all.",
    "min_p": "Keep tokens with at least this share of the best one's probability; 0 keeps all.",
    "typical_p": "Locally typical sampling: the probability to keep; 1 turns it off.",
    "top_n_sigma": "Keep tokens within this many standard deviations of the best; -1 turns it off.",
    "xtc_probability": "The chance that XTC removes the likeliest tokens; 0 turns it off.",
    "xtc_threshold": "XTC removes tokens above this probability, but for the last of them.",
    "repeat_penalty": "Divides the odds of tokens that occurred lately; 1 turns it off.",
    "repeat_last_n": "How many tokens back the penalties look; 0 none, -1 the whole context.",
    "presence_penalty": "Taken off the odds of a token that occurred at all; 0 turns it off.",
    "frequency_penalty": "Taken off the odds of a token each time it occurred; 0 turns it off.",
    "dry_multiplier": "How strongly DRY punishes repeated sequences; 0 turns it off.",
    "dry_base": "The base by which DRY's punishment grows with the sequence's length.",
    "dry_allowed_length": "The longest repeated sequence that DRY lets pass.",
    "dry_penalty_last_n": "How many tokens back DRY looks; 0 none, -1 the whole context.",
    "dynatemp_range": "Lets the temperature vary by this much with the entropy; 0 turns it off.",
    "dynatemp_exponent": "How the entropy is mapped onto the dynamic temperature.",
    "mirostat": "Mirostat's version: 1 or 2; 0 turns it off.",
    "mirostat_tau": "The entropy that Mirostat aims at.",
    "mirostat_eta": "How fast Mirostat learns.",
    "samplers": "The samplers and their order, as a list; write {value: [top_k, temperature]}.",
}
"""Sampling field → what it does, in llama.cpp's terms."""

_STREAM = "Whether the reply is sent piece by piece, as agents ask for it. Default: false."
_ON_OFF: JsonObject = {"type": ["boolean", "null"]}
_SKIPPED = "Ignored: a place for anchors."


def experiment_schema() -> JsonObject:
    """Return the JSON Schema (draft 2020-12) of an experiment file.

    It accepts whatever the loader accepts; what only the loader can see, such as names that must
    exist, it lets pass.
    """
    schema = _schema(ExperimentFile, "A matrixbench experiment")
    properties, parts = schema["properties"], schema["$defs"]
    parts |= {"SamplingGrid": _sampling_grid(), "RequestGrid": _request_grid(), "Cells": _entry()}
    _each_grid(properties["sampling"], "SamplingGrid")
    _each_grid(properties["request"], "RequestGrid")
    for key in ("exclude", "include"):
        properties[key]["items"] = {"$ref": "#/$defs/Cells"}
    return schema


def suite_schema() -> JsonObject:
    """Return the JSON Schema (draft 2020-12) of a file with a suite of tests."""
    return _schema(Suite, "A matrixbench test suite")


def schema_text(schema: JsonObject) -> str:
    """Return a schema as it is committed."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> None:
    """Write every schema into a folder.

    Raises:
        OSError: A file cannot be written.
    """
    for name, schema in (("experiment", experiment_schema()), ("suite", suite_schema())):
        (folder / f"{name}.schema.json").write_text(schema_text(schema), encoding="utf-8")


def _schema(model: type[Part], title: str) -> JsonObject:
    made: JsonObject = _tidy(model.model_json_schema(by_alias=True))
    for part in {"Test", "SuiteReference"} & made["$defs"].keys():
        request = made["$defs"][part]["properties"]["request"]
        request["propertyNames"] = _none_of(RESERVED_FIELDS)
        request["properties"] = {STREAM: {"description": _STREAM, **_ON_OFF}}
    return {
        "$schema": DIALECT,
        "title": title,
        **made,
        "patternProperties": {"^x-": {"description": _SKIPPED}},
    }


def _tidy(value: Any, *, names: bool = False) -> Any:
    """Return a schema without made-up titles, with descriptions on one line.

    Args:
        value: A schema, or what stands in one.
        names: Whether the mapping's keys are names in the file, not words of JSON Schema.
    """
    match value:
        case dict() if names:
            return {key: _tidy(item) for key, item in value.items()}
        case dict():
            # Unions are told apart by shape, so «any» says the same as «one», with better messages.
            return {
                ("anyOf" if key == "oneOf" else key): _word(key, item)
                for key, item in value.items()
                if key not in {"title", "discriminator"} and not _is_bulky(key, item)
            }
        case list():
            return [flat for item in value for flat in _flat(_tidy(item))]
        case _:
            return value


def _flat(member: Any) -> list[Any]:
    """Return the members of a union that stands in a union without more to say."""
    is_union = isinstance(member, dict) and member.keys() == {"anyOf"}
    return list(member["anyOf"]) if is_union else [member]


def _word(key: str, value: Any) -> Any:
    if key == "description":
        return " ".join(value.split())
    return _tidy(value, names=key in {"properties", "$defs"})


def _is_bulky(key: str, value: object) -> bool:
    return key == "default" and (value is None or (isinstance(value, dict) and bool(value)))


def _each_grid(field: JsonObject, name: str) -> None:
    """Say what a grid may hold, where a grid or a list of grids may stand."""
    field.pop("additionalProperties", None)
    grid = {"$ref": f"#/$defs/{name}"}
    field["anyOf"] = [grid, {"type": "array", "items": grid, "minItems": 1}]


def _none_of(names: Iterable[str]) -> JsonObject:
    return {"not": {"enum": list(names)}}


def _request_grid() -> JsonObject:
    return {
        "description": "Request field → a value, a list of values, or {value: X}.",
        "type": "object",
        "propertyNames": _none_of((*RESERVED_FIELDS, *SAMPLING_FIELDS)),
        "properties": {STREAM: {"description": _STREAM, **_axis(_ON_OFF)}},
        "additionalProperties": True,
    }


def _sampling_grid() -> JsonObject:
    return {
        "description": "Sampling field → a value, a list of values, or {value: X}.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"description": SAMPLING[name], **_axis(_sampling_value(name))}
            for name in SAMPLING_FIELDS
        },
    }


def _sampling_value(name: str) -> JsonObject:
    if name == "samplers":
        return {"type": ["array", "null"]}
    return {"type": ["integer" if name in WHOLE_NUMBERS else "number", "null"]}


def _axis(value: JsonObject) -> JsonObject:
    literal = {
        "type": "object",
        "required": ["value"],
        "properties": {"value": {"description": "One value, also where it is a list.", **value}},
        "additionalProperties": False,
    }
    several = {"type": "array", "items": value, "minItems": 1}
    single = [{"type": "null"}] if value["type"] == ["array", "null"] else [value]
    return {"anyOf": [*single, several, literal]}


def _entry() -> JsonObject:
    return {
        "description": "Axis → a value, a list (any of) or a glob; other axes are all meant.",
        "type": "object",
        "minProperties": 1,
        "properties": {
            **{
                name: {"description": f"{axis_of(name).description} A value, a list, or a glob."}
                for name in axes_that(lambda axis: axis.selects and bool(axis.description))
            },
            **{name: {"description": SAMPLING[name]} for name in SAMPLING_FIELDS},
        },
    }


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
