"""Which build a launch has where it cannot be read: recorded by the same origin, or guessed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.identity import canonical_json
from matrixbench.plan.builds import RecordedBuilds
from matrixbench.plan.cells import LaunchRun, Origin, PresentBuild
from matrixbench.records import Build


@dataclass(frozen=True)
class Named:
    """A launch by its name and digest."""

    name: str
    digest: str = "d"


def attached(url: str, kind: str = "endpoint") -> Build:
    """Return the build of a server that runs already."""
    return Build(id=f"build of {url}", kind=kind, server=canonical_json({"url": url}))


def started(program: str, words: str = "", *, model: str = "m", device: str = "cpu") -> Build:
    """Return the build of a command's server."""
    server = canonical_json({"program": program, "version": words})
    name = f"{program} {words} {model}"
    return Build(id=name, kind="command", server=server, model=model, device=device)


A, B = "http://a/v1", "http://b/v1"
AT_A, AT_B = (Origin(kind="endpoint", url=url) for url in (A, B))
SERVE = Origin(
    kind="command", binary="/one/serve", program="p", model="m", device="cpu", argv=("serve", "-x")
)


def present(
    name: str,
    origin: Origin,
    runs: list[tuple[str, Build, Origin | None]],
    *,
    names: tuple[str, ...] = ("old", "new"),
    experiment: str = "exp",
) -> tuple[str | None, bool]:
    """Return the build that is found, and whether it is verified; runs are newest first."""
    found = RecordedBuilds(
        "exp",
        [Named(each) for each in names],
        [LaunchRun(experiment, run, "d", build.id, kept) for run, build, kept in runs],
        {build.id: build for _, build, _ in runs},
    ).present(Named(name), PresentBuild(build=None, verified=False, origin=origin))
    return None if found.build is None else found.build.id, found.verified


def test_a_run_of_the_same_origin_is_no_guess() -> None:
    """Whatever its name was, and in whichever experiment: it is the same server."""
    runs: list[tuple[str, Build, Origin | None]] = [("renamed", attached(A), AT_A)]
    assert present("old", AT_A, runs) == ("build of http://a/v1", True)
    assert present("old", AT_A, runs, experiment="other") == ("build of http://a/v1", True)


@pytest.mark.parametrize("kept", [AT_A, None], ids=["origin", "old store"])
@pytest.mark.parametrize("name", ["old", "new", "gone"])
def test_what_ran_at_another_url_is_never_taken(name: str, kept: Origin | None) -> None:
    """Not even as a guess, under whatever name it ran."""
    assert present("new", AT_B, [(name, attached(A), kept)]) == (None, False)


def test_an_old_store_knows_a_url_by_its_build() -> None:
    """But not what a url hides: a user, a password, a query."""
    runs: list[tuple[str, Build, Origin | None]] = [("old", attached(A), None)]
    assert present("new", AT_A, runs) == ("build of http://a/v1", True)
    assert present("old", replace(AT_A, url_rest="?"), runs) == ("build of http://a/v1", False)
    ollama = Origin(kind="ollama", url=A)
    assert present("old", ollama, runs) == (None, False)
    assert present("old", ollama, [("old", attached(A, "ollama"), None)])[1]


def test_the_newest_run_of_an_origin_counts() -> None:
    """A server that was upgraded says so in its last run."""
    runs: list[tuple[str, Build, Origin | None]] = [
        ("old", started("p", "2"), SERVE),
        ("old", started("p", "1"), SERVE),
    ]
    assert present("old", SERVE, runs) == ("p 2 m", True)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SERVE, binary="/two/serve"),
        replace(SERVE, argv=("serve", "-y")),
        replace(SERVE, env={"A": "1"}),
        replace(SERVE, replica=2),
        replace(SERVE, missing="the model is not here"),
        replace(SERVE, program="", size=1),
    ],
    ids=["path", "argv", "env", "replica", "missing", "unread"],
)
def test_another_origin_makes_a_guess(changed: Origin) -> None:
    """Of the launch's own runs, or of a name that is gone; never of another launch's."""
    run = started("p")
    assert present("old", changed, [("old", run, SERVE)]) == (run.id, False)
    assert present("old", changed, [("gone", run, SERVE)]) == (run.id, False)
    assert present("old", changed, [("new", run, SERVE)]) == (None, False)
    assert present("old", changed, [("old", run, SERVE)], experiment="other") == (None, False)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SERVE, program="other"),
        replace(SERVE, model="other"),
        replace(SERVE, device="other"),
        replace(SERVE, kind="other"),
    ],
    ids=["program", "model", "device", "kind"],
)
def test_what_is_known_to_be_another_build_is_no_guess(changed: Origin) -> None:
    """A changed program, model or machine is another build, whoever ran it."""
    assert present("old", changed, [("old", started("p"), SERVE)]) == (None, False)


def test_a_file_that_was_touched_is_the_same() -> None:
    """Size and time tell only where the content cannot be read."""
    touched = replace(SERVE, size=5, modified_ns=7)
    assert present("old", touched, [("old", started("p"), SERVE)])[1]
    unread = replace(SERVE, program="")
    run = [("old", started("p"), replace(unread, size=5))]
    assert not present("old", unread, list(run))[1]
    assert present("old", replace(unread, size=5), list(run))[1]


def test_an_old_command_is_known_by_its_name_where_no_other_could_be_meant() -> None:
    """Two launches of one digest would be told apart by what an old store does not keep."""
    runs: list[tuple[str, Build, Origin | None]] = [("old", started("p"), None)]
    assert present("old", SERVE, runs, names=("old",)) == ("p  m", True)
    assert present("old", SERVE, runs) == ("p  m", False)
    assert present("new", SERVE, runs) == (None, False)


def test_what_was_read_needs_no_store() -> None:
    """The build that is there is the present one, whatever ran."""
    seen = PresentBuild(build=started("p", "9"), verified=True, origin=SERVE)
    recorded = RecordedBuilds("exp", [], [], {})
    assert recorded.present(Named("old"), seen) == seen


@given(
    st.builds(
        Origin,
        kind=st.text(min_size=1),
        replica=st.integers(1),
        url=st.text(),
        binary=st.text(st.characters()),
        size=st.integers(0),
        argv=st.lists(st.text()).map(tuple),
        env=st.dictionaries(st.text(), st.text(min_size=1)),
        missing=st.text(),
    )
)
def test_an_origin_comes_back_as_it_was(origin: Origin) -> None:
    """As the store keeps it, in ASCII; a field of a newer version is passed over."""
    text = origin.to_text()
    assert text.isascii()
    assert Origin.from_text(text) == origin
    assert Origin.from_text(json.dumps({**json.loads(text), "later": 1})) == origin
    assert Origin.from_text("") is None
