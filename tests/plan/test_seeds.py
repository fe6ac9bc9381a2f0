"""Which seeds trials ask for. Golden values pin the offsets: people's stores hold such seeds."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.plan.cells import CellProgress
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.seeds import (
    SPAN,
    Held,
    Seeds,
    chosen_progress,
    offset_of,
    own_first_seed,
    seed_notes,
    seeds_of,
)
from matrixbench.spec.experiment import MAX_SEED
from matrixbench.spec.load import TestCase
from matrixbench.spec.tests import Needs

if TYPE_CHECKING:
    from matrixbench.plan.cells import Cell
    from matrixbench.records import JsonObject
    from matrixbench.spec.load import Experiment
    from tests.conftest import Load

TOOL: JsonObject = {"type": "function", "function": {"name": "weather"}}

FILE = """
name: demo
trials: 3
seed: 1
backends:
  s: {kind: llama-server, context: 4096}
models: {a: {hf: org/repo:Q4_K_M}}
chat_templates: {native: {}}
sampling: {temperature: 0.5}
tests:
  - name: hi
    parameters: {who: [you]}
    messages: [{role: user, content: "hi {{ who }}"}]
    expect: [{content: {contains: a}}]
"""

CONVERSATION = """
name: demo
backends: {s: {kind: scripted, replies: [a]}}
tests:
  - name: t
    messages: [{role: user, content: hi}]
    turns: [and now]
    expect: [{content: a}]
"""


def case(content: str, *tools: JsonObject) -> TestCase:
    """Return a test that sends one message."""
    return TestCase(
        name="t",
        messages=({"role": "user", "content": content},),
        tools=tools,
        needs=Needs(),
        expect=(),
    )


def first(load: Load, text: str) -> int:
    """Return the seed of trial 0 of an experiment's only cell."""
    experiment = load(text)
    (cell,) = cells_of(experiment)
    return seeds_of(experiment.file.seed, experiment.tests).first(cell)


def cells_of(experiment: Experiment) -> list[Cell]:
    """Return all cells."""
    return [cell for group in build_matrix(experiment).launches for cell in group.cells]


@pytest.mark.parametrize(
    ("test", "offset"),
    [
        (case(""), 1760061954),
        (case("hi"), 1862653043),
        (case("hi", TOOL), 470032702),
        (case("What is the capital of France?"), 1838999745),
        (case("Grüße, 世界"), 1589035515),
    ],
)
def test_golden_offsets(test: TestCase, offset: int) -> None:
    """Another offset would ask for other seeds: all that is stored would be measured again."""
    assert offset_of(test) == offset


def test_golden_offset_of_a_conversation(load: Load) -> None:
    """What follows the first reply is a part of what a test sends."""
    (test,) = load(CONVERSATION).tests
    assert offset_of(test) == 651482844
    (other,) = load(CONVERSATION.replace("and now", "and then")).tests
    assert offset_of(other) != offset_of(test)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: demo", "name: renamed"),
        ("- name: hi", "- name: renamed-{{ who }}"),
        ("parameters: {who: [you]}", "parameters: {who: [you], unused: [1]}"),
        ("contains: a", "contains: b"),
        ("trials: 3", "trials: 30"),
        ("trials: 3", "trials: 3\nmax_tokens: 99"),
        ("trials: 3", "trials: 3\nfaithful: true"),
        ("temperature: 0.5", "temperature: 1.5, top_p: 0.9"),
        ("tests:", "request: {stream: true, tool_choice: auto}\ntests:"),
        ("    expect:", "    request: {stream: true, seed_hint: x}\n    expect:"),
        ("native: {}", "other: {name: chatml}"),
        ("org/repo:Q4_K_M", "org/repo:Q8_0"),
        ("context: 4096", "context: 8192, options: {cache-type-k: q8_0}"),
    ],
)
def test_what_both_sides_of_a_comparison_share_keeps_the_seed(
    load: Load, old: str, new: str
) -> None:
    """Names, checks, sampling, request, template, model and server leave a test's seeds alone."""
    assert old in FILE
    assert first(load, FILE.replace(old, new)) == first(load, FILE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hi {{ who }}", "ho {{ who }}"),
        ("role: user", "role: system"),
        ("who: [you]", "who: [me]"),
        (
            "    expect:",
            "    tools: [{type: function, function: {name: weather, parameters: {}}}]\n    expect:",
        ),
        ("seed: 1", "seed: 2"),
    ],
)
def test_what_a_test_sends_changes_its_seeds(load: Load, old: str, new: str) -> None:
    """Messages, tools and parameters that fill them, and the file's seed."""
    assert old in FILE
    assert first(load, FILE.replace(old, new)) != first(load, FILE)


