"""The shipped suite `structured-output`: what it says of a table of replies."""

from __future__ import annotations

import pytest

from matrixbench.records import Kind, Outcome
from tests.suites.judging import judge_of

JUDGE = judge_of("structured-output")

NOT_JSON, WRONG = Kind.NOT_JSON, Kind.WRONG_CONTENT
SHAPE, VALUE = Kind.SCHEMA_MISMATCH, Kind.PATH_MISMATCH

WEEK = '"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"'
ORDER = (
    '{"order": {"id": 1017, "customer": {"name": "Mia Chen", "address": '
    '{"street": "12 Hill Road", "city": "Leeds"}}}}'
)
LONG = (
    '{"average_response_time_in_milliseconds": 250, '
    '"number_of_failed_requests_in_the_last_hour": 3, '
    '"time_of_the_last_successful_backup": "02:30"}'
)
ROWS = '{"name": "Dan", "age": 19}, {"name": "Ben", "age": 28}, {"name": "Ann", "age": 31}'
PENS = '{"name": "pen", "quantity": 3, "price": 2.50}'
PADS = '{"name": "pad", "quantity": 2, "price": 4.25}'

REPLIES: dict[str, tuple[list[str], list[tuple[str, Kind]]]] = {
    "bare-json": (
        ['{"name": "Alice", "age": 30}', '\n{"age": 30.0,\n "name": "Alice"}\n'],
        [
            ('```json\n{"name": "Alice", "age": 30}\n```', NOT_JSON),
            ('Here it is: {"name": "Alice", "age": 30}', NOT_JSON),
            ('{"name": "Alice", "age": 30} Anything else?', NOT_JSON),
            ("{'name': 'Alice', 'age': 30}", NOT_JSON),
            ('{"name": "Alice", "age": 30,}', NOT_JSON),
            ('{"name": "Alice", "age": "30"}', SHAPE),
            ('{"name": "Alice", "age": 30, "job": null}', SHAPE),
            ('{"name": "Alicia", "age": 30}', VALUE),
            ('{"Name": "Alice", "Age": 30}', SHAPE),
            ('[{"name": "Alice", "age": 30}]', SHAPE),
        ],
    ),
    "fenced-json": (
        ["```json\n[3, 1, 2]\n```", "\n```json\n[\n  3,\n  1,\n  2\n]\n```\n"],
        [
            ("[3, 1, 2]", WRONG),
            ("```\n[3, 1, 2]\n```", WRONG),
            ("Here:\n```json\n[3, 1, 2]\n```", WRONG),
            ("```json\n[3, 1, 2]\n```\nDone.", WRONG),
            ("```json\n[1, 2, 3]\n```", VALUE),
            ('```json\n["3", "1", "2"]\n```', VALUE),
            ("```json\n3, 1, 2\n```", NOT_JSON),
        ],
    ),
    "json-mode": (
        ['{"name": "Bob", "age": 41, "city": "Oslo"}', '{"city":"Oslo","age":41,"name":"Bob"}'],
        [
            ('{"name": "Bob", "age": "41", "city": "Oslo"}', SHAPE),
            ('{"name": "Bob", "age": 14, "city": "Oslo"}', VALUE),
            ('{"person": {"name": "Bob", "age": 41, "city": "Oslo"}}', SHAPE),
            ('{"name": "Bob", "age": 41}', SHAPE),
            ("Bob is 41 years old.", NOT_JSON),
        ],
    ),
    "schema-person": (
        ['{"name": "Carla", "age": 52}'],
        [
            ('{"name": "Carla", "age": 25}', VALUE),
            ('{"name": "Carla is 52 years old.", "age": 52}', VALUE),
            ('{"name": "Carla", "age":', NOT_JSON),
        ],
    ),
    "sentiment-positive": (
        ['{"sentiment": "positive"}'],
        [('{"sentiment": "mixed"}', VALUE), ('{"sentiment": "Positive"}', VALUE)],
    ),
    "sentiment-negative": (
        ['{"sentiment": "negative"}'],
        [('{"sentiment": "positive"}', VALUE), ('{"verdict": "negative"}', VALUE)],
    ),
    "sentiment-mixed": (
        ['{"sentiment": "mixed"}'],
        [('{"sentiment": "negative"}', VALUE), ('"mixed"', VALUE), ("mixed", NOT_JSON)],
    ),
    "missing-is-null": (
        ['{"name": "Dana Reyes", "email": "dana@example.org", "phone": null}'],
        [
            ('{"name": "Dana Reyes", "email": "dana@example.org", "phone": ""}', VALUE),
            ('{"name": "Dana Reyes", "email": "dana@example.org", "phone": "null"}', VALUE),
            ('{"name": "Dana Reyes", "email": "dana@example.org"}', VALUE),
            ('{"name": "Dana", "email": "dana@example.org", "phone": null}', VALUE),
        ],
    ),
    "shape-circle": (
        ['{"shape": {"kind": "circle", "radius": 7}}', '{"shape":{"kind":"circle","radius":7.0}}'],
        [
            ('{"shape": {"kind": "rectangle", "width": 7, "height": 7}}', VALUE),
            ('{"shape": {"kind": "circle", "radius": 3.5}}', VALUE),
            ('{"shape": {"kind": "circle"}}', VALUE),
            ('{"shape": "circle"}', VALUE),
        ],
    ),
    "shape-rectangle": (
        ['{"shape": {"kind": "rectangle", "width": 3, "height": 5}}'],
        [
            ('{"shape": {"kind": "rectangle", "width": 5, "height": 3}}', VALUE),
            ('{"shape": {"kind": "circle", "radius": 3}}', VALUE),
            ('{"shape": ["rectangle", 3, 5]}', VALUE),
        ],
    ),
    "log-errors": (
        ['{"codes": ["E204", "E118"]}'],
        [
            ('{"codes": ["E118", "E204"]}', VALUE),
            ('{"codes": ["E204", "W310", "E118"]}', VALUE),
            ('{"codes": ["E204 disk full", "E118 no route"]}', VALUE),
            ('{"codes": []}', VALUE),
        ],
    ),
    "nested-objects": (
        [ORDER, f"```json\n{ORDER}\n```"],
        [
            (ORDER.replace("1017", '"1017"'), VALUE),
            (ORDER.replace('"address": {', "").replace("}}}}", "}}}"), VALUE),
            (ORDER.replace("12 Hill Road", "12 Hill Road, Leeds"), VALUE),
            (ORDER[:-1], NOT_JSON),
            (ORDER.replace("Mia Chen", ""), VALUE),
        ],
    ),
    "weekdays": (
        [f"[{WEEK}]", f"```\n[{WEEK}]\n```"],
        [
            (f'["Sunday", {WEEK[:-10]}]', VALUE),
            (f'{{"days": [{WEEK}]}}', VALUE),
            (f"[{WEEK.lower()}]", VALUE),
            (f"[{WEEK}, ...]", NOT_JSON),
            ("Monday, Tuesday, Wednesday", NOT_JSON),
        ],
    ),
    "exact-count": (
        ['["apple", "pear", "fig", "plum"]', '["apple", "passion fruit", "fig", "plum"]'],
        [
            ('["apple", "pear", "fig"]', SHAPE),
            ('["apple", "pear", "fig", "plum", "kiwi"]', SHAPE),
            ('["apple", "pear", "fig", "apple"]', SHAPE),
            ('["Apple", "Pear", "Fig", "Plum"]', SHAPE),
            ('{"fruits": ["apple", "pear", "fig", "plum"]}', SHAPE),
            ('["apple", "pear", "fig", "plum"', NOT_JSON),
        ],
    ),
    "only-two-keys": (
        ['{"job": "nurse", "city": "Kobe"}', 'Sure:\n```json\n{"city":"Kobe","job":"nurse"}\n```'],
        [
            ('{"name": "Ken Ito", "job": "nurse", "city": "Kobe"}', VALUE),
            ('{"job": "nurse", "city": "Kobe", "cats": 2}', VALUE),
            ('{"job": "Nurse", "city": "Kobe"}', VALUE),
            ('{"job": "nurse"}', VALUE),
            ('{job: "nurse", city: "Kobe"}', NOT_JSON),
        ],
    ),
    "native-types": (
        ['{"title": "Dune", "pages": 612, "read": true, "rating": null, "tags": []}'],
        [
            (
                '{"title": "Dune", "pages": "612", "read": true, "rating": null, "tags": []}',
                VALUE,
            ),
            (
                '{"title": "Dune", "pages": 612, "read": "true", "rating": null, "tags": []}',
                VALUE,
            ),
            (
                '{"title": "Dune", "pages": 612, "read": true, "rating": "null", "tags": []}',
                VALUE,
            ),
            ('{"title": "Dune", "pages": 612, "read": true, "rating": null, "tags": ""}', VALUE),
            ('{"title": "Dune", "pages": 612, "read": 1, "rating": null, "tags": []}', VALUE),
            ('{"title": "Dune", "pages": 612, "read": true, "tags": []}', VALUE),
            ('{"title": "Dune", "pages": 612, "read": True, "rating": null, "tags": []}', NOT_JSON),
        ],
    ),
    "units": (
        [
            '{"length_m": 1200, "mass_kg": 350000, "opened": 1998}',
            '{"length_m": 1.2e3, "mass_kg": 350000.0, "opened": 1998}',
        ],
        [
            ('{"length_m": 1.2, "mass_kg": 350, "opened": 1998}', VALUE),
            ('{"length_m": "1200 m", "mass_kg": 350000, "opened": 1998}', VALUE),
            ('{"length_m": 1200, "mass_kg": 35000, "opened": 1998}', VALUE),
            ('{"length_m": 1200, "mass_kg": 350000, "opened": "1998"}', VALUE),
            ('{"length_m": 1,200, "mass_kg": 350,000, "opened": 1998}', NOT_JSON),
        ],
    ),
    "long-keys": (
        [LONG],
        [
            (LONG.replace("in_milliseconds", "in_ms"), VALUE),
            (LONG.replace("of_the_last", "of_last"), VALUE),
            (LONG.replace('"02:30"', '"2:30"'), VALUE),
            (LONG.replace("250", '"250"'), VALUE),
            (LONG.replace('"02:30"', "02:30"), NOT_JSON),
        ],
    ),
    "escaping": (
        [
            r'{"text": "She said \"stop\".\nThe path is C:\\temp\\new"}',
            r'{"text": "She said \u0022stop\u0022.\u000aThe path is C:\u005ctemp\\new"}',
        ],
        [
            (r'{"text": "She said \"stop\".\nThe path is C:\temp\new"}', VALUE),
            (r'{"text": "She said \"stop\".\\nThe path is C:\\temp\\new"}', VALUE),
            (r'{"text": "She said \"stop\". The path is C:\\temp\\new"}', VALUE),
            (r'{"text": "She said ' + r"'stop'" + r'.\nThe path is C:\\temp\\new"}', VALUE),
            (r'{"text": "She said "stop".\nThe path is C:\\temp\\new"}', NOT_JSON),
            ('{"text": "She said \\"stop\\".\nThe path is C:\\\\temp\\\\new"}', NOT_JSON),
        ],
    ),
    "other-letters": (
        [
            '["Zürich", "naïve", "Łódź", "東京"]',
            r'["Z\u00fcrich", "na\u00efve", "\u0141\u00f3d\u017a", "\u6771\u4eac"]',
        ],
        [
            ('["Zurich", "naive", "Lodz", "Tokyo"]', VALUE),
            ('["Zürich", "naïve", "Łódz", "東京"]', VALUE),
            ('["Zürich", "naïve", "Łódź", "东京"]', VALUE),
            ('["Zürich, naïve, Łódź, 東京"]', VALUE),
            (r'["Z\xfcrich", "naïve", "Łódź", "東京"]', NOT_JSON),
        ],
    ),
    "sorted-rows": (
        [f'[{ROWS}, {{"name": "Cem", "age": 45}}]'],
        [
            (f'[{{"name": "Cem", "age": 45}}, {ROWS}]', VALUE),
            (f"[{ROWS}]", VALUE),
            (f'{{"people": [{ROWS}, {{"name": "Cem", "age": 45}}]}}', VALUE),
            (f'[{ROWS.replace("19", "28")}, {{"name": "Cem", "age": 45}}]', VALUE),
            (f'{ROWS}, {{"name": "Cem", "age": 45}}', NOT_JSON),
        ],
    ),
    "invoice-total": (
        [
            f'{{"items": [{PENS}, {PADS}], "total": 16.00}}',
            f'{{"total": 16, "items": [{PENS.replace("pen", "Pens")}, {PADS}]}}',
        ],
        [
            (f'{{"items": [{PENS}, {PADS}], "total": 15.5}}', VALUE),
            (f'{{"items": [{PENS}, {PADS}], "total": "16"}}', VALUE),
            (f'{{"items": [{PENS}], "total": 16}}', VALUE),
            (f'{{"items": [{PENS.replace("2.50", "7.50")}, {PADS}], "total": 16}}', VALUE),
            (f'{{"items": [{PENS}, {PADS}], "total": 7.5 + 8.5}}', NOT_JSON),
        ],
    ),
    "follow-up": (
        ['{"title": "Emma", "author": "Jane Austen", "year": 1815}'],
        [
            ('{"title": "Emma", "author": "Jane Austen", "year": "1815"}', VALUE),
            ('{"title": "Emma", "author": "Austen", "year": 1815}', VALUE),
            ('{"title": "Emma", "author": "Jane Austen", "year": 1816}', VALUE),
            ('{"book": "Emma", "author": "Jane Austen", "year": 1815}', VALUE),
            ("Emma was written by Jane Austen.", NOT_JSON),
        ],
    ),
    "csv": (
        [
            'name,city\nAnn,Bern\nBen,"Washington, DC"\nCem,Izmir',
            '```csv\nname,city\r\nAnn,Bern\r\nBen,"Washington, DC"\r\nCem,Izmir\n```\n',
        ],
        [
            ("name,city\nAnn,Bern\nBen,Washington, DC\nCem,Izmir", WRONG),
            ('name,city\n"Ann","Bern"\n"Ben","Washington, DC"\n"Cem","Izmir"', WRONG),
            ('name,city\nAnn,Bern\nBen,"Washington DC"\nCem,Izmir', WRONG),
            ('name, city\nAnn, Bern\nBen, "Washington, DC"\nCem, Izmir', WRONG),
            ('Ann,Bern\nBen,"Washington, DC"\nCem,Izmir', WRONG),
            ('Here is the CSV:\nname,city\nAnn,Bern\nBen,"Washington, DC"\nCem,Izmir', WRONG),
        ],
    ),
    "yaml-lines": (
        [
            "host: localhost\nport: 8080\ndebug: true",
            '---\nhost: "localhost"\nport: 8080\ndebug: true\n',
            "```yaml\nhost: localhost\nport: 8080\ndebug: true\n```",
        ],
        [
            ("host: localhost\nport: 8080\ndebug: True.", WRONG),
            ("port: 8080\nhost: localhost\ndebug: true", WRONG),
            ("settings:\n  host: localhost\n  port: 8080\n  debug: true", WRONG),
            ('host: localhost\nport: "8080"\ndebug: true', WRONG),
            ("- host: localhost\n- port: 8080\n- debug: true", WRONG),
            ("Here you are:\nhost: localhost\nport: 8080\ndebug: true", WRONG),
        ],
    ),
}

