"""The page in a browser. Needs playwright and a Chromium; skips, saying so, without them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serve.pages import Page, serving

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the page's tests need playwright: pip install playwright"
)
pytest.importorskip("bottle", reason="the page needs bottle: pip install 'edge-tta[serve]'")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium: the system's, or playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
        except sync_api.Error as error:
            pytest.skip(f"no Chromium to be started: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a run that has shown three frames."""
    with serving() as page:
        for number in range(3):
            page.publish(number)
        yield page


def _open(browser: Any, page: Page, said: list[str], **options: Any) -> Any:
    """The page in a tab; what the browser complains of goes to `said`."""
    tab = browser.new_context(**options).new_page()
    tab.set_default_timeout(20_000)
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page.server.url, wait_until="commit")
    tab.wait_for_selector("body:not([data-state=waiting])")
    return tab


def test_the_page_shows_both_predictions_the_picture_and_the_figures(
    browser: Any, page: Page
) -> None:
    said: list[str] = []
    tab = _open(browser, page, said)
    assert tab.text_content("#adapted-top") == "stop"
    assert tab.text_content("#source-network li:nth-child(2) .label span") == "<b>yield</b>"
    assert tab.text_content("#entropy") == "0.50"
    assert tab.text_content("#fps") == "24.9"
    assert tab.text_content("#memory") == "256 MiB"
    assert tab.text_content("#state") == "learning"
    assert tab.get_attribute("#spark .adapted", "points").count(",") == 4
    page.publish(4)
    _until(tab, lambda: tab.evaluate("document.getElementById('picture').naturalWidth") == 64)
    assert said == []


@pytest.mark.parametrize("width", [360, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(
    browser: Any, page: Page, width: int, scheme: str
) -> None:
    long = "a/very/long/" * 20
    page.publish(5, name=long, source=long, truth=long, why=long)
    tab = _open(browser, page, [], viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ground, ink = (
        tab.evaluate(f"getComputedStyle(document.body).{part}")
        for part in ("backgroundColor", "color")
    )
    assert (_light(ground) > _light(ink)) == (scheme == "light")


def test_the_buttons_pause_resume_save_and_after_a_question_reset(browser: Any, page: Page) -> None:
    tab = _open(browser, page, [])
    tab.click("#pause")
    _until(tab, lambda: page.asked == ["pause"])
    page.publish(6, state="paused", paused=True)
    tab.wait_for_selector("body[data-state=paused]")
    assert tab.text_content("#pause") == "Resume"
    tab.wait_for_selector("#pause:enabled")
    tab.click("#pause")
    _until(tab, lambda: page.asked == ["pause", "resume"])
    tab.click("#save")
    _until(tab, lambda: page.asked[-1] == "save")
    tab.once("dialog", lambda dialog: dialog.dismiss())
    tab.click("#reset")
    tab.wait_for_timeout(200)
    assert page.asked[-1] == "save"
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.click("#reset")
    _until(tab, lambda: page.asked[-1] == "reset")


def test_save_says_what_is_missing_where_there_is_no_state_file(browser: Any, page: Page) -> None:
    page.publish(6, can_save=False)
    tab = _open(browser, page, [])
    assert tab.is_disabled("#save")
    assert "--state" in tab.get_attribute("#save", "title")


def test_a_fall_is_told_with_its_reason_and_the_end_of_the_run_too(
    browser: Any, page: Page
) -> None:
    tab = _open(browser, page, [])
    assert tab.is_hidden("#guard")
    assert tab.is_hidden("#banner")
    guard = {
        "fell_back": True, "why": "one class", "falls": 1, "source_share": 0.25, "drift": 0.01,
        "source_weight": 0.9, "disagreement": 0.5, "accuracy": None,
        "source_accuracy": {"value": 0.8, "low": 0.7, "high": 0.9},
        "events": [{"frame": 7, "kind": "fell back", "why": "one class"}],
    }  # fmt: skip
    page.publish(7, state="fell back", guard=guard)
    tab.wait_for_selector("body[data-state='fell back']")
    assert "one class" in tab.text_content("#banner")
    assert "fell back" in tab.text_content("#events")
    assert tab.text_content("#guard-cost") == "source network on 25 % of frames"
    assert tab.text_content("#weight") == "90 %"
    assert tab.text_content("#accuracies") == "unknown, 80 % (70 to 90)"
    page.hub.close()
    tab.wait_for_selector("body[data-state=ended]")
    assert tab.is_disabled("#pause")


def test_a_token_opens_the_page_and_is_not_left_in_the_address(browser: Any) -> None:
    with serving(token="0123456789abcdef") as page:
        page.publish()
        tab = _open(browser, page, [])
        assert "token" not in tab.url
        tab.click("#pause")
        _until(tab, lambda: page.asked == ["pause"])


def _until(tab: Any, true: Any) -> None:
    for _ in range(200):
        if true():
            return
        tab.wait_for_timeout(50)
    pytest.fail("it did not come")


def _light(colour: str) -> float:
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
