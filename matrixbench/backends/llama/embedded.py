"""`python -m matrixbench.backends.llama.embedded`: llama.cpp's server out of a wheel.

Takes llama-server's flags and is llama-server to whoever asks it: the HTTP surface is llama.cpp's
own, compiled into `xllamacpp`. It runs as a child process like any other server.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import signal
import sys

from matrixbench.backends.llama.embedded_flags import FlagError, apply_flags, help_text
from matrixbench.backends.llama.executable import install_line


def main(argv: list[str]) -> int:
    """Run the server until SIGTERM or SIGINT; return 0, 1 (it cannot run) or 2 (bad flags)."""
    if {"-h", "--help", "--usage"} & set(argv):
        sys.stdout.write(help_text() + "\n")
        return 0
    if importlib.util.find_spec("xllamacpp") is None:
        return _complain(f"the embedded server is not installed: {install_line()}", 1)
    if "--version" in argv:
        sys.stderr.write(version_text() + "\n")
        return 0
    _wait_without_spinning()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.port = 0
    params.hostnames = ["127.0.0.1"]
    try:
        apply_flags(xllamacpp, params, argv)
    except FlagError as error:
        return _complain(str(error), 2)
    if not params.model.path:
        return _complain("no model: say --model FILE", 2)
    return _serve(xllamacpp.Server, params)


def _wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait for each other, unless the environment decides.

    By default they spin, which gains something on an idle machine and loses nine tenths of the
    speed on a busy one. OpenMP reads it when the library is loaded, so it is set before that. See
    docs/decisions/0005.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def version_text() -> str:
    """Return the version in llama-server's layout; the wheel does not know llama.cpp's own."""
    version = importlib.metadata.version("xllamacpp")
    return f"version: {version} (xllamacpp)\nbuilt for {platform.system()} {platform.machine()}"


def _serve(server_type: type, params: object) -> int:
    """Load the model, answer requests until a signal comes."""
    # The wheel holds Python's lock while it loads, so that no handler of Python could run: until
    # then a signal ends the process by its default action.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        server = server_type(params)
    except RuntimeError as error:
        return _complain(f"{error} The reason stands above.", 1)
    _await_signal()
    # Not `del server`: that waits for requests under way, for minutes if need be, and whoever sends
    # a signal wants them gone. The kernel frees everything.
    sys.stderr.write(f"stopped listening on {server.listening_address}\n")
    sys.stderr.flush()
    os._exit(0)


def _await_signal() -> None:
    """Return at the first SIGTERM or SIGINT, whichever thread the kernel hands it to.

    The handler's C part writes to a pipe from any of llama.cpp's threads; waiting in
    `signal.pause()` would miss a signal that another thread took.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    os.read(reading, 1)


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
