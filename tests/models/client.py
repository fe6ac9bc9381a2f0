"""A process that fetches a model: `python client.py CACHE MODEL`, the model in JSON.

It writes JSON lines: each progress as `{"what": …}`, and at last `{"path": …}` or `{"error": …}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.errors import ModelError
from matrixbench.models.sources import fetch
from matrixbench.spec.models import Model

if TYPE_CHECKING:
    from matrixbench.models.workers import FetchProgress


def say(**told: object) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def report(progress: FetchProgress) -> None:
    """Tell what is being done."""
    say(what=progress.what)


def main() -> None:
    """Fetch once."""
    model = Model.model_validate_json(sys.argv[2])
    try:
        files = asyncio.run(
            fetch(model, cache=Path(sys.argv[1]), environ=os.environ, report=report)
        )
        say(path=str(files.paths[0]))
    except ModelError as error:
        say(error=str(error))


if __name__ == "__main__":
    main()
