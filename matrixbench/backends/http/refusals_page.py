"""The page of the documentation that says what refusals mean: written from the table itself.

`python -m matrixbench.backends.http.refusals_page docs/refusals.md` writes it; without a path it is
printed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from matrixbench.backends.http.refusals import PROXY, STATUSES, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matrixbench.backends.http.refusals import Row

_COLUMNS = 110

_HEAD = """\
# What refusals mean

Servers refuse requests in many words. One table says what they mean, for every server and for both
APIs that are spoken here: the OpenAI chat API and Ollama's own. This page is written from it
(`matrixbench/backends/http/refusals.py`). [Outcomes](outcomes.md) says what outcomes and kinds are.

- The words are looked for in the body, in an `error` of any shape (a text, an object, a list,
  FastAPI's `detail`, a bare `message`), in what a proxy quotes of the server behind it, and in an
  event of a stream.
- The first row that matches decides. Words come before statuses: a 400 can be the parser's, and a
  500 can be the template's. Of 401, 402, 403 and 407 the words are about the key. They are not
  looked at, except for those of a moderation.
- What a server quotes (the prompt, or what the model wrote) is left out before.
- A status that the body names goes before the header's.

A row may say more than an outcome:

- *stands for the cell*: the request alone decides this, so that one trial is enough;
- *ends the launch*: no request can succeed;
- *asked again*: the server is busy or gone, and the next answer counts; it is tried
  [as often as the page about servers says](servers.md#when-a-request-is-sent-again);
- *alone*: sent once more with nothing beside it;
- *asked again, and counts*: nobody knows what it means. It is asked once more with the same seed,
  and is `rejected` whatever comes then, unless the server says that it was busy;
- *a second seed*: nobody knows what it means. It counts for its trial. It stands for the cell once
  a second seed got the same, and no trial of the cell got anything else.
"""

_TEXTS = """
## By what they say

The examples are what servers send. The pattern that finds them is a regular expression of Python's,
where upper and lower case are the same.
"""

_STATUSES = """
## By their status

For bodies in which no words are known, and for those that are empty.
"""


def page() -> str:
    """Return the page."""
    return "".join((_HEAD, _TEXTS, *_sections(), _STATUSES, *_statuses()))


def _sections() -> Iterator[str]:
    for number, row in enumerate(TEXTS, 1):
        yield f"\n### {number}. {row.kind}: {row.servers}\n\n"
        yield fill(f"{_becomes(row)}. Source: {row.source}.", _COLUMNS) + "\n\n```text\n"
        yield "".join(f"{' '.join(example.split())}\n" for example in row.examples)
        yield "```\n\n```text\n"
        if row.says is not None:
            yield f"{row.says.pattern}\n"
        yield "```\n"


def _statuses() -> Iterator[str]:
    yield "\n| status | of | outcome, kind | source |\n| --- | --- | --- | --- |\n"
    for row in (*STATUSES, PROXY):
        page = " with a web page" if row is PROXY else ""
        of = f"{row.servers} only" if row.proxied else row.servers
        yield f"| {_numbers(row.statuses or ())}{page} | {of} | {_becomes(row)} | {row.source} |\n"


def _becomes(row: Row) -> str:
    notes = [
        note
        for holds, note in (
            (row.by_request, "stands for the cell"),
            (row.stops_launch, "ends the launch"),
            (row.alone, "alone"),
            (row.unexplained and row.kind == "server_error", "asked again, and counts"),
            (row.unexplained and row.kind == "bad_request", "a second seed"),
            (row.is_load, "asked again"),
        )
        if holds
    ]
    return f"`{row.outcome}`, `{row.kind}`" + "".join(f", *{note}*" for note in notes)


def _numbers(statuses: Iterable[int]) -> str:
    """Return statuses with runs of them joined: `400–499`."""
    runs: list[list[int]] = []
    for status in sorted(statuses):
        if runs and status == runs[-1][-1] + 1:
            runs[-1].append(status)
        else:
            runs.append([status])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
