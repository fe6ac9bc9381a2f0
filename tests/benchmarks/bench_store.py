"""Measure the store: `python tests/benchmarks/bench_store.py [trials] [folder]`; prints figures.

It writes trials with replies of some 300 bytes through the writer, alone and beside an event loop
that computes all the time, then reads a store of that many cells back. Each part runs in a process
of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.identity import digest
from matrixbench.records import (
    Build,
    ChatReply,
    Judgement,
    Outcome,
    Timing,
    ToolCall,
    Trial,
    TrialKey,
    Verdict,
)
from matrixbench.store.database import open_store
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.records import JsonObject

BUILD = Build(id="b" * 24, kind="llama-server", server="s" * 64)
REQUEST = digest({"messages": "bench"})
BODY: JsonObject = {"messages": [{"role": "user", "content": "What is the weather?"}]}


def _trial(number: int, launch: int) -> Trial:
    arguments = '{"location": "Istanbul, Turkey", "unit": "celsius"}'
    content = f"I will look up the weather for trial {number}. " + "It takes a moment. " * 4
    call = {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "get_weather", "arguments": arguments},
    }
    return Trial(
        key=TrialKey(cell=digest(number), build=BUILD.id, seed=1, generation=0),
        trial=0,
        launch=launch,
        order=number,
        request=REQUEST,
        started_at=1.7e9 + number,
        reply=ChatReply(
            message={"role": "assistant", "content": content, "tool_calls": [call]},
            content=content,
            tool_calls=(ToolCall(name="get_weather", arguments=arguments, id=f"call_{number}"),),
            finish_reason="tool_calls",
            prompt_tokens=180,
            completion_tokens=40,
            timing=Timing(latency_s=0.4211, time_to_first_token_s=0.0713),
        ),
        refusal=None,
        judgement=Judgement(
            outcome=Outcome.PASSED, verdicts=(Verdict(check="tool_call", passed=True),)
        ),
        checks=digest("checks"),
    )


def _launch() -> LaunchRecord:
    return LaunchRecord(
        experiment="bench",
        digest=digest("launch"),
        name="bench",
        build=BUILD,
        started_at=1.7e9,
        request_timeout_s=300.0,
    )


def write(path: Path, count: int) -> None:
    """Write trials as fast as the writer takes them."""
    groups: list[int] = []
    with open_store(path, create=True) as store:
        with store.writer(lambda trials: groups.append(len(trials))) as writer:
            launch = writer.start_launch(_launch())
            made = [_trial(number, launch) for number in range(min(count, 20_000))]
            started = time.perf_counter()
            for trial in made:
                writer.offer(trial, BODY)
        seconds = time.perf_counter() - started
    _say("written, from a full queue", len(made), seconds)
    _say_groups(groups)


def write_beside_work(path: Path, count: int) -> None:
    """Write trials beside an event loop that is busy, at the pace that both reach together."""
    asyncio.run(_write_beside_work(path, min(count, 20_000)))


async def _write_beside_work(path: Path, count: int) -> None:
    groups: list[int] = []
    with open_store(path, create=True) as store:
        with store.writer(lambda trials: groups.append(len(trials))) as writer:
            launch = await asyncio.to_thread(writer.start_launch, _launch())
            made = [_trial(number, launch) for number in range(count)]
            started = time.perf_counter()
            for trial in made:
                await writer.put(trial, BODY)
                sum(range(4000))  # about 100 µs, as an HTTP exchange costs
                await asyncio.sleep(0)
            offered = time.perf_counter() - started
        seconds = time.perf_counter() - started
    _say("handed over beside a busy event loop", count, offered)
    _say("… and stored", count, seconds)
    _say_groups(groups)


def write_long(path: Path, count: int) -> None:
    """Write replies of 200 KB, handed over as fast as they can be made."""
    asyncio.run(_write_long(path, min(count, 3_000)))


async def _write_long(path: Path, count: int) -> None:
    with open_store(path, create=True) as store:
        with store.writer() as writer:
            launch = await asyncio.to_thread(writer.start_launch, _launch())
            started = time.perf_counter()
            for number in range(count):
                text = f"{number:<10}" * 20_000
                said = {"role": "assistant", "content": text}
                reply = ChatReply(message=said, content=text, timing=Timing(latency_s=0.4))
                await writer.put(replace(_trial(number, launch), reply=reply), BODY)
        seconds = time.perf_counter() - started
    _say("replies of 200 KB stored", count, seconds)


def fill(path: Path, count: int) -> None:
    """Make a store with one trial in each of `count` cells."""
    with open_store(path, create=True) as store, store.writer() as writer:
        launch = writer.start_launch(_launch())
        started = time.perf_counter()
        for number in range(count):
            if number % 4096 == 0:
                while writer.backlog > 4096:
                    threading.Event().wait(0.01)
            writer.offer(_trial(number, launch), BODY)
    _say("made and written one by one", count, time.perf_counter() - started)
    print(f"  file: {path.stat().st_size / 1e6:.0f} MB")


def progress(path: Path, count: int) -> None:
    """Read what is done."""
    with open_store(path, create=False) as store:
        started = time.perf_counter()
        known = store.progress("bench", first_seed=1, trials=10, request_timeout_s=300.0)
        seconds = time.perf_counter() - started
    _say("progress", sum(map(len, known.values())), seconds)
    assert len(known[BUILD.id]) == count


def trials(path: Path, count: int) -> None:
    """Read all trials as tables need them."""
    with open_store(path, create=False) as store:
        started = time.perf_counter()
        read = sum(1 for _ in store.trials("bench", first_seed=1, trials=10))
        seconds = time.perf_counter() - started
    _say("trials", read, seconds)
    assert read == count


def stale(path: Path, count: int) -> None:
    """Look for replies to judge again, where there is none."""
    checks = {digest(number): digest("checks") for number in range(count)}
    with open_store(path, create=False) as store:
        started = time.perf_counter()
        read = sum(1 for _ in store.stale(checks))
        seconds = time.perf_counter() - started
    _say("looked through for stale judgements", count, seconds)
    assert read == 0


def durations(path: Path, count: int) -> None:
    """Read how long cells took."""
    with open_store(path, create=False) as store:
        started = time.perf_counter()
        store.durations()
        _say("latencies by cell", count, time.perf_counter() - started)


def _say(what: str, count: int, seconds: float) -> None:
    print(f"{what}: {count:,} in {seconds:.2f} s, {count / seconds:,.0f}/s")


def _say_groups(groups: Sequence[int]) -> None:
    print(f"  {len(groups)} commits, {sum(groups) / len(groups):.0f} trials each on average")


def _alone(part: Callable[[Path, int], None], path: Path, count: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    part(path, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"  peak of memory: {peak / 1024:.0f} MB ({before / 1024:.0f} MB before)", flush=True)


def main() -> None:
    """Run every part."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    folder = sys.argv[2] if len(sys.argv) > 2 else None
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        full, big = Path(made, "full.db"), Path(made, "big.db")
        for part, path in (
            (write, full),
            (write_beside_work, Path(made, "beside.db")),
            (write_long, Path(made, "long.db")),
            (fill, big),
            (progress, big),
            (trials, big),
            (stale, big),
            (durations, big),
        ):
            process = processes.Process(target=_alone, args=(part, path, count))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{part.__name__} failed")


if __name__ == "__main__":
    main()