def test_the_seed_is_the_files_plus_the_offset(load: Load) -> None:
    """Without a wrap, which takes a file's seed above 16 million."""
    (test,) = load(FILE).tests
    assert first(load, FILE) == 1 + offset_of(test)
    assert first(load, FILE.replace("seed: 1", "seed: 1001")) == 1001 + offset_of(test)


@given(content=st.text(), seed=st.integers(0, MAX_SEED))
def test_seeds_stay_in_range_and_far_from_the_old_ones(content: str, seed: int) -> None:
    """Trial i of the old rule has seed + i: the two never meet, however many trials there are."""
    own = own_first_seed(seed, case(content))
    assert 0 <= own <= own + SPAN - 1 < 2**31 <= MAX_SEED
    assert abs(own - seed) >= SPAN


@given(st.lists(st.text(), unique=True, min_size=2, max_size=30))
def test_tests_that_send_other_words_share_no_seed(contents: list[str]) -> None:
    """Not among some hundred trials; the hash is not asked for more."""
    firsts = sorted(own_first_seed(1, case(content)) for content in contents)
    assert all(other - one > 500 for one, other in combinations(firsts, 2) if one != other)
    assert len(set(firsts)) == len(contents)


# What is there already.

TWO = """
name: demo
trials: 4
seed: 7
backends: {a: {kind: scripted, replies: [a]}}
sampling: {temperature: [0.5, 1, 2]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: a}}]}
  - {name: ho, messages: [{role: user, content: ho}], expect: [{content: {contains: a}}]}
"""


def known(kept: int = 0, errored: int = 0) -> CellProgress:
    """Return what is known of a cell."""
    return CellProgress(kept=kept, errored=errored)


def decided(load: Load, old: dict[int, int], own: dict[int, int]) -> tuple[list[Cell], Seeds]:
    """Return the cells, `hi` at three temperatures, then `ho`, and their seeds.

    Args:
        load: Loads a file.
        old: Place of a cell → mask of the trials that it has under the old rule.
        own: The same under the present one.
    """
    experiment = load(TWO)
    found = cells_of(experiment)
    cells = sorted(found, key=lambda cell: cell.test.name)
    held = Held(
        old={"b": {cells[place].id: known(kept=mask) for place, mask in old.items()}},
        own={"b": {cells[place].id: known(kept=mask) for place, mask in own.items()}},
    )
    return cells, seeds_of(7, experiment.tests, cells, held)


def rules(load: Load, old: dict[int, int], own: dict[int, int]) -> str:
    """Return for each cell whether it asks under the old rule (o) or from its own seed (.)."""
    cells, seeds = decided(load, old, own)
    assert all((seeds.first(cell) == 7) == seeds.is_old(cell) for cell in cells)
    return "".join("o" if seeds.is_old(cell) else "." for cell in cells)


def test_without_a_store_every_test_has_its_own_seeds(load: Load) -> None:
    """A new experiment knows nothing of the old rule."""
    assert rules(load, {}, {}) == "......"


def test_a_test_with_old_trials_goes_on_with_them(load: Load) -> None:
    """All its cells do, so that a new value of an axis pairs with what is there; others do not."""
    assert rules(load, {0: 0b1111}, {}) == "ooo..."
    assert rules(load, {1: 0b1}, {}) == "ooo..."
    assert rules(load, {0: 0b1111, 3: 0b1111}, {}) == "oooooo"


