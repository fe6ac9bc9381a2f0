"""Checks of one's own: what a function may return, and where it is loaded from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.checks.judge import Checks, compile_checks
from matrixbench.checks.workers import LOST_AFTER, stop_worker
from matrixbench.errors import CheckError, ExitCode
from matrixbench.records import ChatReply, Judgement, Kind, Outcome, Timing, Turn
from matrixbench.spec.checks import PythonCheck
from matrixbench.spec.paths import Origin
from matrixbench.spec.yaml_source import Place

if TYPE_CHECKING:
    from matrixbench.checks.own import CheckResult, OwnCheck

MODULE = """\
from matrixbench import ChatReply, Kind, Verdict

LIMIT = 3

def says(reply, what):
    return what

def quotes(reply: ChatReply, word: str = "Paris") -> bool:
    return word in (reply.content or "")

def verdict(reply):
    return Verdict(passed=False, kind=Kind.WRONG_CONTENT, reason="odd", score=0.25)

def raises(reply):
    raise ValueError("odd")

def forgets(reply):
    reply.content

def leaves(reply):
    raise SystemExit(3)

def prints(reply):
    print("said by a check")
    return True

def spoils(reply, words):
    words.append(reply.message.pop("role", None))
    return len(words) == 1

class Scalar:
    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value

def scalar(reply, what):
    return Scalar(what)

async def slow(reply):
    return True

def interrupts(reply):
    raise KeyboardInterrupt

def cancels(reply):
    import asyncio
    raise asyncio.CancelledError("odd")

class Odd(BaseException):
    pass

def is_odd(reply):
    raise Odd

def dies(reply):
    import os
    os._exit(3)

def sleeps(reply):
    import time
    time.sleep(3600)

def backtracks(reply):
    import re
    return bool(re.match("(a+)+$", "a" * 64 + "b"))

class Nested:
    @staticmethod
    def fine(reply):
        return True
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a module of checks."""
    (tmp_path / "mine.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


def compiled(folder: Path | None, name: str, **more: Any) -> Checks:
    """Return a check of one's own, compiled for a file of a folder."""
    check = PythonCheck(python=name, **more)
    origin = Origin(
        folder=folder, places={"expect[0].python": Place(file="exp.yaml", line=7, column=5)}
    )
    return compile_checks([check], origin=origin)


PARIS = ChatReply(message={}, content="It is Paris.", timing=Timing(latency_s=1.0))

DEEP = """\
def is_whole(reply):
    for message in (reply.message, reply.earlier[0].reply.message):
        depth, inner = 0, message["odd"]
        while inner:
            depth, inner = depth + 1, inner["x"][0]
        if depth != 5_000 or message["role"] != "assistant":
            return "another depth"
    return reply.earlier[0].then == ({"content": "?"},)
"""


def judge(folder: Path | None, name: str, **more: Any) -> Judgement:
    """Return what a check of one's own makes of a reply about Paris."""
    return compiled(folder, name, **more).judge(PARIS)


def judge_reply(folder: Path, name: str, reply: ChatReply) -> Judgement:
    """Return what a check of one's own makes of a reply."""
    return compiled(folder, name).judge(reply)


@pytest.mark.parametrize(
    ("said", "outcome", "score", "reason"),
    [
        (True, Outcome.PASSED, None, ""),
        (False, Outcome.FAILED, None, 'mine:says says no of "It is Paris."'),
        ("no greeting", Outcome.FAILED, None, "no greeting"),
        ("", Outcome.FAILED, None, "mine:says says no"),
        (1.0, Outcome.PASSED, 1.0, ""),
        (0.75, Outcome.FAILED, 0.75, "expected a score of at least 1, found 0.75"),
        (0, Outcome.FAILED, 0.0, "expected a score of at least 1, found 0"),
    ],
)
def test_a_function_says_yes_or_no_or_a_score_or_a_reason(
    folder: Path, said: object, outcome: Outcome, score: float | None, reason: str
) -> None:
    """Whatever it returns becomes a verdict."""
    judgement = judge(folder, "mine:says", arguments={"what": said})
    (verdict,) = judgement.verdicts
    assert (judgement.outcome, verdict.score, judgement.reason) == (outcome, score, reason)
    assert (judgement.kind is Kind.OWN_CHECK) is (outcome is Outcome.FAILED)


