"""No server is shown with another's results: each gets its requests, and a guess says so."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.store.migrations import MIGRATIONS
from tests.cli.conftest import FAKE_SERVER
from tests.fake_servers import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

BEFORE_ORIGINS = 5
"""So many migrations had the version that kept no origins."""

REST = """
trials: 3
canary: false
sampling: {temperature: [0.7]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: Paris}}]}
"""
PARIS, LONDON = ({"role": "assistant", "content": word} for word in ("Paris", "London"))


def endpoints(*urls: tuple[str, str], name: str = "demo") -> str:
    """Return an experiment of endpoints by their names and urls, all with one model id."""
    listed = ", ".join(f"{key}: {{kind: endpoint, url: '{url}'}}" for key, url in urls)
    return f"name: {name}\nbackends: {{{listed}}}\nmodels: {{m: {{id: fake}}}}{REST}"


def binaries(**paths: str) -> str:
    """Return an experiment of llama-servers by their names and paths."""
    listed = ", ".join(
        f"{key}: {{kind: llama-server, binary: {path}, context: 512}}"
        for key, path in paths.items()
    )
    return f"name: demo\nbackends: {{{listed}}}\nmodels: {{m: {{gguf: model.gguf}}}}{REST}"


class Answering:
    """A server that always gives one reply, and how many chats it got."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = f"{url}/v1"
        self._log = log

    @property
    def chats(self) -> int:
        """How many chats it got."""
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0


@pytest.fixture
def good(tmp_path: Path) -> Iterator[Answering]:
    """Yield a server that passes every trial."""
    log = tmp_path / "good.log"
    with fake_server(FAKE_REPLY=json.dumps(PARIS), FAKE_LOG=str(log)) as url:
        yield Answering(url, log)


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[Answering]:
    """Yield a server that fails every trial."""
    log = tmp_path / "bad.log"
    with fake_server(FAKE_REPLY=json.dumps(LONDON), FAKE_LOG=str(log)) as url:
        yield Answering(url, log)


def planned(cli: CommandLine, *words: str) -> list[tuple[int, int, int, bool]]:
    """Return done, unverified, remaining and «verified» of each launch of the plan."""
    told = json.loads(cli("plan", "exp.yaml", "--json", *words).stdout)
    assert not any(launch["shared_with"] for launch in told["launches"])
    return [
        (launch["done"], launch["unverified"], launch["remaining"], launch["verified"])
        for launch in told["launches"]
    ]


def exported(cli: CommandLine, target: str = "exp.yaml") -> list[tuple[str, int, bool]]:
    """Return backend, passed trials and whether «unverified» stands there, of each cell."""
    rows = [json.loads(line) for line in cli("export", target).stdout.splitlines()]
    return [(row["backend"], row["passed"], row["unverified"] is not None) for row in rows]


def gate(cli: CommandLine, target: str = "exp.yaml", *words: str) -> CompletedProcess[str]:
    """Return what the gate says of `new` against `old`."""
    return cli("compare", target, "--baseline", "backend=old", "--gate", *words)


def test_a_second_endpoint_is_asked_itself(
    cli: CommandLine, write: Write, good: Answering, bad: Answering
) -> None:
    """Two urls, one model id, and a run that was cut off: the second one gets its requests."""
    write(endpoints(("old", good.url), ("new", bad.url)))
    assert cli("execute", "exp.yaml", "--where", "backend=old").returncode == 0
    assert planned(cli) == [(3, 0, 0, True), (0, 0, 3, False)]
    assert exported(cli) == [("old", 3, False), ("new", 0, False)]
    assert gate(cli).returncode == 9
    done = cli("execute", "exp.yaml", "--resume", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"failed": 3}
    assert (good.chats, bad.chats) == (3, 3)
    assert exported(cli) == exported(cli, "demo") == [("old", 3, False), ("new", 0, False)]
    assert planned(cli) == [(3, 0, 0, True), (3, 0, 0, True)]
    assert gate(cli, "exp.yaml", "--max-drop", "0.01").returncode == 9
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    assert (good.chats, bad.chats) == (3, 3)


def test_an_endpoint_that_is_added_later_is_asked_itself(
    cli: CommandLine, write: Write, good: Answering, bad: Answering
) -> None:
    """So is the only one of another experiment that shares the store."""
    write(endpoints(("old", good.url)))
    assert cli("execute", "exp.yaml").returncode == 0
    write(endpoints(("old", good.url), ("new", bad.url)))
    assert planned(cli) == [(3, 0, 0, True), (0, 0, 3, False)]
    write(endpoints(("new", bad.url), name="other"))
    assert planned(cli) == [(0, 0, 3, False)]
    assert exported(cli) == [("new", 0, False)]
    told = json.loads(cli("execute", "exp.yaml", "--json").stdout)
    assert (told["outcomes"], bad.chats) == ({"failed": 3}, 3)