PASSING = [(test, text) for test, (passing, _) in REPLIES.items() for text in passing]
FAILING = [(test, text, kind) for test, (_, failing) in REPLIES.items() for text, kind in failing]


@pytest.mark.parametrize(("test", "text"), PASSING)
def test_a_right_reply_passes(test: str, text: str) -> None:
    """What was asked for, however it is laid out."""
    judgement = JUDGE(test, text)
    assert (judgement.outcome, judgement.reason) == (Outcome.PASSED, "")


@pytest.mark.parametrize(("test", "text", "kind"), FAILING)
def test_a_near_miss_fails_for_its_kind(test: str, text: str, kind: Kind) -> None:
    """Another value, another shape, another place, or no JSON at all."""
    judgement = JUDGE(test, text)
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, kind), judgement.reason


def test_the_reason_says_what_was_expected_and_what_was_found() -> None:
    """One value of a large object is named by its path."""
    judgement = JUDGE("nested-objects", ORDER.replace("12 Hill Road", "12 Hill Rd"))
    assert judgement.reason == (
        'order.customer.address.street: expected "12 Hill Road", found "12 Hill Rd"'
    )


def test_the_score_is_the_share_that_is_right() -> None:
    """Of an object's values a part may be right, its length among them."""
    (verdict,) = JUDGE("only-two-keys", '{"job": "nurse", "city": "Osaka"}').verdicts
    assert verdict.score == pytest.approx(2 / 3)
