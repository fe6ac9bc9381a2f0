"""Checks of one's own through the command line: the page's worked example, and what goes wrong."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text("utf-8")


@pytest.fixture
def worked(cli: CommandLine) -> CommandLine:
    """Write the page's files into the folder, as a reader would."""
    for language, name in (("python", "politeness.py"), ("yaml", "polite.yaml")):
        (block,) = re.findall(rf"(?ms)^`{name}`.*?:\n\n```{language}\n(.*?)^```$", PAGE)
        (cli.folder / name).write_text(block, encoding="utf-8")
    return cli


def trials(run: CommandLine) -> list[dict[str, Any]]:
    """Return the experiment's trials as they are exported."""
    done = run("export", "polite.yaml", "--trials", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(rows, key=lambda row: row["trial"])


def test_the_worked_example_works(worked: CommandLine) -> None:
    """A polite reply passes, and the other one fails for the reason that the function gives."""
    done = worked("execute", "polite.yaml")
    assert done.returncode == 0, done.stderr
    assert "1 passed, 1 failed" in done.stdout
    polite, rude = trials(worked)
    assert (polite["outcome"], polite["score"]) == ("passed", 1.0)
    assert (rude["outcome"], rude["kind"]) == ("failed", "own_check")
    assert rude["reason"] == (
        "expected one of please, thank you, you're welcome; found 'It rains.'"
    )


def test_a_changed_function_judges_the_stored_replies_again(worked: CommandLine) -> None:
    """Nothing is asked again, and the old verdicts stay as history."""
    assert worked("execute", "polite.yaml").returncode == 0
    module = worked.folder / "politeness.py"
    module.write_text(module.read_text("utf-8").replace('"please"', '"rain"'), encoding="utf-8")
    done = worked("execute", "polite.yaml", "--resume")
    assert "2 stored replies" in done.stderr
    assert "1 verdicts changed" in done.stderr
    assert [trial["outcome"] for trial in trials(worked)] == ["passed", "passed"]


def test_a_function_that_raises_is_errored_and_judged_again_once_mended(
    worked: CommandLine,
) -> None:
    """It counts for nobody, exit 7, and no reply is asked for twice."""
    module = worked.folder / "politeness.py"
    good = module.read_text("utf-8")
    module.write_text(good.replace("text = (reply", "text = 1 / 0 * (reply"), encoding="utf-8")
    done = worked("execute", "polite.yaml")
    assert (done.returncode, "2 errored" in done.stdout) == (7, True)
    assert {trial["kind"] for trial in trials(worked)} == {"check_raised"}
    module.write_text(good, encoding="utf-8")
    done = worked("execute", "polite.yaml", "--resume")
    assert done.returncode == 0, done.stderr
    assert [trial["outcome"] for trial in trials(worked)] == ["passed", "failed"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("raise __import__('asyncio').CancelledError", "check_raised"),
        ("raise KeyboardInterrupt", "check_raised"),
        ("__import__('os')._exit(0)", "check_raised"),
        ("while True: pass", "check_timeout"),
    ],
)
def test_a_function_can_neither_end_a_run_nor_hold_it_up(
    worked: CommandLine, fault: str, kind: str
) -> None:
    """Its replies are stored, exit 7, and judged again once it is mended."""
    module, file = worked.folder / "politeness.py", worked.folder / "polite.yaml"
    good = module.read_text("utf-8")
    module.write_text(
        good.replace('    """Say no', f'    {fault}\n    """Say no'), encoding="utf-8"
    )
    named = "- python: politeness:thanks\n"
    text = file.read_text("utf-8").replace(named, f"{named}        timeout_s: 1\n")
    file.write_text(text, encoding="utf-8")
    done = worked("execute", "polite.yaml")
    assert (done.returncode, "2 errored" in done.stdout) == (7, True), done.stderr
    assert {trial["kind"] for trial in trials(worked)} == {kind}
    module.write_text(good, encoding="utf-8")
    done = worked("execute", "polite.yaml", "--resume")
    assert "2 stored replies" in done.stderr
    assert [trial["outcome"] for trial in trials(worked)] == ["passed", "failed"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("politeness:thanks", "politenes:thanks", "there is no module politenes"),
        ("politeness:thanks", "politeness:thank", "perhaps you meant thanks"),
        ("words: 5", "word: 5", "does not take the reply and these arguments"),
    ],
)
def test_what_cannot_be_loaded_is_exit_6_with_its_place(
    worked: CommandLine, before: str, after: str, said: str
) -> None:
    """Nothing is asked, and the line and column of the check are named."""
    file = worked.folder / "polite.yaml"
    file.write_text(file.read_text("utf-8").replace(before, after), encoding="utf-8")
    for command in ("plan", "execute"):
        done = worked(command, "polite.yaml")
        assert done.returncode == 6, done.stderr
        assert re.search(r"polite\.yaml:\d+:\d+: ", done.stderr)
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_a_name_that_is_no_function_is_a_problem_of_the_file(worked: CommandLine) -> None:
    """It is told with all other problems, exit 2."""
    file = worked.folder / "polite.yaml"
    text = file.read_text("utf-8").replace("politeness:thanks", "politeness.py")
    file.write_text(text, encoding="utf-8")
    done = worked("validate", "polite.yaml")
    assert done.returncode == 2
    assert "«politeness.py» names no function" in done.stderr


def test_a_suites_functions_stand_beside_the_suite(worked: CommandLine) -> None:
    """They are found in its folder, and a mistake is told with its line."""
    folder = worked.folder / "suites"
    folder.mkdir()
    (worked.folder / "politeness.py").rename(folder / "politeness.py")
    suite = (
        "name: polite\ntests:\n  - name: rain\n    messages: [{role: user, content: hi}]\n"
        "    expect: [not: {python: politeness:thanks}]\n"
    )
    (folder / "polite.yaml").write_text(suite, encoding="utf-8")
    (worked.folder / "polite.yaml").write_text(
        "name: polite\nbackends: {fake: {kind: scripted, replies: [It rains.]}}\n"
        "tests: [suite: suites/polite.yaml]\ntrials: 1\n",
        encoding="utf-8",
    )
    done = worked("execute", "polite.yaml")
    assert "1 passed" in done.stdout, done.stderr
    (folder / "polite.yaml").write_text(suite.replace(":thanks", ":tanks"), encoding="utf-8")
    done = worked("execute", "polite.yaml", "--resume")
    assert done.returncode == 6
    assert "polite.yaml:5:28: the module politeness has no function «tanks»" in done.stderr


def test_ctrl_c_ends_a_function_that_never_returns(worked: CommandLine) -> None:
    """Its trial is errored, and judged again or run once the function is mended."""
    module = worked.folder / "politeness.py"
    sane = module.read_text("utf-8")
    module.write_text(
        sane.replace(
            '    """Say no',
            "    from pathlib import Path\n    from time import sleep\n"
            '    Path("judging").touch()\n    sleep(3600)\n    """Say no',
        ),
        encoding="utf-8",
    )
    running = worked.start("execute", "polite.yaml")
    with running:
        while not (worked.folder / "judging").exists():
            time.sleep(0.01)
        while running.poll() is None:  # each reply that is in flight is judged once more
            running.send_signal(signal.SIGINT)
            time.sleep(0.2)
        _, errors = running.communicate()
    assert running.returncode in {130, -signal.SIGINT}, errors  # the last one may come at its end
    module.write_text(sane, encoding="utf-8")
    assert worked("execute", "polite.yaml", "--resume").returncode == 0
    assert [trial["outcome"] for trial in trials(worked)] == ["passed", "failed"]
