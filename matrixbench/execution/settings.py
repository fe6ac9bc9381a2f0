"""Where a run keeps things, and the environment that it sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.spec.load import Experiment

STORE_VARIABLE = "MATRIXBENCH_STORE"
CACHE_VARIABLE = "MATRIXBENCH_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run needs to know of its surroundings.

    Args:
        store: The store's file.
        cache: The folder for models from packages and for files' digests, shared by all runs.
        environ: The environment variables.
        here: The folder of the experiment file.
    """

    store: Path
    cache: Path
    environ: Mapping[str, str] = field(repr=False)
    here: Path | None = None


def settings_for(
    experiment: Experiment,
    environ: Mapping[str, str] | None = None,
    *,
    store: str | Path | None = None,
) -> Settings:
    """Return the settings for an experiment, as `settings_in` its file's folder.

    Without `environ` its own environment counts, in which it was loaded.
    """
    environ = experiment.environ if environ is None else environ
    return settings_in(experiment.path.parent, environ, store=store)


def settings_in(
    folder: Path, environ: Mapping[str, str], *, store: str | Path | None = None
) -> Settings:
    """Return the settings for experiments in a folder.

    The store is the one named, else `$MATRIXBENCH_STORE`, else `.matrixbench/results.db` in
    the folder; the cache `$MATRIXBENCH_CACHE`, else the user's cache folder.
    """
    from platformdirs import user_cache_path  # noqa: PLC0415  only where a run needs it

    named = environ.get(STORE_VARIABLE)
    beside = folder / ".matrixbench" / "results.db"
    cache = environ.get(CACHE_VARIABLE)
    return Settings(
        store=Path(store or (Path(named).expanduser() if named else beside)).absolute(),
        cache=Path(cache).expanduser() if cache else user_cache_path("matrixbench"),
        environ=environ,
        here=folder,
    )
