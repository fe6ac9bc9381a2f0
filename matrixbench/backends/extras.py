"""How an extra is added to this installation: by the line that works from where it came.

`pip install 'matrixbench[local]'` asks an index, and who installed a checkout, a repository or a
wheel has none that knows it. The installer wrote down where it took the package from
(`direct_url.json`, PEP 610).
"""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "matrixbench"
LOCAL = "local"
"""The extra that holds the embedded server."""


def install_line(extra: str = LOCAL) -> str:
    """Return the command that adds an extra to the matrixbench that runs."""
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        installed = None
    return line_for(extra, installed, Path(__file__).parents[2])


def line_for(extra: str, installed: Distribution | None, tree: Path) -> str:
    """Return the command that adds an extra to an installation.

    Args:
        extra: The extra.
        installed: What the installer wrote down; None where the code runs without being installed.
        tree: The folder that holds the running package: a checkout, or where packages are.
    """
    words = _source(extra, installed, tree)
    if not words:
        words = _requirements(extra, installed) or [f"{NAME}[{extra}]"]
    return shlex.join([sys.executable, "-m", "pip", "install", *words])


def _source(extra: str, installed: Distribution | None, tree: Path) -> list[str]:
    """Return what to install so that the extra comes with it; empty where its source is gone."""
    if (tree / "pyproject.toml").is_file():
        return ["-e", f"{tree}[{extra}]"]
    origin = _origin(installed)
    url = origin.get("url") if origin is not None else None
    if not isinstance(url, str) or origin is None:
        return [f"{NAME}[{extra}]"]
    parts = urlsplit(url)
    if (vcs := origin.get("vcs_info")) is not None:
        return [f"{NAME}[{extra}] @ {_repository(url, vcs, origin)}"]
    if parts.scheme != "file":
        return [f"{NAME}[{extra}] @ {_without_user(url)}"]
    path = Path(unquote(parts.path))
    if not path.exists():
        return []
    editable = isinstance(of := origin.get("dir_info"), dict) and of.get("editable")
    return [*(["-e"] if editable else []), f"{path}[{extra}]"]


def _origin(installed: Distribution | None) -> dict[str, Any] | None:
    """Return where an installer took the package from; None where it was an index."""
    text = None if installed is None else installed.read_text("direct_url.json")
    try:
        origin = json.loads(text) if text else None
    except ValueError:
        return None
    return origin if isinstance(origin, dict) else None


def _repository(url: str, vcs: dict[str, Any], origin: dict[str, Any]) -> str:
    revision = vcs.get("commit_id") or vcs.get("requested_revision")
    folder = origin.get("subdirectory")
    return (
        f"{vcs.get('vcs', 'git')}+{_without_user(url)}"
        f"{f'@{revision}' if revision else ''}{f'#subdirectory={folder}' if folder else ''}"
    )


def _without_user(url: str) -> str:
    """Return a url without the user and the password that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _requirements(extra: str, installed: Distribution | None) -> list[str]:
    """Return what an extra consists of: that can be had though the package's own source is gone."""
    mark = f"extra == '{extra}'"
    found = [] if installed is None else installed.requires or []
    wanted = [line.replace('"', "'") for line in found]
    return [line.partition(";")[0].strip() for line in wanted if mark in line]