def test_a_score_passes_from_the_threshold_on(folder: Path) -> None:
    """The threshold itself passes."""
    arguments = {"what": 0.5}
    assert judge(folder, "mine:says", arguments=arguments, threshold=0.5).kind is None
    assert judge(folder, "mine:says", arguments=arguments, threshold=0.6).kind is Kind.OWN_CHECK


def test_a_function_may_return_a_verdict(folder: Path) -> None:
    """It has a kind, a reason and a score; its name is the check's."""
    (verdict,) = judge(folder, "mine:verdict").verdicts
    assert (verdict.check, verdict.kind, verdict.reason, verdict.score) == (
        "python",
        Kind.WRONG_CONTENT,
        "odd",
        0.25,
    )


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("mine:raises", {}, "mine:raises raised ValueError: odd at mine.py:15"),
        ("mine:forgets", {}, "mine:forgets returned NoneType"),
        ("mine:says", {"what": [1]}, "returned list"),
        ("mine:says", {"what": 1.5}, "the score 1.5, which is not between 0 and 1"),
        ("mine:says", {"what": float("inf")}, "not between 0 and 1"),
    ],
)
def test_a_function_that_fails_counts_for_nobody(
    folder: Path, name: str, arguments: dict[str, Any], said: str
) -> None:
    """The trial is errored, and judged again once the function is mended."""
    if "what" in arguments and arguments["what"] == float("inf"):
        (folder / "mine.py").write_text("def says(reply, what): return float('inf')\n")
        arguments = {"what": 1}
    judgement = judge(folder, name, arguments=arguments)
    assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.CHECK_RAISED)
    assert said in judgement.reason


def test_a_function_is_found_in_folders_packages_and_classes(folder: Path) -> None:
    """Dots lead into packages of the folder, and after the colon into classes."""
    (folder / "evals" / "deep").mkdir(parents=True)
    (folder / "evals" / "deep" / "more.py").write_text(
        "from ...mine import quotes\ndef fine(reply): return quotes(reply)\n", encoding="utf-8"
    )
    assert judge(folder, "mine:Nested.fine").outcome is Outcome.PASSED
    assert judge(folder, "evals.deep.more:fine").outcome is Outcome.PASSED


def test_a_function_is_found_on_the_import_path() -> None:
    """Where the folder has no such module, or there is no folder."""
    assert judge(None, "operator:truth").outcome is Outcome.PASSED
    assert judge(None, "operator:not_").outcome is Outcome.FAILED


def test_the_folder_hides_nothing_of_anybody_else(folder: Path) -> None:
    """A file there called like a known module is found by checks, and by nobody else."""
    (folder / "json.py").write_text("def fine(reply): return True\n", encoding="utf-8")
    before = (list(sys.path), sys.modules["json"])
    assert judge(folder, "json:fine").outcome is Outcome.PASSED
    assert (list(sys.path), sys.modules["json"]) == before
    assert not (folder / "__pycache__").exists()


def test_a_changed_function_is_loaded_again_and_has_another_digest(folder: Path) -> None:
    """So are the modules of the folder that it imports; elsewhere nothing changes."""
    (folder / "helper.py").write_text("WORD = 'Paris'\n", encoding="utf-8")
    (folder / "mine.py").write_text(
        "from .helper import WORD\ndef quotes(reply): return WORD in reply.content\n",
        encoding="utf-8",
    )
    first = compiled(folder, "mine:quotes")
    assert compiled(folder, "mine:quotes").digest == first.digest
    assert judge(folder, "mine:quotes").outcome is Outcome.PASSED
    (folder / "helper.py").write_text("WORD = 'Tokyo'\n", encoding="utf-8")
    assert compiled(folder, "mine:quotes").digest != first.digest
    assert judge(folder, "mine:quotes").outcome is Outcome.FAILED


def test_functions_with_and_without_arguments_have_the_documented_type() -> None:
    """A type checker accepts them as `OwnCheck`; so it does when this file is checked."""

    def alone(reply: ChatReply) -> bool:
        return bool(reply.content)

    def given(reply: ChatReply, word: str, times: int = 1) -> CheckResult:
        return (reply.content or "").count(word) >= times or f"expected {word}"

    checks: list[OwnCheck] = [alone, given]
    assert checks[0](ChatReply(message={}, content="x", timing=Timing(latency_s=1.0))) is True


