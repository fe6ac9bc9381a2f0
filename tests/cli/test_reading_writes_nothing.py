"""Commands that look leave the store as it is, also where checks have changed.

`compare` is none of them: it keeps that it has looked, and says so where it cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 4
backends: {fake: {kind: scripted, replies: [Paris, London]}}
sampling: {temperature: [0.5, 1]}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Paris}}]
"""


def stored(cli: CommandLine) -> dict[str, bytes]:
    """Return what is in the store's folder, but for the index that SQLite shares in memory."""
    folder = cli.folder / ".matrixbench"
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-shm"]
    return {str(path): path.read_bytes() for path in files if path.stat().st_size}


def test_changed_checks_count_and_are_not_written(cli: CommandLine, write: Write) -> None:
    """Each look judges by the present checks; `execute` is what keeps it."""
    write(EXPERIMENT)
    assert cli("execute", "exp.yaml").returncode == 0
    write(EXPERIMENT.replace("contains: Paris", 'matches: "Paris|London"'))
    before = stored(cli)
    for words in (
        ("plan",),
        ("status",),
        ("show",),
        ("show", "--trial", "1", "--where", "temperature=1"),
        ("rank", "--by", "temperature"),
        ("export", "--trials"),
        ("chart", "-o", "p.json"),
    ):
        done = cli(words[0], "exp.yaml", *words[1:])
        assert done.returncode == 0, (words, done.stderr)
        if words[0] != "plan":
            assert "stored replies judged by the present checks" in done.stderr
        assert stored(cli) == before, words
    assert "8 passed" in cli("status", "exp.yaml").stdout
    kept = cli("execute", "exp.yaml", "--resume")
    assert "8 stored replies judged again, 4 verdicts changed" in kept.stderr
    assert "judged" not in cli("status", "exp.yaml").stderr
