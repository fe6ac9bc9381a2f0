"""Fills the parameters of a test into its texts, and tells where that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.spec.nodes import Finding, Node
from matrixbench.spec.templating import Renderer, TemplateProblem
from matrixbench.spec.wording import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.records import JsonObject

MAX_RENDERED = 50_000_000
"""Characters that the texts of one test may have over all of its parameters."""


class Filler:
    """Fills one test, point by point; `findings` says what is wrong."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._renderer = Renderer()
        self._length = 0

    def mapping(self, node: Node, parameters: Mapping[str, Any]) -> JsonObject:
        """Return a test's data with every text filled in, but for the parameters themselves."""
        return {
            key: entry.node.plain() if key == "parameters" else self._filled(entry.node, parameters)
            for key, entry in node.entries.items()
        }

    def _filled(self, node: Node, parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401  any JSON
        match node.value:
            case dict() as entries:
                return {key: self._filled(entry.node, parameters) for key, entry in entries.items()}
            case list() as items:
                return [self._filled(item, parameters) for item in items]
            case str(text):
                return self._text(node, text, parameters)
            case scalar:
                return scalar

    def _text(self, node: Node, text: str, parameters: Mapping[str, Any]) -> str:
        try:
            filled = self._renderer.render(text, parameters)
        except TemplateProblem as problem:
            hint = f"the parameters are {listed(parameters)}"
            self.findings.append(Finding(place=node.place, message=str(problem), hint=hint))
            return text
        self._length += len(filled)
        if self._length > MAX_RENDERED and not self.findings:
            message = f"the test's texts have more than {MAX_RENDERED:,} characters in all"
            self.findings.append(Finding(place=node.place, message=message))
        return filled
