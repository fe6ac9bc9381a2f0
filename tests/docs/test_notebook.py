"""The page about Python as a notebook, in a real kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.test_docs import python_page

if TYPE_CHECKING:
    from tests.conftest import Write

pytest.importorskip("nbclient", reason="a kernel comes with the dependency group dev")
pytest.importorskip("ipykernel", reason="a kernel comes with the dependency group dev")

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
import nbclient, nbformat
notebook = nbformat.v4.new_notebook(
    cells=[nbformat.v4.new_code_cell(code) for code in json.load(sys.stdin)]
)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""
MANY_SQUARES = """
import pandas as pd
many = pd.concat([cells.iloc[:1]] * 10_000, ignore_index=True)
many["x"], many["y"] = [i % 100 for i in range(10_000)], [i // 100 for i in range(10_000)]
mb.draw(many, mb.Chart(x="x", y="y"))
"""
PROGRESS_OF_RUN = """
with mb.show_progress() as progress:
    summary = mb.run(experiment, mode="fresh", listener=progress)
"""


def displayed(outputs: list[dict[str, Any]]) -> dict[str, str]:
    """Return what a cell shows beside its streams, by kind of content."""
    return {
        kind: "".join(text)
        for output in outputs
        if output["output_type"] != "stream"
        for kind, text in output["data"].items()
    }


def test_the_page_runs_in_a_notebook(write: Write, tmp_path: Path) -> None:
    """Progress is one output that ends with the numbers; charts display, 10,000 squares too."""
    experiment, code = python_page()
    write(experiment)
    code += [PROGRESS_OF_RUN, MANY_SQUARES, "experiment", "prepared", "comparison"]
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(code),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout.splitlines()[-1])
    awaited = next(i for i, text in enumerate(code) if "await" in text)
    for cell in (outputs[awaited], outputs[-5]):
        shown = displayed(cell)
        assert "160/160 trials" in shown["text/plain"]
        assert '<progress value="160" max="160">' in shown["text/html"]
    drawn = next(i for i, text in enumerate(code) if text.endswith("drawing\n"))
    for cell in (outputs[drawn], outputs[-4]):
        assert any("html" in kind or "vega" in kind for kind in displayed(cell))
    assert [displayed(cell)["text/plain"].partition(":")[0] for cell in outputs[-3:]] == [
        "<experiment capitals",
        "<plan of capitals",
        "<comparison of after with backend=before",
    ]