def test_an_endpoint_at_another_url_is_another_server(
    cli: CommandLine, write: Write, good: Answering, bad: Answering
) -> None:
    """The old one's results are shown as unverified until it ran; a new name changes nothing."""
    write(endpoints(("old", good.url), ("new", good.url)))
    told = json.loads(cli("execute", "exp.yaml", "--json").stdout)
    assert (told["ran"], good.chats) == (3, 3)  # one server: they share
    assert gate(cli).returncode == 0
    write(endpoints(("old", good.url), ("renamed", good.url)))
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["done"], plan["remaining"], plan["unverified"]) == (3, 0, 0)
    write(endpoints(("old", good.url), ("new", bad.url)))
    assert planned(cli) == [(3, 0, 0, True), (0, 0, 3, False)]
    assert exported(cli) == [("old", 3, False), ("new", 3, True)]
    refused = gate(cli)
    assert refused.returncode == 9
    assert f"unverified build: the server at {bad.url} has not run" in squeezed(refused.stdout)
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    assert (good.chats, bad.chats) == (3, 3)
    assert exported(cli) == [("old", 3, False), ("new", 0, False)]


def test_what_a_gateway_is_asked_for_tells_servers_apart(
    cli: CommandLine, write: Write, good: Answering
) -> None:
    """Urls that differ in their query are two servers; one that differs in its key is not."""
    one, two = f"{good.url}?deployment=a", f"{good.url}?deployment=b"
    write(endpoints(("old", one), ("new", two)))
    assert json.loads(cli("execute", "exp.yaml", "--json").stdout)["ran"] == 6
    assert planned(cli) == [(3, 0, 0, True), (3, 0, 0, True)]
    write(endpoints(("old", f"{one}&key=0123456789"), ("new", two)))
    assert cli("execute", "exp.yaml", "--resume", "--where", "backend=old").returncode == 0
    write(endpoints(("old", f"{one}&key=9876543210"), ("new", two)))
    assert planned(cli) == [(3, 3, 0, False), (3, 0, 0, True)]
    assert gate(cli).returncode == 9
    assert json.loads(cli("execute", "exp.yaml", "--resume", "--json").stdout)["ran"] == 0
    assert planned(cli) == [(3, 0, 0, True), (3, 0, 0, True)]
    kept = (cli.folder / ".matrixbench" / "results.db").read_bytes()
    assert b"0123456789" not in kept
    assert b"9876543210" not in kept


def squeezed(text: str) -> str:
    """Return a text with every run of blanks and line ends as one blank."""
    return " ".join(text.split())


