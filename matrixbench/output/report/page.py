"""The report's page: our modules, Vega and the data in one file that loads nothing."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from matrixbench.output.report.pack import json_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.output.report.pack import Pack
    from matrixbench.records import JsonObject

_MODULES = (
    "dom",
    "router",
    "data",
    "where",
    "diff",
    "transcript",
    "views",
    "table",
    "search",
    "chart",
    "overview",
    "main",
)
"""Our modules, those that others import first."""

_VEGA = "window.vegaEmbed = vegaEmbed;"

_IMPORT = re.compile(r"^import (\{[^}]*\}) from \"\./(\w+)\.js\";$", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)

_EMPTY_ONLY = """
// Vega's embedder empties its element so. Nothing else may become HTML.
const createHTML = (text) => (text === "" ? "" : null);
globalThis.trustedTypes?.createPolicy("default", { createHTML });
"""


def page(index: JsonObject, pack: Pack, *, title: str) -> Iterator[bytes]:
    """Yield a report that holds its data, piece by piece."""
    # What a model wrote stands in the data: no `</script>` may end the element early.
    told = json_bytes(index).replace(b"<", b"\\u003c")
    head = [b'<script type="application/json" id="index">', told, b"</script>\n"]
    first = _block(0, pack.blocks[0]) if pack.blocks else b""
    # The first block has the charts: they are drawn while the browser still reads the rest.
    yield _page(title, b"".join([*head, first]), connect="'none'")
    for number, block in enumerate(pack.blocks[1:], 1):
        yield _block(number, block)
    yield b"</body>\n</html>\n"


def watching_page(title: str) -> bytes:
    """Return the same page for a run that goes on: it asks its server for the data."""
    return _page(title, b"", connect="'self'", watched=" data-watched")


def _block(number: int, block: bytes) -> bytes:
    return b'<script type="text/plain" id="block-%d">%b</script>\n' % (number, block)


def _page(title: str, data: bytes, *, connect: str, watched: str = "") -> bytes:
    style, script = _read("report.css"), _script()
    vega = _vega()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(vega)}' '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types default",
        ]
    )
    before, after = _read("report.html").split("{data}")
    told = {"policy": policy, "title": html.escape(title), "style": style, "watched": watched}
    code = {"vega": vega, "script": script}
    return b"".join([_filled(before, told).encode(), data, _filled(after, code).encode()])


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], text)


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _script() -> str:
    """Return our modules as one script."""
    # A classic script runs at once; a module would wait for the end of the page.
    scopes = "".join(scope(name) for name in _MODULES)
    return _closed(f'"use strict";\n(() => {{\n{_EMPTY_ONLY}{scopes}}})();\n')


def scope(name: str) -> str:
    """Return a module as a scope of its own, whose exports stand in a constant of its name."""
    text = _read(f"{name}.js")
    exported = ", ".join(found[1] for found in _EXPORT.findall(text))
    body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const \1 = \2Module;", text))
    return f"const {name}Module = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();\n"


@cache
def _vega() -> str:
    """Return the Vega that draws the charts: the one that vl-convert brings along."""
    import vl_convert

    return _closed(f"(() => {{\n{vl_convert.javascript_bundle(_VEGA)}\n}})();")


def _closed(script: str) -> str:
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


@cache
def _read(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")
