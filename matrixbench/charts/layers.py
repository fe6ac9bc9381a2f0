"""The layers of a heatmap, from the ground up, less those that a picture has no use for.

Altair is imported to draw, and then only: it costs half a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.charts.metrics import DARK_INK, HATCH, LINE, NO_VALUE_FILL, QUIET
from matrixbench.charts.sides import side_title
from matrixbench.charts.squares import (
    BY_REQUEST,
    EMPTY,
    GREEDY,
    LABEL_SIZE,
    MEASURED,
    NO_VALUE,
    NOT_APPLICABLE,
    ONE_DRAW,
    ONE_REPLY,
    OUT,
    REASONING,
    STOPPED,
    UNVERIFIED,
    label_expression,
    shorten,
)

if TYPE_CHECKING:
    import altair as alt

    from matrixbench.charts.sides import Sides
    from matrixbench.charts.squares import Layout, Squares

TOOLTIPS = "tooltips"
"""Name of the layer that only tells; a still picture has no use for it."""

_AXIS_LETTERS = 32
_TRACK_FROM = 40
"""Width of a square from which the interval's bar lies on a line from 0 to 1."""

# Shapes stand in a box from −1 to 1; y grows downwards. Boxes are drawn line by line, so that the
# legend, which fills every shape, fills only the corners.
_RIGHT_CORNER = "M-1,-1L1,-1L1,1Z"
_LEFT_CORNER = "M-1,-1L1,-1L-1,1Z"
_BAR = "M-1,-1L1,-1L1,-0.3L-1,-0.3Z"
_ONE = "M-1,-1L-0.2,-1L-0.2,1L-1,1Z"
_SQUARE = "M-0.7,-0.7L0.7,-0.7L0.7,0.7L-0.7,0.7Z"
_BUBBLE = "M-1,-0.8L1,-0.8L1,0.4L-0.2,0.4L-1,1Z"
_SMALL_BOX = "M-1,-1L0.4,-1L0.4,0.4L-1,0.4Z"
_BOX = "M-1,-1L1,-1M1,-1L1,1M1,1L-1,1M-1,1L-1,-1"
_HATCHED_BOX = f"{_BOX}M-1,0L0,-1M-1,1L1,-1M0,1L1,0"
_BROKEN_BOX = (
    "M-1,-1L-0.3,-1M0.3,-1L1,-1M1,-1L1,-0.3M1,0.3L1,1"
    "M1,1L0.3,1M-0.3,1L-1,1M-1,1L-1,0.3M-1,-0.3L-1,-1"
)
_DASHED_BOX = f"{_BOX}M-0.5,0L0.5,0"


def layers(shown: Squares, layout: Layout, sides: Sides) -> list[alt.Chart]:
    """Return the layers of one facet."""
    drawing = _Layers(shown, layout, sides)
    return [layer for layer in drawing.all() if layer is not None]