def test_a_binary_that_is_not_there_is_said_each_time(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """A typo in the path of the new build: given up, and given up again, and nothing passes."""
    write(
        binaries(old=f"./{fake_binary.name}", new="./llama-servr").replace(
            "contains: Paris", "matches: ."
        )
    )
    first = cli("execute", "exp.yaml")
    assert first.returncode == 7
    assert planned(cli) == [(3, 0, 0, True), (0, 0, 3, False)]
    again = cli("execute", "exp.yaml", "--resume")
    assert again.returncode == 4
    assert "llama-servr: there is no such file" in again.stderr
    assert exported(cli) == exported(cli, "demo") == [("old", 3, False), ("new", 0, False)]
    assert gate(cli).returncode == 9
    assert gate(cli, "demo").returncode == 9


def test_a_binary_that_is_gone_is_unverified_everywhere(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Its results are shown, every command marks them, and no gate passes on them."""
    other = fake_binary.with_name("other-server")
    shutil.copy(fake_binary, other)
    other.write_text(other.read_text() + "# another build\n")
    write(
        binaries(old="./llama-server", new="./other-server").replace(
            "contains: Paris", "matches: ."
        )
    )
    assert cli("execute", "exp.yaml").returncode == 0
    assert gate(cli).returncode in {0, 9}
    assert "unverified" not in gate(cli).stdout
    other.unlink()
    assert planned(cli) == [(3, 0, 0, True), (3, 3, 0, False)]
    assert exported(cli) == [("old", 3, False), ("new", 3, True)]
    for words in (
        ("plan", "exp.yaml"),
        ("plan", "exp.yaml", "--cells"),
        ("plan", "exp.yaml", "--builds"),
        ("status", "exp.yaml"),
        ("status", "exp.yaml", "--json"),
        ("show", "exp.yaml"),
        ("show", "exp.yaml", "--json"),
        ("show", "exp.yaml", "--where", "backend=new", "--trial", "0"),
        ("rank", "exp.yaml"),
        ("rank", "exp.yaml", "--json"),
        ("export", "exp.yaml", "--trials"),
        ("export", "exp.yaml", "--format", "tool-bench"),
    ):
        said = cli(*words)
        assert said.returncode == 0, said.stderr
        assert "unverified" in said.stdout, words
    rows = list(csv.DictReader(io.StringIO(cli("export", "exp.yaml", "--format", "csv").stdout)))
    assert [bool(row["unverified"]) for row in rows] == [False, True]
    drawn = cli("chart", "exp.yaml", "-o", "map.json")
    assert "new · m · native: shown is the build that ran last (unverified)" in drawn.stderr
    assert marked(cli) == ["new"]
    refused = gate(cli, "exp.yaml", "-o", "map.json")
    assert refused.returncode == 9
    assert "undecided whether the drop is at most 0.1: unverified build" in refused.stdout
    assert "there is no such file" in squeezed(refused.stdout)
    assert marked(cli) == ["new"]
    told = json.loads(gate(cli, "exp.yaml", "--json").stdout)["candidates"][0]
    assert "no such file" in told["gate"]["unverified"][0]
    assert told["cells"][0]["candidate_unverified"]
    assert told["cells"][0]["baseline_unverified"] is None
    done = cli("execute", "exp.yaml", "--resume")
    assert done.returncode == 0
    assert "3 trials counted as done under the build that ran last (unverified)" in done.stderr
    # By name nothing but the store is looked at, and it knows whose they are.
    assert exported(cli, "demo")[0] == ("old", 3, False)


def marked(cli: CommandLine) -> list[str]:
    """Return the backends whose squares are drawn as unverified, in the chart's Vega-Lite."""
    drawn = json.loads((cli.folder / "map.json").read_text())
    rows = [row for data in drawn["datasets"].values() for row in data if row.get("tooltip")]
    found = [row["tooltip"]["backend"] for row in rows if row.get("unverified")]
    assert all(row["tooltip"]["unverified"] for row in rows if row.get("unverified"))
    return found


def test_a_launch_that_could_not_be_started_is_tried_again(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Also where an earlier build has done all: the exit code says so, until it can be."""
    write(binaries(old="./llama-server").replace("contains: Paris", "matches: ."))
    assert cli("execute", "exp.yaml").returncode == 0
    fake_binary.rename(fake_binary.with_name("away"))
    assert cli("execute", "exp.yaml", "--fresh").returncode == 4
    assert planned(cli) == [(3, 3, 0, False)]
    again = cli("execute", "exp.yaml", "--resume")
    assert again.returncode == 4
    assert "there is no such file" in again.stderr
    fake_binary.with_name("away").rename(fake_binary)
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    assert planned(cli) == [(3, 0, 0, True)]


def test_a_replaced_binary_shows_the_old_results_as_such(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Nothing counts as done, the map says whose it is, and the gate has nothing to pass."""
    shutil.copy(fake_binary, fake_binary.with_name("base"))
    fake_binary.write_text(fake_binary.read_text() + "# first\n")
    write(binaries(old="./base", new="./llama-server").replace("contains: Paris", "matches: ."))
    assert cli("execute", "exp.yaml").returncode == 0
    fake_binary.write_text(fake_binary.read_text() + "# second\n")
    assert planned(cli) == [(3, 0, 0, True), (0, 0, 3, True)]
    assert exported(cli) == [("old", 3, False), ("new", 3, True)]
    assert gate(cli).returncode == 9
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    assert exported(cli) == [("old", 3, False), ("new", 3, False)]
    only_new = ("--where", "backend=new", "--baseline", "build=previous", "--json")
    told = json.loads(cli("compare", "exp.yaml", *only_new).stdout)
    ran = [run["build"]["id"] for run in runs(cli) if run["name"].startswith("new")]
    cell = told["candidates"][0]["cells"][0]
    assert (cell["baseline_build"], cell["candidate_build"]) == (ran[0], ran[1])


def runs(cli: CommandLine) -> list[dict[str, Any]]:
    """Return the launch runs of the experiment, oldest first."""
    told = json.loads(cli("show", "exp.yaml", "--launch", "--json").stdout)
    found: list[dict[str, Any]] = told["launches"]
    return found


def test_the_build_before_is_never_another_backend_s(
    cli: CommandLine, write: Write, good: Answering, bad: Answering
) -> None:
    """A backend that ran once has no previous build, though the other one is not selected."""
    write(endpoints(("old", good.url), ("new", bad.url)))
    assert cli("execute", "exp.yaml").returncode == 0
    done = cli("compare", "exp.yaml", "--where", "backend=new", "--baseline", "build=previous")
    assert done.returncode == 2
    assert "has run under an earlier build" in done.stderr


def test_any_build_is_called_unverified(
    cli: CommandLine, write: Write, good: Answering, bad: Answering
) -> None:
    """What another build did counts as done where that is asked for, and the plan says so."""
    write(endpoints(("old", good.url), ("new", bad.url)))
    assert cli("execute", "exp.yaml", "--where", "backend=old").returncode == 0
    assert planned(cli, "--any-build") == [(3, 0, 0, True), (3, 3, 0, False)]
    assert (
        "--any-build counts what any build has done"
        in cli("plan", "exp.yaml", "--any-build").stdout
    )
    assert exported(cli) == [("old", 3, False), ("new", 0, False)]


COMMAND = """name: demo
backends:
  old: {kind: command, argv: [ONE, --host, "{{ host }}", --port, "{{ port }}"], env: {WHO: x}}
  new: {kind: command, argv: [TWO, --host, "{{ host }}", --port, "{{ port }}"], env: {WHO: x}}
models: {m: {id: fake}}"""


def command(cli: CommandLine, one: str, two: str) -> str:
    """Return an experiment of two command lines that differ in where their program is.

    Both are one wrapper: what they start stands in a file beside them, as a package would.
    """
    for folder, reply in (("one", PARIS), ("two", LONDON)):
        path = cli.folder / folder / "serve"
        if not path.exists():
            path.parent.mkdir()
            script = (
                f'FAKE_REPLY=$(cat "$(dirname "$0")/reply") exec {sys.executable} {FAKE_SERVER}'
            )
            path.write_text(f'#!/bin/sh\n{script} "$@"\n')
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            (path.parent / "reply").write_text(json.dumps(reply))
            (path.parent / "libllama.so").write_text(folder)
    return COMMAND.replace("ONE", one).replace("TWO", two) + REST


def test_a_command_is_verified_by_its_program_and_its_command_line(
    cli: CommandLine, write: Write
) -> None:
    """What its server says is known from its own runs; moved, it has to be asked once more."""
    write(command(cli, "./one/serve", "./two/serve"))
    done = cli("execute", "exp.yaml", "--where", "backend=old")
    assert done.returncode == 0, done.stderr
    assert planned(cli) == [(3, 0, 0, True), (0, 0, 3, False)]
    done = cli("execute", "exp.yaml", "--resume", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"failed": 3}, done.stderr
    assert planned(cli) == [(3, 0, 0, True), (3, 0, 0, True)]
    (cli.folder / "one").rename(cli.folder / "moved")
    write(command(cli, "./moved/serve", "./two/serve"))
    shutil.rmtree(cli.folder / "one")
    assert planned(cli) == [(3, 3, 0, False), (3, 0, 0, True)]
    assert gate(cli).returncode in {8, 9}
    assert json.loads(cli("execute", "exp.yaml", "--resume", "--json").stdout)["ran"] == 0
    assert planned(cli) == [(3, 0, 0, True), (3, 0, 0, True)]
    (cli.folder / "moved").rename(cli.folder / "gone")
    assert planned(cli) == [(3, 3, 0, False), (3, 0, 0, True)]


def test_a_replica_keeps_its_trials(cli: CommandLine, write: Write, good: Answering) -> None:
    """Two replicas at one url are asked both, and each is verified by its own runs."""
    text = endpoints(("old", good.url), ("new", good.url))
    write(text.replace("new: {", "new: {replica: 2, "))
    assert json.loads(cli("execute", "exp.yaml", "--json").stdout)["ran"] == 6
    assert planned(cli) == [(3, 0, 0, True), (3, 0, 0, True)]
    assert good.chats == 6


def test_what_is_compared_with_a_guess_is_a_guess(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """A verdict of `same_as` rests on the other cell's replies too."""
    other = fake_binary.with_name("other-server")
    shutil.copy(fake_binary, other)
    other.write_text(other.read_text() + "# another build\n")
    text = binaries(old="./llama-server", new="./other-server")
    write(text.replace("content: {contains: Paris}", "same_as: {backend: new}"))
    assert cli("execute", "exp.yaml").returncode == 0
    assert [doubt for _, _, doubt in exported(cli)] == [False, False]
    other.unlink()
    assert [doubt for _, _, doubt in exported(cli)] == [True, True]


def older(path: Path) -> None:
    """Make a store one that the version before origins wrote, with all that it would have kept."""
    new = path.with_name("new.db")
    for file in path.parent.glob(f"{path.name}*"):
        file.rename(file.with_name(file.name.replace(path.name, new.name)))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA application_id = 0x6D62656E")
        for migration in MIGRATIONS[:BEFORE_ORIGINS]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {BEFORE_ORIGINS}")
        connection.execute("ATTACH ? AS new", (str(new),))
        tables = connection.execute(
            "SELECT name FROM main.sqlite_master WHERE type = 'table' AND sql IS NOT NULL"
        ).fetchall()
        for (table,) in tables:
            told = connection.execute(f"PRAGMA main.table_info({table})").fetchall()
            columns = ", ".join(f'"{column[1]}"' for column in told)
            connection.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"  # noqa: S608
            )
        connection.execute("PRAGMA journal_mode = WAL")


def test_an_old_store_of_one_backend_is_verified(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Its build is read again; a binary that is gone makes it unverified, a new one runs anew."""
    write(binaries(old="./llama-server").replace("contains: Paris", "matches: ."))
    assert cli("execute", "exp.yaml").returncode == 0
    older(cli.folder / ".matrixbench" / "results.db")
    assert planned(cli) == [(3, 0, 0, True)]
    assert exported(cli) == exported(cli, "demo") == [("old", 3, False)]
    text = fake_binary.read_text()
    fake_binary.unlink()
    assert planned(cli) == [(3, 3, 0, False)]
    assert exported(cli) == [("old", 3, True)]
    fake_binary.write_text(f"{text}# rebuilt\n")
    fake_binary.chmod(0o700)
    assert planned(cli) == [(0, 0, 3, True)]
    assert exported(cli) == [("old", 3, True)]


def test_an_old_store_knows_endpoints_by_their_urls(
    cli: CommandLine, write: Write, good: Answering, bad: Answering
) -> None:
    """What ran counts as verified; what never ran is asked, though the old version passed it."""
    write(endpoints(("old", good.url), ("new", bad.url)))
    assert cli("execute", "exp.yaml", "--where", "backend=old").returncode == 0
    older(cli.folder / ".matrixbench" / "results.db")
    assert planned(cli) == [(3, 0, 0, True), (0, 0, 3, False)]
    assert exported(cli) == [("old", 3, False), ("new", 0, False)]
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    assert (good.chats, bad.chats) == (3, 3)
    assert exported(cli, "demo") == [("old", 3, False), ("new", 0, False)]


def test_an_old_record_that_does_not_say_whose_is_unverified(
    cli: CommandLine, write: Write, good: Answering
) -> None:
    """By name, a launch that never ran itself is shown what its digest ran, and marked."""
    write(endpoints(("old", good.url), ("new", good.url)))
    assert cli("execute", "exp.yaml", "--where", "backend=old").returncode == 0
    with closing(sqlite3.connect(cli.folder / ".matrixbench" / "results.db")) as connection:
        assert connection.execute("SELECT count(*) FROM experiment_launch").fetchone() == (1,)
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    with closing(sqlite3.connect(cli.folder / ".matrixbench" / "results.db")) as connection:
        connection.execute("DELETE FROM launch WHERE name LIKE 'new%'")
        connection.commit()
    older(cli.folder / ".matrixbench" / "results.db")
    assert exported(cli, "demo") == [("old", 3, False), ("new", 3, True)]
    refused = gate(cli, "demo")
    assert refused.returncode == 9
    assert "the store does not tell whose server it was" in squeezed(refused.stdout)


def test_a_command_s_own_run_in_an_old_store_is_known_by_its_name(
    cli: CommandLine, write: Write
) -> None:
    """Where no other launch could be meant it is verified, else not, until it was asked."""
    text = command(cli, "./one/serve", "./one/serve")
    alone = text.replace("  new:", "  # new:")
    write(alone)
    assert cli("execute", "exp.yaml").returncode == 0
    older(cli.folder / ".matrixbench" / "results.db")
    assert planned(cli) == [(3, 0, 0, True)]
    write(text)
    assert planned(cli)[0] == (3, 3, 0, False)
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["unverified"], plan["verified"]) == (0, True)
