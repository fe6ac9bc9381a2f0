"""Reading YAML 1.2 with places, under limits."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import SpecError
from matrixbench.spec.yaml_source import MAX_BYTES, MAX_DEPTH, parse_document, read_document

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.spec.yaml_source import Document, Node


def document(text: str) -> Document:
    """Return a text as a document called `f`."""
    return parse_document(text, name="f")


def value(text: str) -> object:
    """Return what a text says."""
    return document(text).root.plain()


def refusal(text: str) -> str:
    """Return why a text cannot be read."""
    with pytest.raises(SpecError) as caught:
        document(text)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def findings(text: str) -> list[str]:
    """Return what is wrong with a text that can be read."""
    return [str(finding.problem) for finding in document(text).findings]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("=", "="),
        ("014", 14),
        ("089", 89),
        ("-7", -7),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5E-2", -0.015),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ('"true"', "true"),
        ("'1'", "1"),
        ('""', ""),
        ("! 5", "5"),
        ("!!str 5", "5"),
        ('!!int "5"', 5),
        ("!!float 5", 5),
        ("!!bool true", True),
        ("!!null ''", None),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, meaning: object) -> None:
    """Booleans, numbers and null are those of YAML 1.2; all else is text."""
    found = value(f"- {text}")
    assert found == [meaning]
    assert isinstance(found, list)
    assert type(found[0]) is type(meaning)


def test_keys_are_the_text_as_written() -> None:
    """A key is never a boolean, a number or null."""
    assert value("on: 1\n1: 2\nnull: 3\n1.0: 4\ntrue: 5") == {
        "on": 1, "1": 2, "null": 3, "1.0": 4, "true": 5,
    }  # fmt: skip


def test_merge_keys_keep_the_mappings_own_values() -> None:
    """`<<` brings what is missing: the mapping's own keys win, then the first source."""
    text = "a: &a {p: 1, q: 2}\nb: &b {p: 9, r: 3}\nc: {<<: [*a, *b], q: 0}\nd: {q: 5, <<: *a}"
    merged = value(text)
    assert isinstance(merged, dict)
    assert merged["c"] == {"p": 1, "q": 0, "r": 3}
    assert merged["d"] == {"q": 5, "p": 1}
    assert value('"<<": 1') == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: duplicate key «a»\n  it stands already in line 1, column 1"),
        ("a: {<<: 1}", "f:1:5: «<<» merges mappings only"),
        ("a: &a {}\nb:\n  <<: *a\n  <<: *a", "f:4:3: duplicate key «<<»"),
        ("a: .nan", "f:1:4: .nan is no number that JSON can carry"),
        ("a: -.inf", "f:1:4: -.inf is no number"),
        ("a: 1e999", "f:1:4: the number is too big"),
        (f"a: {'9' * 301}", "f:1:4: the number is too big"),
        ("a: !x 1", "f:1:4: the tag «!x» is not known here"),
        ("a: !x [1]", "f:1:4: the tag «!x» is not known here"),
        ("a: !!binary aa", "f:1:4: the tag «!!binary» is not known here"),
        ("a: !!int b", "f:1:4: «b» is not what the tag !!int says"),
        ('a: "\\0"', "f:1:4: a text may not hold a NUL character"),
        ('a: "\\ud800"', "f:1:4: an escape that is half a character"),
    ],
)
def test_what_is_wrong_with_values_is_told_with_its_place(text: str, said: str) -> None:
    """A wrong value does not hide what else is wrong: it is a finding of the document."""
    (found,) = findings(text)
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "not valid YAML"),
        ("a:\n\t- b", "f:2:1: not valid YAML"),
        ("a: b: c", "f:1:5: not valid YAML: mapping values are not allowed"),
        ("a: *b", "f:1:4: the alias «*b» has no anchor «&b» above"),
        ("a: &a [*a]", "f:1:8: the alias «*a» stands inside of what it stands for"),
        ("a\n---\nb", "f:2:1: a second document begins here"),
        ("? [a]\n: 1", "f:1:3: a key must be a text"),
        ("? {a: 1}\n: 1", "f:1:3: a key must be a text"),
        ("a: &a []\n*a : 1", "f:2:1: a key must be a text"),
        ("a: \x01", "f:1:4: the character U+0001 may not stand in YAML"),
        ('a: "\\UFFFFFFFF"', "f:1:"),
        ('a: "\\UFFFFFFFF \\ud83d"', "f:1:"),
        ("[" * 200_000, f"f:1:{MAX_DEPTH + 1}: nested more than {MAX_DEPTH} levels deep"),
        ("{a: " * 200_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("- " * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
    ],
)
def test_what_is_no_yaml_is_one_line_with_its_place(text: str, said: str) -> None:
    """Syntax errors stop the reading at once."""
    assert said in refusal(text)


