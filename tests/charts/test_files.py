"""The files that a chart is written to."""

from __future__ import annotations

import json
import re
import struct
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.charts import SUFFIXES, draw, save
from matrixbench.errors import UsageError
from matrixbench.records import Kind, Outcome
from matrixbench.results.tally import ResultCell
from matrixbench.spec.experiment import Chart
from tests.results.cells import BUILD, attempt, cell_frame, table

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

AXES: dict[str, list[Any]] = {
    "backend": ["candidate", "ollama"],
    "model": ["qwen", "llama"],
    "temperature": [None, 0, 0.5],
    "test": ["weather", "hello"],
}


def written(frame: DataFrame, path: Path, *, title: str = "tool-calling: success") -> bytes:
    """Write a chart and return the file's content."""
    save(draw(frame, Chart(), title=title), path)
    return path.read_bytes()


def mixed() -> DataFrame:
    """Return a frame with every kind of square."""
    return table(
        AXES,
        lambda point: {"weather": "ppfre", "hello": ""}[point["test"]],
        lacking=lambda point: point["backend"] == "ollama" and point["temperature"] == 0.5,
    )


def png_size(content: bytes) -> tuple[int, int]:
    """Return width and height from a PNG's header."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_png_has_two_pixels_for_each_point(tmp_path: Path) -> None:
    """The picture is twice as large as the SVG."""
    svg = written(mixed(), tmp_path / "chart.svg").decode()
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    assert size is not None
    expected = [2 * float(side) for side in size.groups()]
    assert list(png_size(written(mixed(), tmp_path / "chart.png"))) == pytest.approx(
        expected, abs=2
    )


def test_huge_png_is_bounded(tmp_path: Path) -> None:
    """No side is longer than 8,192 pixels."""
    frame = table({"temperature": range(1200), "test": ["x"]}, "p")
    assert 8000 <= max(png_size(written(frame, tmp_path / "chart.png"))) <= 8192


def test_svg_holds_the_labels_and_texts(tmp_path: Path) -> None:
    """Names, ratios and n are text in the SVG, and the marks are explained."""
    svg = written(mixed(), tmp_path / "chart.svg").decode()
    for text in ("weather", "qwen", "candidate", "default", "50%", "n=4/10", "not applicable"):
        assert f">{text}<" in svg


def test_pdf_is_a_pdf(tmp_path: Path) -> None:
    """The suffix chooses the format, in capitals too."""
    assert written(mixed(), tmp_path / "chart.PDF").startswith(b"%PDF-")


def test_json_is_vega_lite(tmp_path: Path) -> None:
    """The file says which Vega-Lite it is, and holds its data."""
    spec = json.loads(written(mixed(), tmp_path / "chart.json"))
    assert re.fullmatch(r"https://vega\.github\.io/schema/vega-lite/v\d.*\.json", spec["$schema"])
    assert [len(rows) for rows in spec["datasets"].values()] == [24]


class Elements(HTMLParser):
    """The elements of a page, with what scripts and titles hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down an element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Take down a text."""
        self.texts.setdefault(self.tags[-1][0] if self.tags else "", []).append(data)


def test_html_loads_nothing_and_has_a_title(tmp_path: Path) -> None:
    """No element names another file, no style imports one; scripts and data are in the page."""
    page = Elements(written(mixed(), tmp_path / "c.html", title="a < b & c").decode())
    assert "a < b & c" in "".join(page.texts["title"])
    names = [tag for tag, _ in page.tags]
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(names)
    assert all("src" not in attrs and "href" not in attrs for _, attrs in page.tags)
    assert not any(word in "".join(page.texts["style"]) for word in ("@import", "url("))
    assert names.count("script") == 2


def test_html_survives_what_a_model_writes(tmp_path: Path) -> None:
    """A reason that holds `</script>` or half a surrogate pair stays data."""
    square = ResultCell(id="a", coordinates={"test": "t"}, build=BUILD, planned=1)
    reason = "</script><script>alert(1)</script>\ud83d<!--"
    trial = attempt("a", outcome=Outcome.FAILED, kind=Kind.WRONG_CONTENT, reason=reason)
    content = written(cell_frame([square], [], [trial]), tmp_path / "c.html").decode()
    page = Elements(content)
    assert [tag for tag, _ in page.tags].count("script") == 2
    spec = re.search(r'id="spec">(.*?)</script>', content, re.DOTALL)
    assert spec is not None
    (rows,) = json.loads(spec.group(1))["datasets"].values()
    assert "<script>alert(1)</script>" in rows[0]["tooltip"]["most frequent failure"]


def test_unknown_suffixes_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    """The error lists every format."""
    drawing = draw(mixed(), Chart(), title="t")
    with pytest.raises(UsageError, match=r"\.gif") as error:
        save(drawing, tmp_path / "chart.gif")
    assert all(suffix in error.value.hint for suffix in SUFFIXES)


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    """A chart can be written into a new folder."""
    assert written(mixed(), tmp_path / "new" / "chart.json")


def test_what_cannot_be_written_says_where(tmp_path: Path) -> None:
    """A path that is a folder is an error of the user's, not a crash."""
    (tmp_path / "chart.svg").mkdir()
    with pytest.raises(UsageError, match=r"chart\.svg"):
        save(draw(mixed(), Chart(), title="t"), tmp_path / "chart.svg")
