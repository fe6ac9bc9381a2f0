"""Names in the file that must mean something in it: axes, backends, models, templates, tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from matrixbench.spec.axes import (
    PARAMETERS,
    Level,
    axes_that,
    axis_of,
    given_values,
    handles,
    label,
    level_of,
    means,
    only_charted,
    same,
)
from matrixbench.spec.checks import SameAsCheck, every_check
from matrixbench.spec.experiment import SAMPLING_FIELDS, Metric
from matrixbench.spec.rules import sampling_findings
from matrixbench.spec.shapes import value_nodes
from matrixbench.spec.wording import choose, found, inside, quoted
from matrixbench.spec.yaml_source import Document, Entry, Finding, Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.spec.suites import Case, Cases
    from matrixbench.spec.yaml_source import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The axes of an experiment and the values that the file gives them.

    Args:
        values: Axis → its values as the file writes them.
        open: Axes whose values are not all known, since some tests could not be read.
    """

    values: Mapping[str, list[Any]]
    open: frozenset[str] = field(default=frozenset())
    _texts: dict[str, frozenset[str]] = field(default_factory=dict)

    def has_text(self, axis: str, value: object) -> bool:
        """Return whether a text is one of an axis's values, at once though there be thousands."""
        if axis not in self._texts:
            values = self.values.get(axis, [])
            self._texts[axis] = frozenset(item for item in values if isinstance(item, str))
        return isinstance(value, str) and value in self._texts[axis]

    def unknown(self, axis: str) -> bool:
        """Return whether no axis has this name."""
        uncertain = bool(self.open) and axis.startswith(PARAMETERS)
        return axis not in self.values and not uncertain


def axes_of(document: Document, cases: Cases) -> Axes:
    """Return the axes that a file has, and their values; wrong types are passed over."""
    # The tests are in `cases`, and may be many.
    data = {key: at.node.plain() for key, at in document.root.entries.items() if key != "tests"}
    values: dict[str, list[Any]] = {axis: [] for axis in axes_that(lambda axis: axis.always)}
    for axis, value in given_values(data, cases.cases):
        values.setdefault(axis, []).append(value)
    for axis in handles():
        values[axis] = list(dict.fromkeys(values[axis]))
    unsure = {axis for axis in values if level_of(axis) is Level.TEST}
    return Axes(values=values, open=frozenset() if cases.complete else frozenset(unsure))


def reference_findings(document: Document, cases: Cases) -> Iterator[Finding]:
    """Yield what the file names though it is not there, and axes that nobody has."""
    root = document.root
    axes = axes_of(document, cases)
    for name, model in root.child_entries("models").items():
        where = inside(("models", name))
        for key, axis in (("backends", "backend"), ("chat_templates", "chat_template")):
            for item in model.node.child_items(key):
                yield from _named(item, axis, axes.values[axis], where=where)
    for index, entry in enumerate(root.child_items("exclude")):
        yield from _entry(entry, axes, f"exclude[{index}]")
    included = dict(axes.values)
    for index, entry in enumerate(root.child_items("include")):
        yield from _entry(entry, axes, f"include[{index}]")
        included |= {axis: [] for axis in entry.entries if axis in SAMPLING_FIELDS}
    yield from comparison_findings(cases, axes)
    yield from _gate(root.child("trials"), Axes(values=included, open=axes.open))
    for name, chart in root.child_entries("charts").items():
        yield from _chart(name, chart, Axes(values=included, open=axes.open))


def _named(node: Node, axis: str, names: list[Any], *, where: str) -> Iterator[Finding]:
    if isinstance(node.value, str) and node.value not in names:
        message = f"no {axis.replace('_', ' ')} is called {quoted(node.value)}{where}"
        yield node.told(message, choose(node.value, names, what="known"))


def _entry(node: Node, axes: Axes, where: str) -> Iterator[Finding]:
    """Yield what is wrong with an entry of `exclude` or `include`."""
    including = where.startswith("include")
    if node.value == {}:
        message = f"{where} names no axis"
        hint = "an empty entry would mean every cell: name an axis, or leave it out"
        yield node.told(message, hint)
    for axis, entry in node.entries.items():
        if axes.unknown(axis) and not (including and axis in SAMPLING_FIELDS):
            known = [*axes.values, *(SAMPLING_FIELDS if including else ())]
            message = f"unknown axis {quoted(axis)} in {where}"
            yield entry.told(message, _axis_hint(axis, known))
            continue
        if entry.node.value == []:
            message = f"{where}.{axis} is an empty list, which fits no cell"
            yield entry.told(message)
        for value in value_nodes(entry.node):
            yield from _value(value, axis, entry, axes, including=including)


def _axis_hint(axis: str, known: Sequence[str]) -> str:
    """Return the axes that there are; a sampling field that the file does not give is none."""
    hint = choose(axis, known, what="axes")
    return f"{axis} does not vary here; {hint}" if axis in SAMPLING_FIELDS else hint


def _value(
    node: Node, axis: str, entry: Entry, axes: Axes, *, including: bool
) -> Iterator[Finding]:
    """Yield that a named value is none of an axis's; `include` may bring values of its own."""
    if including and axis in SAMPLING_FIELDS:
        yield from sampling_findings(axis, node)
        return
    new_allowed = including and axis_of(axis).server_decides
    # An axis that a cell does not have is null to `exclude`.
    if new_allowed or axis in axes.open or axes.unknown(axis) or node.value is None:
        return
    pattern = node.plain()
    values = axes.values.get(axis, [])
    if axes.has_text(axis, pattern) or any(means(pattern, value) for value in values):
        return
    what = quoted(node.text) if node.text else found(node)
    message = f"{axis} has no value {what} to {'include' if including else 'exclude'}"
    place = entry.place if isinstance(node.value, (list, dict)) else node.place
    yield Finding(place=place, message=message, hint=_values_hint(node, values))


