"""What a scalar means in YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

MAX_DIGITS = 300
"""Longer numbers are refused: the largest float has 309 digits."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A scalar's value, its text, and what is wrong with it (empty when nothing is)."""

    value: str | int | float | bool | None
    text: str
    wrong: str = ""
    hint: str = ""


def read_scalar(text: str, *, tag: str | None, plain: bool) -> Scalar:
    """Return what a scalar stands for.

    Args:
        text: Its text, quotes and escapes resolved.
        tag: Its tag, or None.
        plain: Whether it stands without quotes and without `!`.
    """
    if _SURROGATE.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\ufffd" in text:
            return Scalar(value=text, text=text, wrong="an escape that is half a character")
    if "\0" in text:
        return Scalar(value=text, text=text, wrong="a text may not hold a NUL character")
    match tag:
        case None if plain:
            return _core(text)
        case None | "!" | "tag:yaml.org,2002:str":
            return Scalar(value=text, text=text)
        case _ if tag.startswith(_CORE):
            return _tagged(text, tag.removeprefix(_CORE))
        case _:
            return _unknown(text, tag)


def _core(text: str) -> Scalar:
    if text in _NULL:
        return Scalar(value=None, text=text)
    if text in _BOOLEAN:
        return Scalar(value=_BOOLEAN[text], text=text)
    if _NOT_FINITE.fullmatch(text):
        return Scalar(
            value=text,
            text=text,
            wrong=f"{text} is no number that JSON can carry",
            hint=f'put it in quotes where a text is meant: "{text}"',
        )
    if _FLOAT.fullmatch(text) or _BASED.fullmatch(text):
        return _number(text)
    return Scalar(value=text, text=text)


def _number(text: str) -> Scalar:
    value: int | float | None
    if len(text) > MAX_DIGITS:
        value = None
    elif _DECIMAL.fullmatch(text):
        value = int(text)
    elif _BASED.fullmatch(text):
        value = int(text[2:], 8 if text[1] == "o" else 16)
    else:
        value = float(text)
    if value is None or not isfinite(value):
        return Scalar(value=0, text=text, wrong="the number is too big")
    return Scalar(value=value, text=text)


def _tagged(text: str, kind: str) -> Scalar:
    wanted: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (float, int),
        "bool": (bool,),
        "null": (type(None),),
    }
    if kind not in wanted:
        return _unknown(text, f"!!{kind}")
    scalar = _core(text)
    fits = type(scalar.value) in wanted[kind]
    if fits or scalar.wrong:
        return scalar
    return Scalar(value=text, text=text, wrong=f"«{text}» is not what the tag !!{kind} says")


def _unknown(text: str, tag: str) -> Scalar:
    return Scalar(
        value=text, text=text, wrong=f"the tag «{tag}» is not known here", hint="remove it"
    )