def test_two_folders_have_modules_of_their_own(folder: Path) -> None:
    """Two modules of one name do not clash."""
    other = folder / "other"
    other.mkdir()
    (other / "mine.py").write_text("def quotes(reply): return False\n", encoding="utf-8")
    assert judge(folder, "mine:quotes").outcome is Outcome.PASSED
    assert judge(other, "mine:quotes").outcome is Outcome.FAILED
    assert judge(folder, "mine:quotes").outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("name", "arguments", "message", "hint"),
    [
        ("nowhere:f", {}, "there is no module nowhere", "nowhere.py is not there"),
        ("mine.deep:f", {}, "mine.deep", ""),
        ("mine:quote", {}, "the module mine has no function «quote»", "you meant quotes"),
        ("mine:LIMIT", {}, "is no function, but of type int", ""),
        ("mine:slow", {}, "is async", ""),
        ("mine:quotes", {"wrod": 1}, "'wrod'", "it is quotes(reply: "),
        ("mine:says", {}, "'what'", "given by name"),
        ("broken:f", {}, "cannot be imported: ZeroDivisionError", "it fails at broken.py:1"),
        ("leaving:f", {}, "cannot be imported: SystemExit", ""),
        ("wrong:f", {}, "cannot be imported: SyntaxError", "it fails at wrong.py:1"),
        ("absolute:f", {}, "No module named 'helper'", "from . import helper"),
        ("needy:f", {}, "No module named 'surely_not_there'", "it fails at needy.py:1"),
        ("lost:f", {}, "No module named 'nowhere'", "it fails at lost.py:1"),
    ],
)
def test_what_cannot_be_loaded_is_an_error_with_its_place(
    folder: Path, name: str, arguments: dict[str, Any], message: str, hint: str
) -> None:
    """The file's line is named, what is wrong, and what to do."""
    for module, text in {
        "broken": "1 / 0",
        "leaving": "raise SystemExit",
        "wrong": "def",
        "helper": "",
        "absolute": "import helper",
        "needy": "import surely_not_there",
        "lost": "from .nowhere import f",
    }.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    with pytest.raises(CheckError) as caught:
        compiled(folder, name, arguments=arguments)
    assert caught.value.exit_code is ExitCode.CHECK
    assert caught.value.where == "exp.yaml:7:5"
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_function_that_leaves_the_process_does_not_end_the_run(folder: Path) -> None:
    """`sys.exit` in a check is its own fault like any other, told with the line."""
    judgement = judge(folder, "mine:leaves")
    assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.CHECK_RAISED)
    assert judgement.reason.startswith("mine:leaves raised SystemExit: 3 at mine.py:")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("interrupts", "mine:interrupts raised KeyboardInterrupt at mine.py:"),
        ("cancels", "mine:cancels raised CancelledError: odd at mine.py:"),
        ("is_odd", "mine:is_odd raised Odd at mine.py:"),
        ("dies", "mine:dies ended its process with exit status 3"),
    ],
)
def test_nothing_that_a_function_raises_is_taken_for_the_users_signal(
    folder: Path, name: str, said: str
) -> None:
    """Neither an interruption nor a cancellation nor the end of its process; others go on."""
    judgement = judge(folder, f"mine:{name}")
    assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.CHECK_RAISED)
    assert judgement.reason.startswith(said)
    assert judge(folder, "mine:quotes").outcome is Outcome.PASSED


@pytest.mark.parametrize("name", ["sleeps", "backtracks"])
def test_a_function_that_does_not_end_is_ended(folder: Path, name: str) -> None:
    """The trial is errored, also under a `not`, and after three in a row it is not asked again."""
    checks = compiled(folder, f"mine:{name}", timeout_s=0.1)
    for _ in range(LOST_AFTER):
        judgement = checks.judge(PARIS)
        assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.CHECK_TIMEOUT)
        assert judgement.reason == f"mine:{name} did not end in 0.1 s"
    assert checks.judge(PARIS).reason == (
        f"mine:{name} did not end 3 times in a row, and was not asked again"
    )
    assert judge(folder, "mine:quotes").outcome is Outcome.PASSED


