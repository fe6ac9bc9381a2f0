"""Writing a heatmap to a file; imports Altair and vl-convert, so import this only to write."""

from __future__ import annotations

import html
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert as vlc

from matrixbench.charts.layers import TOOLTIPS
from matrixbench.errors import UsageError
from matrixbench.safe_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.charts.heatmap import Drawing

MAX_PIXELS = 8192
"""The longest side of a PNG."""

CRISP = 2.0
"""Pixels for each point of the page."""

_SVG_SIZE = re.compile(r'<svg[^>]*?\swidth="([\d.]+)"[^>]*?\sheight="([\d.]+)"')


def write(drawing: Drawing, path: Path) -> None:
    """Write a heatmap in the format that the path's suffix names.

    Raises:
        UsageError: The file cannot be written.
    """
    content = _content(drawing.to_dict(), path.suffix.lower())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UsageError(
            f"the chart cannot be written: {error.strerror}",
            where=str(path),
            hint="choose another place with -o",
        ) from error


def _content(spec: dict[str, Any], suffix: str) -> bytes:
    match suffix:
        case ".json":
            return (json.dumps(spec, indent=2, ensure_ascii=False) + "\n").encode()
        case ".html":
            return _page(spec).encode()
        case ".svg":
            return _svg(spec).encode()
        case ".pdf":
            return bytes(vlc.svg_to_pdf(_svg(spec)))
        case _:
            return _png(_svg(spec))


def _svg(spec: dict[str, Any]) -> str:
    version = "_".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return str(vlc.vegalite_to_svg(_still(spec), vl_version=version))


def _still(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a picture without tooltips, which is faster to draw."""
    mute = {
        name: [{field: row[field] for field in row if field != "tooltip"} for row in rows]
        for name, rows in spec.get("datasets", {}).items()
    }
    still = {**spec, "datasets": mute}
    if "spec" in spec:
        return {**still, "spec": {**spec["spec"], "layer": _without_tooltips(spec["spec"])}}
    return {**still, "layer": _without_tooltips(spec)}


def _without_tooltips(facet: dict[str, Any]) -> list[dict[str, Any]]:
    return [layer for layer in facet["layer"] if layer.get("name") != TOOLTIPS]


def _png(svg: str) -> bytes:
    size = _SVG_SIZE.search(svg)
    longest = max(float(side) for side in size.groups()) if size else 0.0
    scale = min(CRISP, MAX_PIXELS / longest) if longest else CRISP
    return bytes(vlc.svg_to_png(svg, scale=scale))


def _page(spec: dict[str, Any]) -> str:
    """Return a page that holds the scripts and the data, and loads nothing."""
    title = " ".join(spec["title"]["text"])
    # What a model wrote stands in the data: no `</script>` may end the element early.
    data = json.dumps(spec).replace("<", "\\u003c")
    return _PAGE.format(title=html.escape(title), data=data, script=_script())


@cache
def _script() -> str:
    """Return the scripts of every page: bundling them takes a second, and they are the same."""
    return str(vlc.javascript_bundle(_SHOW)).replace("</script", "<\\/script")


_SHOW = """
const spec = JSON.parse(document.getElementById("spec").textContent);
vegaEmbed("#chart", spec, {mode: "vega-lite", actions: {editor: false}});
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; font-family: sans-serif; background: white; }}
#vg-tooltip-element table tr td.value {{ max-width: 36em; white-space: normal; }}
</style>
</head>
<body>
<div id="chart"></div>
<script type="application/json" id="spec">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""
