"""The shipped suite `structured-output`: what it says of a table of replies."""

from __future__ import annotations

import pytest

from matrixbench.records import Kind, Outcome
from tests.suites.judging import judge_of

JUDGE = judge_of("structured-output")

NOT_JSON, MISMATCH, WRONG = Kind.NOT_JSON, Kind.SCHEMA_MISMATCH, Kind.WRONG_CONTENT

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
            ('{"name": "Alice", "age": "30"}', MISMATCH),
            ('{"name": "Alice", "age": 30, "job": null}', MISMATCH),
            ('{"Name": "Alice", "Age": 30}', MISMATCH),
            ('[{"name": "Alice", "age": 30}]', MISMATCH),
        ],
    ),
    "fenced-json": (
        ["```json\n[3, 1, 2]\n```", "\n```json\n[\n  3,\n  1,\n  2\n]\n```\n"],
        [
            ("[3, 1, 2]", WRONG),
            ("```\n[3, 1, 2]\n```", WRONG),
            ("Here:\n```json\n[3, 1, 2]\n```", WRONG),
            ("```json\n[3, 1, 2]\n```\nDone.", WRONG),
            ("```json\n[1, 2, 3]\n```", MISMATCH),
            ('```json\n["3", "1", "2"]\n```', MISMATCH),
            ("```json\n3, 1, 2\n```", NOT_JSON),
        ],
    ),
    "json-mode": (
        ['{"name": "Bob", "age": 41, "city": "Oslo"}', '{"city":"Oslo","age":41,"name":"Bob"}'],
        [
            ('{"name": "Bob", "age": "41", "city": "Oslo"}', MISMATCH),
            ('{"person": {"name": "Bob", "age": 41, "city": "Oslo"}}', MISMATCH),
            ('{"name": "Bob", "age": 41}', MISMATCH),
            ("Bob is 41 years old.", NOT_JSON),
        ],
    ),
    "schema-person": (
        ['{"name": "Carla", "age": 52}'],
        [
            ('{"name": "Carla", "age": 25}', MISMATCH),
            ('{"name": "Carla is 52 years old.", "age": 52}', MISMATCH),
            ('{"name": "Carla", "age":', NOT_JSON),
        ],
    ),
    "sentiment-positive": (
        ['{"sentiment": "positive"}'],
        [('{"sentiment": "mixed"}', MISMATCH), ('{"sentiment": "Positive"}', MISMATCH)],
    ),
    "sentiment-negative": (
        ['{"sentiment": "negative"}'],
        [('{"sentiment": "positive"}', MISMATCH), ('{"verdict": "negative"}', MISMATCH)],
    ),
    "sentiment-mixed": (
        ['{"sentiment": "mixed"}'],
        [('{"sentiment": "negative"}', MISMATCH), ('"mixed"', MISMATCH), ("mixed", NOT_JSON)],
    ),
    "missing-is-null": (
        ['{"name": "Dana Reyes", "email": "dana@example.org", "phone": null}'],
        [
            ('{"name": "Dana Reyes", "email": "dana@example.org", "phone": ""}', MISMATCH),
            ('{"name": "Dana Reyes", "email": "dana@example.org", "phone": "null"}', MISMATCH),
            ('{"name": "Dana Reyes", "email": "dana@example.org"}', MISMATCH),
            ('{"name": "Dana", "email": "dana@example.org", "phone": null}', MISMATCH),
        ],
    ),
    "shape-circle": (
        ['{"shape": {"kind": "circle", "radius": 7}}', '{"shape":{"kind":"circle","radius":7.0}}'],
        [
            ('{"shape": {"kind": "rectangle", "width": 7, "height": 7}}', MISMATCH),
            ('{"shape": {"kind": "circle", "radius": 3.5}}', MISMATCH),
            ('{"shape": {"kind": "circle"}}', MISMATCH),
            ('{"shape": "circle"}', MISMATCH),
        ],
    ),
    "shape-rectangle": (
        ['{"shape": {"kind": "rectangle", "width": 3, "height": 5}}'],
        [
            ('{"shape": {"kind": "rectangle", "width": 5, "height": 3}}', MISMATCH),
            ('{"shape": {"kind": "circle", "radius": 3}}', MISMATCH),
            ('{"shape": ["rectangle", 3, 5]}', MISMATCH),
        ],
    ),
    "log-errors": (
        ['{"codes": ["E204", "E118"]}'],
        [
            ('{"codes": ["E118", "E204"]}', MISMATCH),
            ('{"codes": ["E204", "W310", "E118"]}', MISMATCH),
            ('{"codes": ["E204 disk full", "E118 no route"]}', MISMATCH),
            ('{"codes": []}', MISMATCH),
        ],
    ),
    "nested-objects": (
        [ORDER, f"```json\n{ORDER}\n```"],
        [
            (ORDER.replace("1017", '"1017"'), MISMATCH),
            (ORDER.replace('"address": {', "").replace("}}}}", "}}}"), MISMATCH),
            (ORDER.replace("12 Hill Road", "12 Hill Road, Leeds"), MISMATCH),
            (ORDER[:-1], NOT_JSON),
            (ORDER.replace("Mia Chen", ""), MISMATCH),
        ],
    ),
    "weekdays": (
        [f"[{WEEK}]", f"```\n[{WEEK}]\n```"],
        [
            (f'["Sunday", {WEEK[:-10]}]', MISMATCH),
            (f'{{"days": [{WEEK}]}}', MISMATCH),
            (f"[{WEEK.lower()}]", MISMATCH),
            (f"[{WEEK}, ...]", NOT_JSON),
            ("Monday, Tuesday, Wednesday", NOT_JSON),
        ],
    ),
    "exact-count": (
        ['["apple", "pear", "fig", "plum"]', '["apple", "passion fruit", "fig", "plum"]'],
        [
            ('["apple", "pear", "fig"]', MISMATCH),
            ('["apple", "pear", "fig", "plum", "kiwi"]', MISMATCH),
            ('["apple", "pear", "fig", "apple"]', MISMATCH),
            ('["Apple", "Pear", "Fig", "Plum"]', MISMATCH),
            ('{"fruits": ["apple", "pear", "fig", "plum"]}', MISMATCH),
            ('["apple", "pear", "fig", "plum"', NOT_JSON),
        ],
    ),
    "only-two-keys": (
        ['{"job": "nurse", "city": "Kobe"}', 'Sure:\n```json\n{"city":"Kobe","job":"nurse"}\n```'],
        [
            ('{"name": "Ken Ito", "job": "nurse", "city": "Kobe"}', MISMATCH),
            ('{"job": "nurse", "city": "Kobe", "cats": 2}', MISMATCH),
            ('{"job": "Nurse", "city": "Kobe"}', MISMATCH),
            ('{"job": "nurse"}', MISMATCH),
            ('{job: "nurse", city: "Kobe"}', NOT_JSON),
        ],
    ),
    "native-types": (
        ['{"title": "Dune", "pages": 612, "read": true, "rating": null, "tags": []}'],
        [
            (
                '{"title": "Dune", "pages": "612", "read": true, "rating": null, "tags": []}',
                MISMATCH,
            ),
            (
                '{"title": "Dune", "pages": 612, "read": "true", "rating": null, "tags": []}',
                MISMATCH,
            ),
            (
                '{"title": "Dune", "pages": 612, "read": true, "rating": "null", "tags": []}',
                MISMATCH,
            ),
            ('{"title": "Dune", "pages": 612, "read": true, "rating": null, "tags": ""}', MISMATCH),
            ('{"title": "Dune", "pages": 612, "read": 1, "rating": null, "tags": []}', MISMATCH),
            ('{"title": "Dune", "pages": 612, "read": true, "tags": []}', MISMATCH),
            ('{"title": "Dune", "pages": 612, "read": True, "rating": null, "tags": []}', NOT_JSON),
        ],
    ),
    "units": (
        [
            '{"length_m": 1200, "mass_kg": 350000, "opened": 1998}',
            '{"length_m": 1.2e3, "mass_kg": 350000.0, "opened": 1998}',
        ],
        [
            ('{"length_m": 1.2, "mass_kg": 350, "opened": 1998}', MISMATCH),
            ('{"length_m": "1200 m", "mass_kg": 350000, "opened": 1998}', MISMATCH),
            ('{"length_m": 1200, "mass_kg": 35000, "opened": 1998}', MISMATCH),
            ('{"length_m": 1200, "mass_kg": 350000, "opened": "1998"}', MISMATCH),
            ('{"length_m": 1,200, "mass_kg": 350,000, "opened": 1998}', NOT_JSON),
        ],
    ),
    "long-keys": (
        [LONG],
        [
            (LONG.replace("in_milliseconds", "in_ms"), MISMATCH),
            (LONG.replace("of_the_last", "of_last"), MISMATCH),
            (LONG.replace('"02:30"', '"2:30"'), MISMATCH),
            (LONG.replace("250", '"250"'), MISMATCH),
            (LONG.replace('"02:30"', "02:30"), NOT_JSON),
        ],
    ),
    "escaping": (
        [
            r'{"text": "She said \"stop\".\nThe path is C:\\temp\\new"}',
            r'{"text": "She said \u0022stop\u0022.\u000aThe path is C:\u005ctemp\\new"}',
        ],
        [
            (r'{"text": "She said \"stop\".\nThe path is C:\temp\new"}', MISMATCH),
            (r'{"text": "She said \"stop\".\\nThe path is C:\\temp\\new"}', MISMATCH),
            (r'{"text": "She said \"stop\". The path is C:\\temp\\new"}', MISMATCH),
            (r'{"text": "She said ' + r"'stop'" + r'.\nThe path is C:\\temp\\new"}', MISMATCH),
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
            ('["Zurich", "naive", "Lodz", "Tokyo"]', MISMATCH),
            ('["Zürich", "naïve", "Łódz", "東京"]', MISMATCH),
            ('["Zürich", "naïve", "Łódź", "东京"]', MISMATCH),
            ('["Zürich, naïve, Łódź, 東京"]', MISMATCH),
            (r'["Z\xfcrich", "naïve", "Łódź", "東京"]', NOT_JSON),
        ],
    ),
    "sorted-rows": (
        [f'[{ROWS}, {{"name": "Cem", "age": 45}}]'],
        [
            (f'[{{"name": "Cem", "age": 45}}, {ROWS}]', MISMATCH),
            (f"[{ROWS}]", MISMATCH),
            (f'{{"people": [{ROWS}, {{"name": "Cem", "age": 45}}]}}', MISMATCH),
            (f'[{ROWS.replace("19", "28")}, {{"name": "Cem", "age": 45}}]', MISMATCH),
            (f'{ROWS}, {{"name": "Cem", "age": 45}}', NOT_JSON),
        ],
    ),
    "invoice-total": (
        [
            f'{{"items": [{PENS}, {PADS}], "total": 16.00}}',
            f'{{"total": 16, "items": [{PENS.replace("pen", "Pens")}, {PADS}]}}',
        ],
        [
            (f'{{"items": [{PENS}, {PADS}], "total": 15.5}}', MISMATCH),
            (f'{{"items": [{PENS}, {PADS}], "total": "16"}}', MISMATCH),
            (f'{{"items": [{PENS}], "total": 16}}', MISMATCH),
            (f'{{"items": [{PENS.replace("2.50", "7.50")}, {PADS}], "total": 16}}', MISMATCH),
            (f'{{"items": [{PENS}, {PADS}], "total": 7.5 + 8.5}}', NOT_JSON),
        ],
    ),
    "follow-up": (
        ['{"title": "Emma", "author": "Jane Austen", "year": 1815}'],
        [
            ('{"title": "Emma", "author": "Jane Austen", "year": "1815"}', MISMATCH),
            ('{"title": "Emma", "author": "Austen", "year": 1815}', MISMATCH),
            ('{"title": "Emma", "author": "Jane Austen", "year": 1816}', MISMATCH),
            ('{"book": "Emma", "author": "Jane Austen", "year": 1815}', MISMATCH),
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
