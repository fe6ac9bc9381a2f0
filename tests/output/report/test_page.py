"""The report in a real browser: from the map to the transcript, by pointer and by keyboard."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.output.report.browser import Show

pytestmark = [pytest.mark.browser, pytest.mark.real]


def squares_of(page: Page) -> int:
    """Return how many squares the first chart has."""
    return int(page.locator("[data-squares]").first.get_attribute("data-squares") or 0)


def test_the_answer_stands_before_what_it_rests_on(show: Show, quickstart: Path) -> None:
    """Question, answer with rank and gate, what is undecided, chart, cells, launches: in order."""
    page = show(quickstart).page
    headings = page.locator("main h2, main h3").all_inner_texts()
    assert headings[:2] == ["Question", "Answer"]
    assert headings[2].startswith("Gate: no-system-prompt against native: ")
    assert headings[3:] == ["Undecided", "Chart", "Cells", "Launches"]
    assert "How much temperature does SmolLM2-135M stand" in page.inner_text("#question ~ p")
    assert page.locator("table", has_text="Rank by chat_template").locator("tbody tr").count() == 2
    assert page.locator("table", has_text="Cells of quickstart").locator("tbody tr").count() == 60
    assert squares_of(page) == 60
    assert page.title() == "quickstart: report"


def test_a_click_and_enter_open_a_square(show: Show, quickstart: Path) -> None:
    """The square under the pointer opens its cell; arrow keys and Enter open the one below it."""
    page = show(quickstart).page
    chart = page.locator(".chart")
    chart.focus()
    page.keyboard.press("ArrowDown")
    note = page.locator(".square-note").inner_text()
    assert "success ratio" in note
    first = page.locator(".cursor").bounding_box()
    assert first is not None
    page.keyboard.press("ArrowDown")
    assert page.locator(".square-note").inner_text() != note
    page.keyboard.press("Enter")
    page.wait_for_selector("#replies")
    below = page.inner_text("h2")
    page.go_back()
    page.wait_for_selector("#question")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    cursor = page.locator(".cursor").bounding_box()
    assert box is not None
    assert cursor is not None
    middle = cursor["x"] + cursor["width"] / 2, cursor["y"] + cursor["height"] / 2
    page.mouse.click(*middle)
    page.wait_for_selector("#replies")
    assert page.inner_text("h2") == below


def test_from_a_cell_to_a_trial_to_its_launch(show: Show, quickstart: Path) -> None:
    """A cell has interval and replies, a trial all that was said, a launch what really ran."""
    page = show(quickstart).page
    page.locator("tbody tr", has_text="capital-of-Italy").first.locator("a").click()
    page.wait_for_selector("#replies")
    assert "capital-of-Italy" in page.inner_text("h2")
    assert re.search(r"\d different ones? in \d trial", page.inner_text("#replies"))
    page.get_by_role("link", name="trial 0", exact=True).click()
    page.wait_for_selector("#trial")
    trial = page.inner_text("#trial-section")
    assert "What is the capital of Italy?" in trial
    assert "content" in page.locator("table", has_text="What each check said").inner_text()
    for told in ("latency", "first token after", "completion tokens", "from the cache", "seed"):
        assert told in trial
    seed = re.search(r"seed\n(\d+)", trial)
    assert seed is not None
    assert f'"seed":{seed[1]}' in page.get_by_label("line that sends the request").inner_text()
    assert "--model" in page.get_by_label("line that starts the server").inner_text()
    page.get_by_role("link", name=re.compile(r"^launch \d+$")).click()
    page.wait_for_selector("h2:has-text('Launch')")
    asked = page.locator("table", has_text="asked for").inner_text()
    assert re.search(r"n_ctx\s+512\s+512", asked)
    assert "xllamacpp" in page.inner_text("main")
    assert len(page.get_by_label("the log's last lines").inner_text()) > 100


def test_two_replies_side_by_side(show: Show, quickstart: Path) -> None:
    """Any two can be chosen: what is only on one side is marked, and reply, prompt, launch too."""
    page = show(quickstart).page
    for test in ("France", "Italy"):
        page.locator("tbody tr", has_text=f"capital-of-{test}").last.locator("a").click()
        page.get_by_role("link", name="trial 0", exact=True).click()
        page.wait_for_selector("#trial")
        if test == "France":
            page.get_by_role("button", name="Choose to be compared").click()
            page.wait_for_selector(".chosen")
            page.locator("nav.crumbs a").click()
            page.wait_for_selector("#question")
    page.get_by_role("button", name=re.compile("^Compare with")).click()
    page.wait_for_selector(".sides")
    page.get_by_role("button", name="prompt").click()
    page.wait_for_selector("button[aria-pressed=true]:has-text('prompt')")
    assert page.locator(".sides del").all_inner_texts() == ["France"]
    assert page.locator(".sides ins").all_inner_texts() == ["Italy"]
    page.get_by_role("button", name="launch").click()
    page.wait_for_selector("button[aria-pressed=true]:has-text('launch')")
    assert "They are the same." in page.inner_text("main")


def test_the_address_holds_the_place(show: Show, quickstart: Path) -> None:
    """Filter and order stand in the fragment: a reload and a link open the same place."""
    opened = show(quickstart)
    page = opened.page
    page.get_by_label("Only cells where").fill("temperature<=0.3 and test=~capital")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="success ratio").click()
    page.wait_for_selector("th[aria-sort=descending]")
    rows = page.locator("table", has_text="Cells of quickstart").locator("tbody tr")
    shown = rows.all_inner_texts()
    assert len(shown) == 8
    ratios = [float(re.findall(r"[01]\.\d{3}", row)[0]) for row in shown]
    assert ratios == sorted(ratios, reverse=True)
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert rows.all_inner_texts() == shown
    assert page.get_by_label("Only cells where").input_value().startswith("temperature<=0.3")
    page.get_by_label("Only cells where").fill("temprature=1")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]:has-text('no axis «temprature»')")
    href = page.locator("tbody th a").first.get_attribute("href") or ""
    assert "replies" in opened.go(f"{href}&trial=0").inner_html("main")
    assert page.locator("#trial").inner_text() == "Trial 0"


def test_all_texts_are_searched(show: Show, quickstart: Path) -> None:
    """A word of a prompt or of a reply leads to the trials that have it, whatever its case."""
    page = show(quickstart).page
    page.get_by_label("Search all texts").fill("CAPITAL of italy")
    page.keyboard.press("Enter")
    page.wait_for_selector("main [role=status]:text-matches('^[0-9]+ hits$')")
    first = page.locator("main ol a").first
    assert "capital-of-Italy" in first.inner_text()
    first.click()
    page.wait_for_selector("#replies")


VIEWS = {
    "overview": "",
    "trial": "#cell={cell}&trial=0",
    "launch": "#launch=1",
    "comparison": "#left={cell}:0&right={other}:0",
    "search": "#search=the",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_a_screen_reader(
    show: Show, quickstart: Path, scheme: str
) -> None:
    """Axe finds no violation in any view, in light and in dark."""
    opened = show(quickstart, color_scheme=scheme)
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    links = opened.page.locator("tbody th a").all()
    cell, *_, other = [(one.get_attribute("href") or "").partition("=")[2] for one in links]
    for name, fragment in VIEWS.items():
        page = opened.go(fragment.format(cell=cell, other=other))
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], name


def test_it_is_read_and_used_on_a_phone(show: Show, quickstart: Path) -> None:
    """At 400 px nothing is wider than the screen, text is large, and a tap opens a square."""
    opened = show(
        quickstart, viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True
    )
    cell = opened.page.locator("tbody th a").first.get_attribute("href") or ""
    for fragment in (f"{cell}&trial=0", "#launch=1", ""):
        page = opened.go(fragment)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
        heights = "[...document.querySelectorAll('form button, input')].map((e) => e.offsetHeight)"
        assert min(page.evaluate(heights)) >= 44
    page.locator(".chart canvas").first.scroll_into_view_if_needed()
    box = page.locator(".chart").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 120, box["y"] + 150)
    page.wait_for_selector("#replies")


def test_it_has_a_dark_side_and_a_printed_one(show: Show, quickstart: Path) -> None:
    """In the dark the ground is dark; on paper there are no controls, and nothing is cut off."""
    ground = "getComputedStyle(document.body).backgroundColor"
    page = show(quickstart, color_scheme="dark").page
    assert sum(map(int, re.findall(r"\d+", page.evaluate(ground)))) < 150
    page = show(quickstart).page
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(media="print")
    assert not page.locator("form").first.is_visible()
    assert page.locator("#answer").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.wide')).overflowX") == "visible"
    assert len(page.pdf()) > 10_000


def test_ten_thousand_squares(show: Show, squares: Path) -> None:
    """Each of ten thousand squares can be reached, and the table shows its rows step by step."""
    page = show(squares).page
    assert squares_of(page) == 10_000
    page.locator(".chart").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#replies")
    assert "temperature=0.02 · test-1 · number=1" in page.inner_text("h2")
    page.go_back()
    page.wait_for_selector("#question")
    rows = page.locator("table", has_text="Cells of squares").locator("tbody tr")
    assert rows.count() == 100
    page.get_by_role("button", name="Show more rows").click()
    assert rows.count() == 200
    page.get_by_label("Only cells where").fill("temperature=0.5 and parameters.number in (1, 2)")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]:text-is('2 of 2 rows')")
    assert rows.count() == 2


def test_hostile_text_stays_text(show: Show, hostile: Path) -> None:
    """Markup, turned lines, control characters and a line of a megabyte are shown as they are."""
    opened = show(hostile)
    page = opened.page
    markup = "</script><script>window.hacked=1</script>"
    assert markup in page.inner_text("main")
    assert page.locator("main script, main img, main svg").count() == 0
    cells = [one.get_attribute("href") for one in page.locator("tbody th a").all()]
    assert len(cells) == 2
    whole = ""
    for cell in cells:
        for trial in range(4):
            page = opened.go(f"{cell}&trial={trial}")
            assert page.locator("main script, main img, main svg").count() == 0
            whole += page.inner_text("main")
    assert markup in whole
    assert "left\\u202eright\\u2066 \\u200bunseen \\x1b[31m\\x07 red" in whole
    assert "\u202e" not in whole
    assert f"calls {markup}" in whole
    button = page.get_by_role("button", name="Show all 1,000,000 characters")
    button.click()
    assert page.locator("pre", has_text="x" * 1000).inner_text() == "x" * 1_000_000
    page = opened.go("#search=onerror")
    page.wait_for_selector("main [role=status]:text-matches('^[0-9]+ hits$')")
    assert page.locator("main img").count() == 0


def test_an_address_from_elsewhere_does_no_harm(show: Show, hostile: Path) -> None:
    """A fragment that names nothing, or is no text of ours, is answered in words."""
    opened = show(hostile)
    for fragment, said in (
        ("#cell=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", "There is no such cell"),
        ("#launch=999", "There is no such launch"),
        ("#left=a:0&right=b:x", "There is no such cell"),
        ("#experiment=77&sort=%F0", "Question"),
    ):
        assert said in opened.go(fragment).inner_text("main")
