"""How long a plan of a million cells takes, and how much memory: nothing done, and all done.

    python tests/benchmarks/bench_plan.py [nothing|all|old|stopped]

With `all` a store of a million trials is written first (about a minute, 600 MB in a temporary
folder); with `old` they have the seeds of versions before. With `stopped` trials are adaptive, and
the one that each cell has is enough: the plan has to read every verdict.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

from matrixbench.execution.settings import Settings
from matrixbench.gated import build_plan
from matrixbench.records import ChatReply, Judgement, Outcome, Timing, Trial, TrialKey
from matrixbench.spec.load import Experiment, load_experiment
from matrixbench.store.database import open_store
from matrixbench.store.rows import LaunchRecord

TEXT = """
name: big
trials: {trials}
limits: {{cells: 2000000}}
backends: {{fake: {{kind: scripted, replies: [a]}}}}
sampling:
  temperature: {temperatures}
  top_p: {top_ps}
tests:
  - name: t-{{{{ i }}}}
    parameters: {{i: {numbers}}}
    messages: [{{role: user, content: "{{{{ i }}}}"}}]
    expect: [{{content: a}}]
"""


TRIALS = {"stopped": "{min: 1, max: 50, until: {half_width: 0.49}}"}
"""What is planned → how many trials; 1 unless said."""


def main(folder: Path, what: str) -> None:
    """Plan the experiment and print seconds and peak memory."""
    path = folder / "big.yaml"
    path.write_text(
        TEXT.format(
            temperatures=[i / 100 for i in range(1, 101)],
            top_ps=[i / 101 for i in range(1, 101)],
            numbers=list(range(100)),
            trials=TRIALS.get(what, "1"),
        ),
        encoding="utf-8",
    )
    settings = Settings(store=folder / "r.db", cache=folder / "cache", environ={})
    experiment = load_experiment(path, environ={})
    if what.startswith("fill"):
        asyncio.run(fill(experiment, settings, old=what == "fill-old"))
    began, worked = time.perf_counter(), time.process_time()
    plan = build_plan(load_experiment(path, environ={}), settings).plan
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{plan.cells:,} cells, {plan.done:,} done: {seconds:.1f} s ({worked:.1f} s of work), "
        f"peak {peak_mb:.0f} MB"
    )


async def fill(experiment: Experiment, settings: Settings, *, old: bool) -> None:
    """Write one trial for every cell, in a child's memory's stead: rows are not kept."""
    prepared = build_plan(experiment, settings)
    checks = next(iter(prepared.prompts.checks.values())).digest
    launch = prepared.plan.launches[0]
    build = launch.build.build
    assert build is not None
    with open_store(settings.store, create=True) as store, store.writer() as writer:
        number = await asyncio.to_thread(
            writer.start_launch,
            LaunchRecord(
                experiment="big",
                digest=launch.launch.digest,
                name=launch.launch.name,
                build=build,
                started_at=time.time(),
                request_timeout_s=300,
            ),
        )
        for order, cell in enumerate(launch.cells):
            seed = experiment.file.seed if old else prepared.seeds.first(cell)
            key = TrialKey(cell=cell.id, build=build.id, seed=seed, generation=0)
            reply = ChatReply(message={"content": "a"}, content="a", timing=Timing(latency_s=0.1))
            await writer.put(
                Trial(
                    key=key,
                    trial=0,
                    launch=number,
                    order=order,
                    request="0",
                    started_at=0.0,
                    reply=reply,
                    refusal=None,
                    judgement=Judgement(outcome=Outcome.PASSED),
                    checks=checks,
                )
            )


if __name__ == "__main__":
    asked = sys.argv[1] if sys.argv[1:] else "nothing"
    if asked.startswith("fill"):
        main(Path(sys.argv[2]), asked)
        sys.exit()
    with tempfile.TemporaryDirectory() as name:
        if asked != "nothing":
            # The peak that counts is the plan's, so the store is filled by a process of its own.
            import subprocess

            part = "fill-old" if asked == "old" else "fill"
            filler = [sys.executable, __file__, part, name]
            subprocess.run(filler, check=True, stdout=subprocess.DEVNULL)
        main(Path(name), asked)