def test_a_test_with_trials_of_its_own_goes_on_with_them(load: Load) -> None:
    """Somebody else's few old trials in a shared store change nothing about it."""
    assert rules(load, {}, {0: 0b1111}) == "......"
    assert rules(load, {0: 0b1}, {0: 0b1111}) == "......"
    assert rules(load, {0: 0b1}, {0: 0b1111, 1: 0b1111}) == "......"


def test_a_cell_is_never_asked_again_for_its_tests_sake(load: Load) -> None:
    """A cell whose trials are of the other rule goes on with its own, and nothing runs again."""
    assert rules(load, {0: 0b1111}, {1: 0b11, 2: 0b11, 3: 0b1}) == "o....."
    assert rules(load, {0: 0b1111, 1: 0b1111}, {2: 0b1111}) == "oo...."


def test_as_many_of_both_kinds_are_the_old_kind(load: Load) -> None:
    """Whatever is done then is done under either, and what was there first pairs."""
    assert rules(load, {0: 0b11}, {0: 0b11}) == "ooo..."
    assert rules(load, {0: 0b11}, {1: 0b11}) == "o.o..."


def test_trials_that_errored_bind_as_well(load: Load) -> None:
    """They were asked for under their rule, and are asked again under it."""
    experiment = load(TWO)
    cells = cells_of(experiment)
    held = Held(old={"b": {cells[0].id: known(errored=1)}}, own={})
    assert seeds_of(7, experiment.tests, cells, held).is_old(cells[0])
    # As well as those that were kept, where the store holds some of either rule.
    one, two = known(kept=0b1), known(errored=0b10, kept=0b1)
    held = Held(old={"b": {cells[0].id: two}}, own={"b": {cells[1].id: one}})
    assert seeds_of(7, experiment.tests, cells, held).is_old(cells[2])
    held = Held(old={"b": {cells[1].id: one}}, own={"b": {cells[0].id: two}})
    assert not seeds_of(7, experiment.tests, cells, held).is_old(cells[2])


def test_progress_is_that_of_each_cells_rule(load: Load) -> None:
    """What a cell has under the other rule does not count."""
    experiment = load(TWO)
    cells = sorted(cells_of(experiment), key=lambda cell: cell.test.name)
    ids = [cell.id for cell in cells]
    held = Held(
        old={
            "b": {ids[0]: known(kept=0b1111), ids[3]: known(kept=1)},
            "c": {ids[1]: known(kept=1)},
        },
        own={"b": {ids[3]: known(kept=0b110), ids[0]: known(kept=0b10)}},
    )
    seeds = seeds_of(7, experiment.tests, cells, held)
    assert chosen_progress(seeds, cells, held) == {
        "b": {ids[0]: known(kept=0b1111), ids[3]: known(kept=0b110)},
        "c": {ids[1]: known(kept=1)},
    }


def test_tests_that_send_the_same_are_one(load: Load) -> None:
    """Their checks differ and their cells are the same; so are their seeds."""
    text = TWO.replace("content: ho}", "content: hi}").replace(
        "name: ho", "request: {n_x: 1}, name: ho"
    )
    experiment = load(text)
    cells = cells_of(experiment)
    held = Held(old={"b": {cells[0].id: known(kept=1)}}, own={})
    seeds = seeds_of(7, experiment.tests, cells, held)
    assert len({seeds.first(cell) for cell in cells}) == 1
    assert seeds.old_cells(cells) == len(cells) == 6


def test_the_note_says_how_many_cells_go_on_by_the_old_rule() -> None:
    """None where there is none."""
    assert list(seed_notes(0, 6, offset=0, trials=4)) == []
    (note,) = seed_notes(3, 6, offset=0, trials=4)
    assert note.startswith("3 of 6 cells go on by the old rule for seeds")


def test_an_offset_that_asks_for_seeds_again_is_noted() -> None:
    """Trial 3 without it has the seed of trial 0 with an offset of 3."""
    assert list(seed_notes(0, 6, offset=4, trials=4)) == []
    (note,) = seed_notes(0, 6, offset=3, trials=4)
    assert "choose at least 4" in note
