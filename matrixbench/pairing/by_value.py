"""Pairs of cells that differ only in the value of one axis."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.values import Candidate
from matrixbench.errors import UsageError
from matrixbench.pairing.by_build import BUILD
from matrixbench.pairing.sides import alone, pair_of, sides_of
from matrixbench.plan.values import label, same
from matrixbench.spec.wording import choose, nearest_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matrixbench.pairing.sides import Side
    from matrixbench.plan.cells import Coordinates
    from matrixbench.results import Results
    from matrixbench.store.database import Store

_Key: TypeAlias = "tuple[str, ...]"


def by_value(results: Results, store: Store, axis: str, value: str) -> tuple[list[Candidate], str]:
    """Return a candidate for each other value of an axis, and the baseline as the file writes it.

    Raises:
        UsageError: The axis or the value is not there, is the only one, or no two cells pair.
    """
    known = {name for cell in results.cells for name in cell.square.coordinates}
    if axis not in known:
        raise UsageError(
            f"no selected cell has the axis «{axis}»",
            where="--baseline",
            hint=choose(axis, [*sorted(known), BUILD], what="the axes"),
        )
    groups: dict[str, list[Side]] = defaultdict(list)
    for side in sides_of(results, store):
        if axis in side.cell.square.coordinates:
            groups[label(side.cell.square.coordinates[axis])].append(side)
    told = next((name for name, group in groups.items() if _is(group, axis, value)), None)
    listed = choose(value, nearest_first(value, groups), what=f"the values of {axis}")
    if told is None:
        raise UsageError(f"{axis} has no value «{value}»", where="--baseline", hint=listed)
    if len(groups) == 1:
        raise UsageError(
            f"{told} is the only selected value of {axis}: there is nothing to compare it with",
            where="--baseline",
            hint="let --where select the other values too",
        )
    base = groups.pop(told)
    candidates = [
        found for name, group in groups.items() for found in _against(base, name, group, axis)
    ]
    if not any(candidate.pairs for candidate in candidates):
        raise UsageError(
            f"no two cells differ only in {axis}", where=f"--baseline {axis}={value}", hint=listed
        )
    return candidates, told


def _is(group: Sequence[Side], axis: str, text: str) -> bool:
    value = group[0].cell.square.coordinates[axis]
    try:
        read = json.loads(text)
    except ValueError:
        read = text
    return label(value) == text or same(read, value)


def _against(
    base: Sequence[Side], name: str, group: Sequence[Side], axis: str
) -> Iterator[Candidate]:
    """Yield the candidates of one value.

    Axes that only one side has (a backend's own options, say) belong to what is compared: each of
    the candidate's own points is a candidate by itself, the baseline may have one only.
    """
    axes_down, axes_up = _axes(base), _axes(group)
    common = [other for other in axes_down if other in axes_up and other != axis]
    own = [other for other in axes_up if other not in axes_down]
    partners = _by_key(base, common, axis)
    points: dict[_Key, list[Side]] = defaultdict(list)
    for side in group:
        points[tuple(side.value(other) for other in own)].append(side)
    varying = [
        other for place, other in enumerate(own) if len({point[place] for point in points}) > 1
    ]
    for sides in points.values():
        coordinates = sides[0].cell.square.coordinates
        parts = [f"{other}={label(coordinates.get(other))}" for other in varying]
        keys = [tuple(side.value(other) for other in common) for side in sides]
        keyed = list(zip(sides, keys, strict=True))
        yield Candidate(
            name=" · ".join([name, *parts]),
            pairs=[pair_of(side, partners[key]) for side, key in keyed if key in partners],
            alone=[
                *(alone(side, candidate=True) for side, key in keyed if key not in partners),
                *(
                    alone(side, candidate=False)
                    for key, side in partners.items()
                    if key not in set(keys)
                ),
            ],
        )


def _axes(sides: Iterable[Side]) -> dict[str, None]:
    return {axis: None for side in sides for axis in side.cell.square.coordinates}


def _by_key(base: Sequence[Side], common: Sequence[str], axis: str) -> Mapping[_Key, Side]:
    found: dict[_Key, Side] = {}
    for side in base:
        key = tuple(side.value(other) for other in common)
        if key in found:
            raise _several(found[key].cell.square.coordinates, side.cell.square.coordinates, axis)
        found[key] = side
    return found


def _several(one: Coordinates, other: Coordinates, axis: str) -> UsageError:
    apart = next((name for name in other if one.get(name) != other[name]), axis)
    return UsageError(
        f"the baseline has several cells for one of a candidate: they differ in {apart}, which the "
        "candidate does not have",
        where="--baseline",
        hint=f"choose one, for example --where '{axis}!={label(other[axis])} or "
        f"{apart}={label(other.get(apart))}'",
    )
