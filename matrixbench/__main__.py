"""`python -m matrixbench`, and the console script."""

from __future__ import annotations

import os
import signal
from typing import NoReturn


def _leave(_signal: int, _frame: object) -> NoReturn:
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__" or signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while all else is imported would print a traceback.
    signal.signal(signal.SIGINT, _leave)

from matrixbench.cli import main  # noqa: E402  the handler comes first

if __name__ == "__main__":
    main()