class _Layers:
    """Builds layers that share their positions."""

    def __init__(self, shown: Squares, layout: Layout, sides: Sides) -> None:
        import altair as alt

        self._shown = shown
        self._layout = layout
        self._x = alt.X(
            "x:O",
            scale=alt.Scale(domain=list(shown.labels.x)),
            axis=self._axis(sides.x, shown.labels.x, layout.angle),
        )
        self._y = alt.Y(
            "y:O",
            scale=alt.Scale(domain=list(shown.labels.y)),
            axis=self._axis(sides.y, shown.labels.y, 0),
        )

    def _axis(self, axes: tuple[str, ...], labels: tuple[str, ...], angle: int) -> alt.Axis | None:
        if not axes:
            return None
        import altair as alt

        short = [shorten(text, _AXIS_LETTERS) for text in labels]
        cut = short != list(labels)
        return alt.Axis(
            title=side_title(axes),
            labelAngle=angle,
            labelFontSize=self._layout.label,
            labelLimit=_AXIS_LETTERS * LABEL_SIZE,
            labelOverlap=False,
            labelExpr=label_expression(labels, short) if cut else alt.Undefined,
        )

    def all(self) -> list[alt.Chart | None]:
        """Return every layer, the ground first; None stands for one that shows nothing."""
        return [
            self._values(),
            self._boxes(NO_VALUE, fill=NO_VALUE_FILL),
            self._boxes(EMPTY, fill="white"),
            self._hatched(),
            self._track(),
            self._intervals(),
            *self._texts(),
            self._corner("errored", 1, _RIGHT_CORNER, side=1),
            self._corner("single", GREEDY, _LEFT_CORNER, side=-1),
            self._corner("single", BY_REQUEST, _SMALL_BOX, side=-1),
            self._corner("single", ONE_REPLY, _BAR, side=-1),
            self._corner("single", ONE_DRAW, _ONE, side=-1),
            self._corner("stopped", 1, _SQUARE, side=1, foot=True),
            self._corner("reasoning", 1, _BUBBLE, side=-1, foot=True),
            *self._frames(),
            self._dashes(),
            self._legend(),
            self._tooltips(),
        ]

    def _on_squares(self, field: str, value: str | float | None = None) -> alt.Chart:
        """Return a layer over the squares that have a field, or one value in it."""
        import altair as alt

        if value is None:
            return alt.Chart().transform_filter(f"isValid(datum['{field}'])")
        return alt.Chart().transform_filter(alt.FieldEqualPredicate(field=field, equal=value))

    def _placed(self, layer: alt.Chart, **channels: Any) -> alt.Chart:
        placed: alt.Chart = layer.encode(x=self._x, y=self._y, **channels)
        return placed

    def _values(self) -> alt.Chart | None:
        if not self._shown.any("value"):
            return None
        import altair as alt

        ramp = self._shown.ramp
        colour = alt.Color(
            "value:Q",
            scale=alt.Scale(
                type="log" if ramp.logarithmic else "linear",
                domain=list(ramp.domain),
                range=list(ramp.style.colours),
                interpolate="rgb",
                nice=False,
                zero=False,
            ),
            legend=alt.Legend(
                title=ramp.style.title,
                labelExpr=ramp.style.unit.label,
                gradientLength=max(90, min(200, self._layout.facet_height)),
                values=ramp.ticks(),
            ),
        )
        gap = 1 if self._layout.width >= 20 else 0.5
        return self._placed(
            self._on_squares("status", MEASURED).mark_rect(
                stroke="white", strokeWidth=gap, aria=False
            ),
            color=colour,
        )

    def _boxes(self, status: str, *, fill: str) -> alt.Chart | None:
        if not self._shown.any("status", status):
            return None
        return self._placed(
            self._on_squares("status", status).mark_rect(
                fill=fill,
                stroke=LINE,
                strokeWidth=1,
                width=self._layout.width - 3,
                height=self._layout.height - 3,
                aria=False,
            )
        )

    def _hatched(self) -> alt.Chart | None:
        if not self._shown.any("status", NOT_APPLICABLE):
            return None
        width, height = self._layout.width - 2, self._layout.height - 2
        return self._placed(
            self._on_squares("status", NOT_APPLICABLE).mark_point(
                shape=hatching(width, height, gap=7 if width >= 20 else 4),
                size=width * width,
                stroke=HATCH,
                strokeWidth=0.8,
                opacity=1,
                aria=False,
            )
        )

    def _track(self) -> alt.Chart | None:
        """Draw the whole of 0 to 1 that an interval is a part of."""
        if self._layout.width < _TRACK_FROM or not self._shown.any("low"):
            return None
        return self._placed(
            self._on_squares("low").mark_rect(
                width=self._span,
                height=1,
                yOffset=self._foot,
                fill={"expr": "datum.ink"},
                opacity=0.35,
                aria=False,
            )
        )

    def _intervals(self) -> alt.Chart | None:
        if not self._shown.any("low"):
            return None
        return self._placed(
            self._on_squares("low").mark_rect(
                width={"expr": f"(datum.high - datum.low) * {self._span}"},
                xOffset={"expr": f"((datum.low + datum.high) / 2 - 0.5) * {self._span}"},
                height=3 if self._layout.text else 1.5,
                yOffset=self._foot,
                fill={"expr": "datum.ink"},
                opacity=1 if self._layout.text else 0.8,
                aria=False,
            )
        )

    @property
    def _span(self) -> int:
        return self._layout.width - (8 if self._layout.text else 2)

    @property
    def _foot(self) -> float:
        room = 5 if self._layout.detail else 3 if self._layout.text else 2.5
        return self._layout.height / 2 - room

    def _texts(self) -> list[alt.Chart | None]:
        if not self._layout.text:
            return []
        big, small, detail = self._layout.text, self._layout.small, self._layout.detail
        lines = [("text", big, True), ("ends", small, False), ("count", small, False)]
        if not detail or not self._shown.any("ends"):
            del lines[1]
        heights = [size * 1.15 for _, size, _ in lines]
        top = -(sum(heights) + (5 if self._shown.any("low") else 0)) / 2
        drawn: list[alt.Chart | None] = []
        for (field, size, bold), height in zip(lines, heights, strict=True):
            drawn.append(self._text(field, size, top + height / 2, bold=bold))
            top += height
        return drawn

    def _text(self, field: str, size: int, dy: float, *, bold: bool) -> alt.Chart | None:
        if not self._shown.any(field):
            return None
        return self._placed(
            self._on_squares(field).mark_text(
                fontSize=size,
                fontWeight="bold" if bold else "normal",
                dy=round(dy, 1),
                fill={"expr": "datum.ink"},
                aria=False,
            ),
            text=f"{field}:N",
        )

    def _corner(
        self, field: str, value: str | float, shape: str, *, side: int, foot: bool = False
    ) -> alt.Chart | None:
        if not self._shown.any(field, value):
            return None
        reach, inset = (4, 3) if self._layout.detail else (3, 2) if self._layout.text else (2, 1.5)
        return self._placed(
            self._on_squares(field, value).mark_point(
                shape=shape,
                size=(reach * 2) ** 2,
                xOffset=side * (self._layout.width / 2 - reach - inset),
                yOffset=(
                    self._foot - reach - inset if foot else reach + inset - self._layout.height / 2
                ),
                filled=True,
                fill={"expr": "datum.ink"},
                opacity=1,
                aria=False,
            )
        )

    def _frame(self, colour: str, *, stroke: float, inset: float) -> alt.Chart | None:
        if not self._shown.any(OUT):
            return None
        return self._placed(
            self._on_squares(OUT).mark_rect(
                filled=False,
                stroke=colour,
                strokeWidth=stroke,
                width=self._layout.width - stroke - inset,
                height=self._layout.height - stroke - inset,
                aria=False,
            )
        )

    def _frames(self) -> list[alt.Chart | None]:
        """Return a dark frame with a light one inside it: one of the two is seen on any colour."""
        stroke = 2 if self._layout.text else 1
        light = self._frame("white", stroke=1, inset=1 + 2 * stroke) if self._layout.text else None
        return [self._frame(DARK_INK, stroke=stroke, inset=1), light]

    def _dashes(self) -> alt.Chart | None:
        """Return a dashed frame, inside the one of squares that stand out."""
        if not self._shown.any("unverified"):
            return None
        inset = 8 if self._shown.any(OUT) and self._layout.text else 3
        return self._placed(
            self._on_squares("unverified").mark_rect(
                filled=False,
                stroke={"expr": "datum.ink"},
                strokeWidth=1.5 if self._layout.text else 1,
                strokeDash=[4, 3] if self._layout.text else [2, 2],
                width=self._layout.width - inset,
                height=self._layout.height - inset,
                aria=False,
            )
        )

    def _legend(self) -> alt.Chart | None:
        """Return a layer without squares whose only purpose is the legend of the marks."""
        import altair as alt

        shown = self._shown
        present = [(name, shape) for name, field, value, shape in _MARKS if shown.any(field, value)]
        if not present:
            return None
        return self._placed(
            alt.Chart().transform_filter("false").mark_point(fill=QUIET, stroke=QUIET, aria=False),
            shape=alt.Shape(
                "status:N",
                scale=alt.Scale(
                    domain=[name for name, _ in present], range=[shape for _, shape in present]
                ),
                legend=alt.Legend(
                    title=None,
                    symbolSize=110,
                    symbolStrokeWidth=1.2,
                    symbolOpacity=1,
                ),
            ),
        )

    def _tooltips(self) -> alt.Chart:
        """Return a layer over all others that shows nothing and says everything."""
        import altair as alt

        layer = alt.Chart(name=TOOLTIPS)
        return self._placed(layer.mark_rect(opacity=0, tooltip={"expr": "datum.tooltip"}))


