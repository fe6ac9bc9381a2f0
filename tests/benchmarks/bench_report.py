"""Measure a report: `python tests/benchmarks/bench_report.py [trials] [folder]`; prints figures.

It stores trials of 1,000 cells, each with a reply of its own of about 900 letters, makes the report
by the command, and opens it in Chromium over file://. To hold for 100,000 trials: a page of 65 MB,
the map shown in 1 s, a transcript in 50 ms, all texts searched in 4 s, a heap of 100 MB.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from playwright.sync_api import sync_playwright

from matrixbench.execution.settings import settings_for
from matrixbench.gated import build_plan
from matrixbench.records import (
    ChatReply,
    Judgement,
    Kind,
    Outcome,
    Timing,
    Trial,
    TrialKey,
    Verdict,
)
from matrixbench.spec.load import load_experiment
from matrixbench.store.database import open_store
from tests.output.report.browser import launched

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELLS = 1000
EXPERIMENT = """
name: many
description: Does the page stand a hundred thousand replies?
trials: {trials}
backends: {{fake: {{kind: scripted, replies: [Paris]}}}}
sampling: {{temperature: [{temperatures}]}}
tests:
  - name: test-{{{{ number }}}}
    parameters: {{number: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}}
    messages: [{{role: user, content: "Question {{{{ number }}}}?"}}]
    expect: [{{content: {{contains: Paris}}}}]
"""
NEEDLE = "xyzzyplugh"


def fill(folder: Path, count: int) -> None:
    """Run one trial of each cell, and store the others as if they had run."""
    file = folder / "many.yaml"
    temperatures = ", ".join(f"{number / 100:g}" for number in range(1, 101))
    file.write_text(EXPERIMENT.format(trials=count // CELLS, temperatures=temperatures))
    run(folder, "execute", "many.yaml", "--trials", "1")
    experiment = load_experiment(file, environ={})
    settings = settings_for(experiment)
    prepared = build_plan(experiment, settings)
    random = Random(1)
    letters = "etaoinshrdlucmfwyp"
    words = ["".join(random.choices(letters, k=random.randint(2, 9))) for _ in range(4000)]
    weights = [1 / (place + 1) for place in range(len(words))]
    with open_store(settings.store, create=False) as store:
        (launch,) = store.launches()
        seeds = {cell.id: prepared.seeds.first(cell) for cell, *_ in prepared.cells()}
        first = list(store.trials("many", first_seed=seeds))
        with store.writer() as writer:
            for index in range(1, count // CELLS):
                for row in first:
                    text = " ".join(random.choices(words, weights, k=150))
                    if random.random() < 1 / 10_000:
                        text += f" {NEEDLE}"
                    passed = random.random() < 0.5
                    reason = "" if passed else f'expected text with "Paris", found "{text[:60]}"'
                    kind = None if passed else Kind.WRONG_CONTENT
                    verdict = Verdict(check="content", passed=passed, kind=kind, reason=reason)
                    writer.offer(
                        Trial(
                            key=TrialKey(
                                cell=row.cell, build=row.build, seed=row.seed + index, generation=0
                            ),
                            trial=index,
                            launch=launch.id,
                            order=index,
                            request=row.request,
                            started_at=row.started_at + index,
                            reply=ChatReply(
                                message={"role": "assistant", "content": text},
                                content=text,
                                finish_reason="stop",
                                prompt_tokens=20,
                                completion_tokens=150 + random.randrange(40),
                                timing=Timing(
                                    latency_s=random.random(),
                                    time_to_first_token_s=random.random() / 10,
                                ),
                            ),
                            refusal=None,
                            judgement=Judgement(
                                outcome=Outcome.PASSED if passed else Outcome.FAILED,
                                kind=kind,
                                reason=reason,
                                verdicts=(verdict,),
                            ),
                            checks=row.checks,
                            concurrency=row.concurrency,
                        ),
                        {},
                    )


def run(folder: Path, *words: str) -> None:
    """Run a command to its end."""
    subprocess.run([sys.executable, "-m", "matrixbench", *words], cwd=folder, check=True)


def opened(page_file: Path) -> None:
    """Open the page and print what it takes."""
    with sync_playwright() as playwright, launched(playwright) as browser:
        maps, transcripts = [], []
        for _ in range(3):
            page = browser.new_page()
            page.goto(page_file.as_uri(), wait_until="commit")
            page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
            maps.append(page.evaluate("performance.now()"))
            page.wait_for_load_state("load", timeout=60_000)
            rows = page.locator("tbody th a")
            for place in range(5):
                href = rows.nth(place * 17).get_attribute("href") or ""
                transcripts.append(page.evaluate(TRANSCRIPT, f"{href}&trial={place * 3 + 1}"))
                page.evaluate("location.hash = ''")
                page.wait_for_selector("#question")
            print(f"heap {heap(page):.0f} MB", flush=True)
            if len(maps) < 3:
                page.close()
        print(f"map shown after {statistics.median(maps) / 1000:.2f} s")
        median, worst = statistics.median(transcripts), max(transcripts)
        print(f"a transcript: median {median:.0f} ms, worst {worst:.0f} ms")
        started = time.perf_counter()
        page.evaluate(f"location.hash = '#search={NEEDLE}'")
        page.wait_for_selector("main [role=status]:text-matches('^[0-9]+ hit')", timeout=60_000)
        print(f"search: {time.perf_counter() - started:.1f} s")
        print(f"heap {heap(page):.0f} MB after it")


TRANSCRIPT = """(hash) => new Promise((done) => {
    const started = performance.now();
    const seen = new MutationObserver(() => {
        if (!document.querySelector("#trial")) return;
        seen.disconnect();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
    });
    seen.observe(document.body, {childList: true, subtree: true});
    location.hash = hash;
})"""
"""From the click until the browser has laid the transcript out."""


def heap(page: Page) -> float:
    """Return the page's heap after a collection, in MB."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def main() -> None:
    """Measure all."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else made)
        if not (folder / "many.yaml").exists():
            fill(folder, count)
        if not (folder / "many.html").exists():
            started = time.perf_counter()
            run(folder, "report", "many.yaml", "-o", "many.html")
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(f"made in {time.perf_counter() - started:.0f} s, with {peak:.0f} MB of memory")
        print(f"a page of {(folder / 'many.html').stat().st_size / 1e6:.1f} MB")
        opened(folder / "many.html")


if __name__ == "__main__":
    main()
