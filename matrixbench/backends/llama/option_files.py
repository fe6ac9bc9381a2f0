"""Which of llama-server's options name files."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from matrixbench.backends.llama.arguments import OWNED
from matrixbench.backends.option_files import PathOption, Use

if TYPE_CHECKING:
    from matrixbench.backends.llama.executable import HelpEntry, ServerHelp
    from matrixbench.backends.option_files import PathOptions

CONTENT = frozenset(
    {
        *("lora", "lora-scaled", "lora-base", "control-vector", "control-vector-scaled"),
        *("model-draft", "spec-draft-model", "mmproj", "model-vocoder", "tts-speaker-file"),
        *("grammar-file", "json-schema-file", "system-prompt-file", "lookup-cache-static"),
        *("mcp-servers-config", "media-path"),
    }
)
READ = frozenset(
    {
        *("path", "ui-config-file", "webui-config-file", "video-ffmpeg-dir"),
        "sqlite-zstd-ext-file",
    }
)
WRITTEN = frozenset(
    {
        *("log-file", "log-dir", "logdir", "log-prompts-dir", "slot-save-path"),
        *("lookup-cache-dynamic", "prompt-cache", "sql-save-file"),
    }
)
"""Paths that the server writes to."""

LOADS_CODE = frozenset({"mcp-servers-config", "sqlite-zstd-ext-file"})
"""Options that have a server start programs, or load a library, which their files name."""

FOLDERS = frozenset(
    {
        *("media-path", "path", "video-ffmpeg-dir"),
        *("log-dir", "logdir", "log-prompts-dir", "slot-save-path"),
    }
)
SEVERAL = frozenset({"lora", "lora-scaled", "control-vector", "control-vector-scaled"})

_ELSEWHERE = re.compile(r"hf-|model-url|docker-repo|.*-url$")
"""Their files are in a repository or at a url, whatever the help calls them."""

_PATH_WORD = re.compile(
    r"(?<![A-Za-z0-9])(?:\w+_)?(FNAME|FILENAME|FILE|PATH|DIR|DIRNAME|DIRECTORY|FOLDER)\d*(?![A-Za-z_])",
    re.IGNORECASE,
)
_FOLDER_WORDS = frozenset({"PATH", "DIR", "DIRNAME", "DIRECTORY", "FOLDER"})
_WRITES = re.compile(
    r"(^|\b(to|for) )(sav(e|ing)|writ(e|ing)|dump(ing)?|log(ging)?|record(ing)?)\b"
    r"|\b(updated by|auto-created)\b",
    re.IGNORECASE,
)
"""How a help speaks of a file that is made. Narrow: a file that is read and taken for one that is
written would be left out of the build without a word; the other way round it is a loud error."""

_COMMAS = "comma-separated"


def path_option(name: str, known: ServerHelp | None) -> PathOption | None:
    """Return how an option of llama-server names files; None for one that names none.

    Args:
        name: The long flag without its dashes.
        known: What the build's `--help` says; None where it cannot be read.
    """
    if name in OWNED or _ELSEWHERE.match(name):
        return None
    if known is None:
        return _by_table(name)
    entry = known.flags.get(f"--{name}")
    return None if entry is None else _by_help(name, entry)


def _by_table(name: str) -> PathOption | None:
    use = _listed(name)
    if use is None:
        return None
    return PathOption(
        use=use,
        several=name in SEVERAL,
        scaled=name.endswith("-scaled"),
        folder=name in FOLDERS,
    )


def _by_help(name: str, entry: HelpEntry) -> PathOption | None:
    word = _PATH_WORD.search(entry.value)
    use = _listed(name)
    if not entry.takes_value or (word is None and use is None):
        return None
    if use is None:
        use = Use.WRITTEN if _WRITES.search(entry.text) else Use.CONTENT
    called_folder = word is not None and word[1].upper() in _FOLDER_WORDS
    return PathOption(
        use=use,
        several=_COMMAS in entry.text,
        scaled="SCALE" in entry.value or name.endswith("-scaled"),
        folder=name in FOLDERS or (called_folder and _listed(name) is None),
    )


def _listed(name: str) -> Use | None:
    if name in CONTENT:
        return Use.CONTENT
    if name in READ:
        return Use.READ
    return Use.WRITTEN if name in WRITTEN else None


def llama_server_options(known: ServerHelp | None) -> PathOptions:
    """Return which texts of llama-server's options are paths: its `--help` says so."""
    return partial(path_option, known=known)