_MARKS = (
    (NOT_APPLICABLE, "status", NOT_APPLICABLE, _HATCHED_BOX),
    (EMPTY, "status", EMPTY, _BOX),
    (NO_VALUE, "status", NO_VALUE, _DASHED_BOX),
    ("errored trials, not counted", "errored", 1, _RIGHT_CORNER),
    (f"{GREEDY}: no interval", "single", GREEDY, _LEFT_CORNER),
    (f"{BY_REQUEST}: no interval", "single", BY_REQUEST, _SMALL_BOX),
    (ONE_REPLY, "single", ONE_REPLY, _BAR),
    (ONE_DRAW, "single", ONE_DRAW, _ONE),
    (STOPPED, "stopped", 1, _SQUARE),
    (REASONING, "reasoning", 1, _BUBBLE),
    ("shown to differ by itself", OUT, 1, _BOX),
    (UNVERIFIED, "unverified", 1, _BROKEN_BOX),
)
"""What the legend calls a mark, the field and value that ask for it, and its shape."""


def hatching(width: float, height: float, *, gap: float) -> str:
    """Return the path of diagonal lines that fill a box, in halves of its width.

    Lines of neighbouring boxes of one width meet.
    """
    lines: list[str] = []
    half_x, half_y = width / 2, height / 2
    shift = -(half_x + half_y) + gap / 2
    while shift < half_x + half_y:
        left, right = max(-half_x, shift - half_y), min(half_x, shift + half_y)
        ends = [(x / half_x, (shift - x) / half_x) for x in (left, right)]
        lines.append("M{0[0]:.3f},{0[1]:.3f}L{1[0]:.3f},{1[1]:.3f}".format(*ends))
        shift += gap
    return "".join(lines)