def test_a_function_that_changed_after_it_was_read_is_not_asked(folder: Path) -> None:
    """Its verdict would go under the digest of another text."""
    checks = compiled(folder, "mine:quotes")
    (folder / "mine.py").write_text("def quotes(reply): return False\n", encoding="utf-8")
    judgement = checks.judge(PARIS)
    assert judgement.kind is Kind.CHECK_RAISED
    assert judgement.reason.startswith("mine:quotes was changed after it was read")


def test_the_worker_ends_with_its_process(folder: Path) -> None:
    """Also where that is killed while a function runs."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tests.checks.test_own import judge\n"
        "judge(Path(sys.argv[1]), 'mine:lasts')"
    )
    (folder / "mine.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "def lasts(reply):\n"
        "    with Path(__file__).with_name('alive').open('w') as alive:\n"
        "        print('x', file=alive, flush=True)\n"
        "        time.sleep(3600)\n",
        encoding="utf-8",
    )
    os.mkfifo(folder / "alive")
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(Path(__file__).parents[2])]
        ) as process,
        (folder / "alive").open() as alive,
    ):
        assert alive.readline() == "x\n"
        process.kill()
        assert alive.read() == ""  # its end, which comes when the worker is gone


def test_what_a_function_prints_is_kept_from_the_results(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It goes to standard error, so that `--json` stays JSON; so does what its module prints."""
    stop_worker()  # the next one has the standard error of this test
    module = folder / "mine.py"
    module.write_text(module.read_text("utf-8") + '\nprint("said at import")\n', encoding="utf-8")
    assert judge(folder, "mine:prints").outcome is Outcome.PASSED
    out, err = capfd.readouterr()
    stop_worker()
    assert (out, err) == ("", "said at import\nsaid by a check\n")


def test_a_function_that_changes_what_it_is_given_changes_a_copy(folder: Path) -> None:
    """Neither the reply that is stored nor the arguments for the next reply are touched."""
    reply = ChatReply(message={"role": "assistant"}, content="a", timing=Timing(latency_s=1.0))
    checks = compiled(folder, "mine:spoils", arguments={"words": []})
    assert [checks.judge(reply).outcome for _ in range(2)] == [Outcome.PASSED] * 2
    assert reply.message == {"role": "assistant"}


@pytest.mark.parametrize(("what", "outcome"), [(True, "passed"), (0.5, "failed"), (1, "passed")])
def test_a_number_of_an_array_library_is_a_number(folder: Path, what: object, outcome: str) -> None:
    """NumPy's and PyTorch's scalars give their value by `item()`."""
    assert judge(folder, "mine:scalar", arguments={"what": what}).outcome == outcome


def test_a_function_is_given_a_copy_however_deep_the_reply_is_nested(folder: Path) -> None:
    """What a model writes is no reason for a function's failure; what is changed is a copy."""
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"x": [deep]}
    message = {"role": "assistant", "odd": deep}
    earlier = Turn(
        reply=ChatReply(message=message, timing=Timing(latency_s=1.0)), then=({"content": "?"},)
    )
    reply = ChatReply(message=message, timing=Timing(latency_s=1.0), earlier=(earlier,))
    judgement = compiled(folder, "mine:spoils", arguments={"words": []}).judge(reply)
    assert judgement.outcome is Outcome.PASSED
    assert message["role"] == "assistant"
    (folder / "mine.py").write_text(DEEP, encoding="utf-8")
    assert judge_reply(folder, "mine:is_whole", reply).reason == ""


def test_a_verdict_of_a_kind_that_is_none_is_the_functions_fault(folder: Path) -> None:
    """It could not be counted, nor stored; a kind may be written as its text."""
    (folder / "mine.py").write_text(
        "from matrixbench import Verdict\n"
        "def of(reply, kind): return Verdict(passed=False, kind=kind)\n",
        encoding="utf-8",
    )
    odd = judge(folder, "mine:of", arguments={"kind": "my_own"})
    assert (odd.outcome, odd.kind) == (Outcome.ERRORED, Kind.CHECK_RAISED)
    fine = judge(folder, "mine:of", arguments={"kind": "wrong_content"})
    assert (fine.outcome, fine.kind) == (Outcome.FAILED, Kind.WRONG_CONTENT)