def _values_hint(node: Node, values: list[Any]) -> str:
    return choose(node.text, list(dict.fromkeys(map(label, values))), what="known")


def _chart(name: str, entry: Entry, axes: Axes) -> Iterator[Finding]:
    sides: dict[str, str] = {}
    for side in ("x", "y", "row", "column"):
        node = entry.node.child(side)
        for item in (node, *node.items) if node else ():
            axis = item.value
            if not isinstance(axis, str):
                continue
            if (taken := sides.setdefault(axis, side)) != side or _again(item, node):
                message = f"charts.{name} names the axis {quoted(axis)} twice: {taken} and {side}"
                yield item.told(message, "name every axis once")
            if axis in only_charted():
                continue
            if axis in handles() or axes.unknown(axis):
                message = f"unknown axis {quoted(axis)} in charts.{name}.{side}"
                hint = _axis_hint(axis, _chart_axes(axes))
                yield item.told(message, hint)
    yield from _baseline(name, entry, axes)


def _again(item: Node, side: Node | None) -> bool:
    """Return whether a side names an axis that it has named before."""
    before = takewhile(lambda other: other is not item, side.items if side else ())
    return any(other.value == item.value for other in before)


def _chart_axes(axes: Axes) -> list[str]:
    return [*(known for known in axes.values if known not in handles()), *only_charted()]


def _baseline(name: str, entry: Entry, axes: Axes) -> Iterator[Finding]:
    """Yield that a difference has nothing to compare with, or a baseline that is not there."""
    where = f"charts.{name}"
    metric, baseline = entry.node.child("metric"), entry.node.child("baseline")
    wanted = metric is not None and metric.value == Metric.DIFFERENCE
    if metric is not None and wanted and baseline is None:
        message = f"{where} shows a difference, but has no baseline"
        example = next(iter(axes.values["backend"]), "NAME")
        hint = f"for example baseline: {{backend: {example}}}"
        yield metric.told(message, hint)
    if baseline is not None and not wanted:
        message = f"{where}.baseline has no meaning here"
        yield baseline.told(message, f"add metric: {Metric.DIFFERENCE}")
    if baseline is not None:
        yield from _baseline_named(baseline, axes, where)


def _gate(trials: Node | None, axes: Axes) -> Iterator[Finding]:
    """Yield that the gate which ends the trials has a baseline that is not there."""
    until = trials.child("until") if trials else None
    gate = until.child("gate") if until else None
    baseline = gate.child("baseline") if gate else None
    if baseline is not None:
        found = list(_baseline_named(baseline, axes, "trials.until.gate"))
        yield from found or _baseline_alone(baseline, axes)


def _baseline_alone(baseline: Node, axes: Axes) -> Iterator[Finding]:
    """Yield that an axis has no second value, so that no gate could ever be decided."""
    for axis, value in baseline.entries.items():
        if axis in only_charted() or axis in axes.open or len(axes.values.get(axis, [])) != 1:
            continue
        message = (
            f"{value.node.text} is the only value of {axis}: trials.until.gate.baseline leaves "
            "nothing to compare it with"
        )
        hint = "name an axis that has several values, or build: previous"
        yield value.node.told(message, hint)


def _baseline_named(baseline: Node, axes: Axes, where: str) -> Iterator[Finding]:
    for axis, value in baseline.entries.items():
        if axis in handles() or (axes.unknown(axis) and axis not in only_charted()):
            message = f"unknown axis {quoted(axis)} in {where}.baseline"
            hint = _axis_hint(axis, _chart_axes(axes))
            yield value.told(message, hint)
        elif axis not in only_charted() and axis not in axes.open:
            yield from _baseline_value(value.node, axis, axes.values.get(axis, []), where)


def _baseline_value(node: Node, axis: str, values: list[Any], where: str) -> Iterator[Finding]:
    # A value that holds others means itself here, for a baseline is one value.
    if not values or any(same(node.plain(), value) for value in values):
        return
    message = f"{axis} has no value {quoted(node.text) if node.text else found(node)} to compare"
    hint = _values_hint(node, values)
    yield node.told(f"{message} with in {where}.baseline", hint)


def comparison_findings(cases: Cases, axes: Axes) -> Iterator[Finding]:
    """Yield what is wrong with the cells that `same_as` names; each place is told of once."""
    told: set[Place] = set()
    for case in cases.cases:
        for at, check in every_check(case.test.expect):
            if isinstance(check, SameAsCheck) and case.origin.places[f"{at}.same_as"] not in told:
                told.add(case.origin.places[f"{at}.same_as"])
                yield from _compared(case, f"{at}.same_as", check.same_as, axes)


def _compared(case: Case, at: str, named: Mapping[str, Any], axes: Axes) -> Iterator[Finding]:
    others = False
    for axis, value in named.items():
        place = case.origin.places[f"{at}.{axis}"]
        values = axes.values.get(axis, [])
        others = others or axes.unknown(axis) or any(not means(value, item) for item in values)
        if axes.unknown(axis):
            message = f"unknown axis {quoted(axis)} in {at}"
            hint = _axis_hint(axis, list(axes.values))
            yield Finding(place=place, message=message, hint=hint)
        elif axis not in axes.open and not any(means(value, item) for item in values):
            shown = label(value)
            hint = choose(shown, list(dict.fromkeys(map(label, values))), what="known")
            message = f"{axis} has no value {quoted(shown)} to compare with"
            yield Finding(place=place, message=message, hint=hint)
            others = True
    if not others:
        yield Finding(
            place=case.origin.places[at],
            message=f"{at}: every cell would be compared with itself",
            hint="name an axis that has other values too",
        )
