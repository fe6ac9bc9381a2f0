"""Measure much of everything: `python tests/benchmarks/bench_volume.py [part …] [--folder F]`.

Each part is a command of its own, in a process of its own; printed are its seconds, those of its
CPU time, and the peak of its memory. `show` is about 2,000 replies of 200 KB, `problems` about a
file with 60,000 duplicate keys, `squares` about pictures of 100,000 cells. What is stored in a
folder that is kept is not run again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LONG = """
name: long
trials: 1000
backends: {{fake: {{kind: scripted, replies: ["{reply}"]}}}}
sampling: {{temperature: [1, 0.5]}}
tests:
  - name: hi
    messages: [{{role: user, content: "Say much."}}]
    expect: [{{content: {{contains: Paris}}}}]
"""

MANY = """
name: many
trials: 1
greedy_trials: 1
backends: {{fake: {{kind: scripted, replies: [Paris, London]}}}}
sampling: {{temperature: [{temperatures}]}}
tests:
{tests}
"""

TEST = '  - {{name: "t{number}", messages: [{{role: user, content: "{number}"}}], \
expect: [{{content: {{contains: Paris}}}}]}}'


def measured(name: str, folder: Path, *arguments: str, output: str = os.devnull) -> None:
    """Run a command and print what it took."""
    started = time.perf_counter()
    with (folder / "errors").open("wb") as errors, Path(folder, output).open("wb") as out:
        line = [sys.executable, "-m", "matrixbench", *arguments]
        child = subprocess.Popen(line, cwd=folder, stdout=out, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    peak, told = usage.ru_maxrss * 1024 / 1e6, (folder / "errors").stat().st_size / 1e3
    print(
        f"{name:32} {seconds:6.1f} s (CPU {cpu:5.1f} s) {peak:7.0f} MB  exit {child.returncode}  "
        f"messages {told:,.0f} kB",
        flush=True,
    )


def show(folder: Path) -> None:
    """Store long replies and read them all."""
    (folder / "long.yaml").write_text(LONG.format(reply="Paris is large. " * 12_500))
    measured("run 2,000 × 200 KB", folder, "execute", "long.yaml")
    measured("show --json", folder, "show", "long.yaml", "--json")
    measured("show", folder, "show", "long.yaml")


def problems(folder: Path) -> None:
    """Complain about 60,000 duplicate keys."""
    keys = "\n".join(f"  a: {number}" for number in range(60_001))
    (folder / "twice.yaml").write_text(f"name: twice\nx-keys:\n{keys}\n")
    measured("validate 60,000 duplicate keys", folder, "validate", "twice.yaml")


def squares(folder: Path) -> None:
    """Refuse to draw 100,000 cells, and draw 10,000 of them in each format."""
    temperatures = ", ".join(f"{number / 200:g}" for number in range(200))
    tests = "\n".join(TEST.format(number=number) for number in range(500))
    (folder / "many.yaml").write_text(MANY.format(temperatures=temperatures, tests=tests))
    measured("run 100,000 cells", folder, "execute", "many.yaml")
    measured("chart of all, refused", folder, "chart", "many.yaml", "-o", "many.png")
    few = ("--where", "temperature<0.1")
    for name in ("few.png", "few.svg", "few.html", "few.json"):
        measured(f"10,000 squares: {name}", folder, "chart", "many.yaml", "-o", name, *few)


PARTS = {"show": show, "problems": problems, "squares": squares}


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--folder", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for part in wanted.parts or ("show", "problems", "squares"):
            PARTS[part](wanted.folder or Path(folder))


if __name__ == "__main__":
    main()
