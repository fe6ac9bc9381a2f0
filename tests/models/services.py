"""What the tests of models work with: small servers, small wheels, small GGUF files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.request import urlopen
from zipfile import ZIP_DEFLATED, ZipFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.models.workers import FetchProgress

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def gguf(mark: str = "", size: int = 4096) -> bytes:
    """Return the bytes of something that begins like a GGUF file."""
    return (b"GGUF\x03\0\0\0" + bytes(16) + mark.encode()).ljust(size, b"\x07")


def digest(body: bytes) -> str:
    """Return a sha256 in hex."""
    return sha256(body).hexdigest()


@dataclass(frozen=True)
class Service:
    """A server that runs."""

    ports: tuple[int, ...]

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def ask(self, path: str) -> bytes:
        """Return the answer to a question of the tests' own."""
        with urlopen(f"{self.url}/{path}") as answer:
            body: bytes = answer.read()
            return body

    def log(self) -> list[Any]:
        """Return what it was asked for."""
        told: list[Any] = json.loads(self.ask("log"))
        return told


@contextmanager
def running(program: str, *arguments: str) -> Iterator[Service]:
    """Start one of the programs beside this file; it is gone afterwards."""
    command = [sys.executable, str(HERE / program), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Service(ports=tuple(map(int, lines_of(process).readline().split()[1:])))
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str]) -> IO[str]:
    """Return a process's output."""
    assert process.stdout is not None
    return process.stdout


def start_client(cache: Path, model: str, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a process that fetches a model: client.py."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "client.py"), str(cache), model],
        env={**environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def lone_environ(home: Path) -> dict[str, str]:
    """Return an environment in which neither the user's settings nor the network are found."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "PIP_CACHE_DIR": str(home / "pip"),
        "PIP_CONFIG_FILE": os.devnull,
        "NO_PROXY": "*",
    }


def make_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, bytes], metadata: str = ""
) -> Path:
    """Write a wheel that pip takes for one."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for member, body in files.items():
            archive.writestr(member, body)
        for member, text in texts.items():
            archive.writestr(member, text)
    return path


@dataclass
class Told:
    """A report that keeps what it is told."""

    progress: list[FetchProgress] = field(default_factory=list)

    def __call__(self, progress: FetchProgress) -> None:
        """Keep it."""
        self.progress.append(progress)
