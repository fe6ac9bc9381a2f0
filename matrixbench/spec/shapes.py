"""What the models allow at a place: read off their annotations, so that it is said only once."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Tag

from matrixbench.spec.base import TAG, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.spec.nodes import Loc


def keys_at(model: type[Part], loc: Loc) -> list[str]:
    """Return the keys that the mapping at one of pydantic's locations may have."""
    return [
        field.alias or name
        for part in _parts(_types_at(model, loc))
        for name, field in part.model_fields.items()
    ]


def parts_at(model: type[Part], loc: Loc) -> list[type[Part]]:
    """Return the parts of the file that the mapping at one of pydantic's locations may be."""
    return _parts(_types_at(model, loc))


def kinds_at(model: type[Part], loc: Loc) -> list[str]:
    """Return the kinds that the mapping at one of pydantic's locations may be of."""
    return [kind for part in _parts(_types_at(model, loc)) for kind in _kinds(part)]


def kinds_of(annotation: Any) -> list[str]:  # noqa: ANN401  a type
    """Return the kinds of a union whose members say theirs by `kind`."""
    return [kind for part in _parts([annotation]) for kind in _kinds(part)]


def _types_at(model: type[Part], loc: Loc) -> list[Any]:
    types: list[Any] = [model]
    for step in loc:
        types = [below for kind in types for below in _below(kind, step)]
    return types


def _parts(types: Sequence[Any]) -> list[type[Part]]:
    return [member for kind in types for _, member in _members(kind) if _is_part(member)]


def _members(annotation: Any, tag: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  a type
    """Yield the members of a union with their tags; a type that is no union is its one member."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        own = next((item.tag for item in metadata if isinstance(item, Tag)), tag)
        yield from _members(inner, own)
    elif origin in {Union, UnionType}:
        for member in get_args(annotation):
            yield from _members(member)
    elif annotation is not NoneType:
        yield tag, annotation


def _below(annotation: Any, step: str | int) -> Iterator[Any]:  # noqa: ANN401  a type
    members = list(_members(annotation))
    if isinstance(step, str) and step.startswith(TAG):
        yield from (member for tag, member in members if tag == step)
        return
    chosen = [member for _, member in members if _is_part(member) and step in _kinds(member)]
    if chosen and len(members) > 1:
        yield from chosen
        return
    for _, member in members:
        yield from _inside(member, step)


def _inside(member: Any, step: str | int) -> Iterator[Any]:  # noqa: ANN401  a type
    if _is_part(member):
        yield from (
            field.annotation
            for name, field in member.model_fields.items()
            if (field.alias or name) == step
        )
    elif get_origin(member) in {dict, list}:
        yield get_args(member)[-1]


def _is_part(kind: Any) -> bool:  # noqa: ANN401  a type
    return isinstance(kind, type) and issubclass(kind, Part)


def _kinds(part: type[Part]) -> tuple[Any, ...]:
    field = part.model_fields.get("kind")
    is_literal = field is not None and get_origin(field.annotation) is Literal
    return get_args(field.annotation) if field and is_literal else ()
