"""A package of somebody else's brings a kind of backend and a check; here it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import jsonschema
import pytest
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder with the example's experiment, and an environment with the installed package."""

    folder: Path
    env: dict[str, str]

    def __call__(self, command: str, *words: str, code: int = 0) -> str:
        """Run a command on the experiment and return what it printed, which has to end so."""
        file = () if command == "schema" else ("experiment.yaml",)
        done = subprocess.run(
            [sys.executable, "-m", "matrixbench", command, *file, *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def rewrite(self, old: str, new: str) -> None:
        """Change the experiment."""
        path = self.folder / "experiment.yaml"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package with pip, as a user would, from a copy of its folder."""
    folder = tmp_path_factory.mktemp("installed")
    copytree(HERE, folder / "source", ignore=ignore_patterns("__pycache__", "test_*"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", folder / "site", folder / "source"], check=True)
    return folder / "site"


@pytest.fixture
def place(site: Path, tmp_path: Path) -> Place:
    """Return the experiment in a folder of its own, with mlx_lm.server on PATH."""
    program = tmp_path / "bin" / "mlx_lm.server"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n" + (HERE / "mlx_lm_server.py").read_text("utf-8"))
    program.chmod(0o755)
    copy(HERE / "experiment.yaml", tmp_path)
    env = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": f"{site}:{ROOT}",
        "MATRIXBENCH_CACHE": str(tmp_path / "cache"),
    }
    return Place(folder=tmp_path, env=env)


def test_its_kind_and_its_check_are_used_like_ours(place: Place) -> None:
    """Validated, planned, run, judged, looked at, reproduced: nothing of ours names the kind."""
    assert "fine (1 test)" in place("validate")
    assert "2 launches; 8 trials: 0 done, 8 to run; 2 server starts" in place("plan")
    assert "mlx_lm.server is there" in place("doctor")
    assert "8 trials in" in place("execute")
    assert "4 passed, 4 failed" in place("status")
    assert "8 done, 0 to run" in place("plan")
    which = "temperature=1 and options.num-draft-tokens=2"
    shown = place("show", "--trial", "0", "--where", which)
    assert "the reply holds <|im_end|>" in shown
    assert "mlx_lm.server --model mlx-community/SmolLM2-135M-Instruct --host 127.0.0.1" in shown
    assert "curl -sS http://127.0.0.1:" in shown


def test_a_changed_check_judges_the_stored_replies_again(place: Place) -> None:
    """Its arguments and its content are part of what a verdict is of."""
    place("execute")
    place.rewrite("<|assistant|>", "<|im_end|>")
    assert "8 stored replies judged again" in place("execute", "--resume")
    assert "4 passed, 4 failed" in place("status")
    place.rewrite('["<|im_end|>"]', '["<|im_end|>", "<|assistant|>"]')
    place("execute", "--resume")
    assert "8 passed" in place("status")


def test_what_is_wrong_is_told_with_its_place(place: Place) -> None:
    """An unknown key, an option that is not the file's, a check that nobody brings."""
    place.rewrite("kind: mlx-lm", "kind: mlx-lm, slot: 2")
    assert "experiment.yaml:3:32: unknown key «slot»" in place("validate", code=2)
    place.rewrite("slot: 2", "slots: 2")
    place.rewrite("num-draft-tokens: [2, 4]", "port: [1]")
    assert "the option «port» is not given here" in place("validate", code=2)
    place.rewrite("port: [1]", "num-draft-tokens: 2")
    place.rewrite("check: no-special-tokens", "check: no-special-token")
    assert "perhaps you meant no-special-tokens" in place("plan", code=6)


def test_what_it_cannot_honour_does_not_apply(place: Place) -> None:
    """A sampling field that its server would drop is listed, not sent."""
    place.rewrite("temperature: [0, 1]", "min_p: [0.1], xtc_threshold: [null, 0.1]")
    told = place("plan")
    assert "2 cells in 2 launches" in told
    assert "2  mlx_lm.server has no xtc_threshold" in told


def test_the_schema_knows_it(place: Place) -> None:
    """Editors complete the kind's keys, and the names of installed checks."""
    schema = json.loads(place("schema"))
    backend = schema["$defs"]["MlxLmBackend"]["properties"]
    assert backend["slots"]["description"].startswith("Requests that the server works on")
    assert schema["$defs"]["NamedCheck"]["properties"]["check"]["examples"] == ["no-special-tokens"]
    experiment = yaml.safe_load((place.folder / "experiment.yaml").read_text("utf-8"))
    jsonschema.validate(experiment, schema)


def test_a_package_that_cannot_be_imported_harms_nobody_else(place: Place, site: Path) -> None:
    """Files of other kinds work; one of its own, and doctor, say what is wrong with it."""
    module = site / "matrixbench_mlx_lm" / "backend.py"
    whole = module.read_text("utf-8")
    module.write_text("import not_there\n", "utf-8")
    try:
        assert "the package matrixbench-mlx-lm brings «mlx-lm», but" in place("validate", code=2)
        own = "{kind: mlx-lm, options: {num-draft-tokens: [2, 4]}}"
        place.rewrite(own, "{kind: scripted, replies: [Paris]}")
        assert "No module named 'not_there'" in place("doctor")
    finally:
        module.write_text(whole, "utf-8")