def test_tabs_are_named_as_the_cause() -> None:
    """A tab in the indentation is told as such."""
    assert "indent with spaces, not with tabs" in refusal("a:\n\t- b")


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    """Aliases count as what they stand for."""
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "more than 200,000 values, aliases expanded" in refusal("\n".join(levels))


def test_aliases_cannot_nest_deeper_than_lists_can() -> None:
    """Depth counts with aliases expanded."""
    levels = ["l0: &l0 [x]"] + [f"l{n}: &l{n} [*l{n - 1}]" for n in range(1, 200)]
    assert f"nested more than {MAX_DEPTH} levels" in refusal("\n".join(levels))


def test_an_aliased_value_is_not_shared() -> None:
    """Changing one copy of an aliased value would not change the other."""
    data = value("a: &a [1]\nb: *a")
    assert isinstance(data, dict)
    assert data["a"] == data["b"]
    assert data["a"] is not data["b"]


def test_a_byte_order_mark_is_no_text() -> None:
    """A UTF-8 byte order mark is passed over."""
    assert value("\ufeffa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfea\0", "is written in UTF-16\n  save it as UTF-8"),
        (b"\x7fELF\0\0", "is not a text file (it holds a NUL byte)"),
        (b"a: 1\nb: \xff", ":2:4: is not text in UTF-8"),
        (b"a" * (MAX_BYTES + 1), "is larger than 10 MB"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    """Files that are not text, or are too big, are refused in one line."""
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_document(path)
    assert said in str(caught.value)


def test_a_folder_and_a_missing_file_are_one_line(tmp_path: Path) -> None:
    """What cannot be opened is named with the reason, and with the file that was meant."""
    (tmp_path / "exp.yaml").touch()
    with pytest.raises(SpecError, match="cannot be read: it is a folder"):
        read_document(tmp_path)
    with pytest.raises(SpecError, match=r"no such file\n  perhaps you meant «.*exp.yaml»"):
        read_document(tmp_path / "exo.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        read_document(tmp_path / "a\0b")


def test_a_message_holds_nothing_that_a_terminal_obeys() -> None:
    """Escapes and line breaks in keys do not reach the terminal."""
    (found,) = findings('{"a\\e[31m\\nb": 1, "a\\e[31m\\nb": 2}')
    assert found.startswith("f:1:19: duplicate key «a [31m b»\n")


def places(node: Node) -> list[object]:
    """Return every place in a tree."""
    found: list[object] = [node.place, node.text]
    for key, entry in node.entries.items():
        found += [key, entry.place, *places(entry.node)]
    for item in node.items:
        found += places(item)
    return found


def test_the_pure_parser_sees_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML comes without libyaml, data and places are the same."""
    text = "a: &x [1, 'é', \"b\"]\nö: {c: *x, d: long\n  text}\n? e\n: !!str 1\nf: |\n  g\n"
    fast = places(document(text).root)
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert places(document(text).root) == fast


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**200), 10**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_what_it_says(data: object) -> None:
    """JSON is YAML 1.2: whatever is written as JSON reads back equal."""
    read = document(json.dumps(data))
    assert not read.findings
    assert read.root.plain() == data


KEYS = st.text("abcxyz", min_size=1, max_size=6)
TREES = st.recursive(
    st.integers(0, 99),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, TREES, max_size=4), st.sampled_from([None, 1, 4]))
def test_places_point_at_keys_and_values(data: dict[str, object], indent: int | None) -> None:
    """The place of a key is where its text begins, and that of a scalar where its own does."""
    text = json.dumps(data, indent=indent)
    lines = text.split("\n")

    def check(node: Node) -> None:
        for key, entry in node.entries.items():
            assert lines[entry.place.line - 1][entry.place.column - 1 :].startswith(f'"{key}"')
            check(entry.node)
        for item in node.items:
            check(item)
        if isinstance(node.value, int):
            assert lines[node.place.line - 1][node.place.column - 1 :].startswith(node.text)

    check(document(text).root)


@given(st.text() | st.text("a:-[]{}&*!|>'\"%@#?, \n\t<\\u0"))
def test_no_text_does_more_than_raise_a_spec_error(text: str) -> None:
    """Whatever the text, it is read or refused."""
    with suppress(SpecError):
        document(text).root.plain()


def test_halves_of_characters_change_nothing_else() -> None:
    """A pair is a character, and what stands beside it is read as ever."""
    text = r"""[Why? No., "\ud83d\ude00", '\ud83d', \ud83d, "\\ud83d", x]"""
    assert value(text) == ["Why? No.", "😀", r"\ud83d", r"\ud83d", r"\ud83d", "x"]
    assert not findings(text)


def test_half_a_character_is_told_with_its_place() -> None:
    """Also behind a pair, and beside what the slower parser would not read."""
    assert findings(r"""{a: Why? No., c: "\ud83d\ude00", b: "\ud83d"}""") == [
        "f:1:37: an escape that is half a character"
    ]
