"""The page in a browser. Needs playwright and a Chromium; skips, saying so, without them."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from edge_tta.run.frame_result import FilterReport
from edge_tta.temporal.accuracy import VAGUE
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


_GUARD = {
    "fell_back": True, "why": "one class", "falls": 1, "source_share": 0.25, "drift": 0.01,
    "source_weight": 0.9, "disagreement": 0.5, "accuracy": None,
    "source_accuracy": {"value": 0.8, "low": 0.7, "high": 0.9},
    "events": [{"frame": 7, "kind": "fell back", "why": "one class", "at_s": 0.1}],
}  # fmt: skip
_ANSWER = {
    "label": "stop", "confidence": 0.9, "stay": FilterReport(0.1, 12, 0.5, 0.2, None, None).stay,
    "novelty": 0.2,
    "alone": 0.1, "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9},
    "raw": {"label": "yield", "confidence": 0.4},
}  # fmt: skip


def test_the_page_shows_both_predictions_the_picture_and_the_figures(
    browser: Any, page: Page
) -> None:
    said: list[str] = []
    tab = _open(browser, page, said)
    assert tab.text_content("#adapted-top") == "stop"
    assert tab.text_content("#source-network li:nth-child(2) .label span") == "<b>yield</b>"
    assert tab.text_content("#fps") == "24.9"
    assert tab.text_content("#memory") == "256 MiB"
    assert tab.text_content("#state") == "learning"
    page.publish(4)
    _until(tab, lambda: tab.evaluate("document.getElementById('picture').naturalWidth") == 64)
    assert said == []


def test_a_class_has_the_colour_that_it_is_painted_in(browser: Any, page: Page) -> None:
    reading = {"likeliest": [["road", 0.6], ["sky", 0.4]], "entropy": 0.1}
    page.publish(5, adapted={**reading, "colours": {"road": "#102030"}})
    tab = _open(browser, page, [])
    tab.wait_for_selector("#adapted .label .key")
    colour = "getComputedStyle(document.querySelector('#adapted .label .key')).backgroundColor"
    assert tab.evaluate(colour) == "rgb(16, 32, 48)"
    assert tab.locator("#adapted .label .key").count() == 1


@pytest.mark.parametrize("width", [360, 390, 844, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(
    browser: Any, page: Page, width: int, scheme: str
) -> None:
    long = "a/very/long/" * 20
    names = ["hen-of-the-woods, hen of the woods, Polyporus frondosus", "x" * 56]
    reading = {"likeliest": [[name, 0.5] for name in names], "entropy": 0.7}
    page.publish(5, name=long, source=long, truth=long, why=long, adapted=reading)
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
    page.publish(6, saved=None)
    tab = _open(browser, page, [])
    assert tab.is_disabled("#save")
    assert "--state" in tab.get_attribute("#save", "title")


def test_that_the_source_answers_of_masks_and_boxes_is_no_alarm(browser: Any, page: Page) -> None:
    why = "source answers: the adapted network is not clearly surer"
    tab = _open(browser, page, [])
    calm = "getComputedStyle(document.getElementById('state')).color"
    page.publish(6, state="observing")
    tab.wait_for_selector("body[data-state=observing]")
    colour = tab.evaluate(calm)
    page.publish(7, state="source answers", why=why, guard={**_GUARD, "fell_back": False})
    tab.wait_for_selector("body[data-state='source answers']")
    assert tab.is_hidden("#banner")
    assert tab.evaluate(calm) == colour
    assert tab.text_content("#why") == why
    assert tab.text_content("#adapted-note") == "(not surer)"


def test_the_answer_over_time_is_shown_beside_the_frame_alone(browser: Any, page: Page) -> None:
    tab = _open(browser, page, [])
    assert tab.is_hidden("#filter")
    page.publish(6, answer=_ANSWER)
    tab.wait_for_selector("#filter:not([hidden])")
    shown = {
        "answer": "stop", "belief": "90 %", "frame-alone": "yield 40 %", "stay": "0.50 s",
        "novelty": "20 %", "neighbours": "90 %", "accuracy": "80 % (70 to 90)",
    }  # fmt: skip
    assert {name: tab.text_content(f"#{name}") for name in shown} == shown
    assert tab.is_hidden("#alarm")
    in_frames = FilterReport(0.1, 12, None, 0.2, None, None).stay
    told = {**_ANSWER, "stay": in_frames, "accuracy": None}
    page.publish(7, answer=told, alarm_below=0.85)
    tab.wait_for_selector("#alarm:not([hidden])")
    assert tab.text_content("#alarm") == "Estimated accuracy is below 85 %."
    assert tab.text_content("#stay") == "12 frames"
    assert tab.text_content("#accuracy") == "unknown"


def test_a_fall_is_told_with_its_reason_and_the_end_of_the_run_too(
    browser: Any, page: Page
) -> None:
    tab = _open(browser, page, [])
    assert tab.is_hidden("#guard")
    assert tab.is_hidden("#banner")
    page.publish(7, state="fell back", guard=_GUARD)
    tab.wait_for_selector("body[data-state='fell back']")
    assert "one class" in tab.text_content("#banner")
    assert "fell back" in tab.text_content("#events")
    assert tab.text_content("#guard-cost") == "source network on 25 % of frames"
    assert tab.text_content("#weight") == "90 %"
    assert tab.text_content("#accuracies") == "unknown, 80 % (70 to 90)"
    saved = {"at_s": 0.1, "problem": None, "there": True, "onnx": True}
    page.publish(8, saved=saved)
    tab.wait_for_selector("#download")
    page.hub.close()
    tab.wait_for_selector("body[data-state=ended]")
    assert tab.is_disabled("#pause")
    assert tab.is_hidden("#download")
    assert tab.is_hidden("#onnx")


def test_a_picture_has_the_form_that_it_came_in(browser: Any, page: Page) -> None:
    tab = _open(browser, page, [], viewport={"width": 390, "height": 844})
    form = "(() => { const b = document.querySelector('.frame').getBoundingClientRect();"
    form += " const i = document.querySelector('#picture');"
    form += " return b.width / b.height * i.naturalHeight / i.naturalWidth; })()"
    assert tab.evaluate(form) == pytest.approx(1, abs=0.02)


def test_the_page_asks_for_the_token_where_the_address_has_none(browser: Any) -> None:
    with serving(token="0123456789abcdef") as page:
        page.publish()
        tab = browser.new_context().new_page()
        tab.goto(page.server.url.partition("?")[0], wait_until="commit")
        tab.fill("[name=token]", "wrong")
        tab.click("button", no_wait_after=True)
        tab.wait_for_selector("text=That was not it.")
        tab.fill("[name=token]", " 0123456789abcdef ")
        tab.click("button", no_wait_after=True)
        tab.wait_for_selector("body:not([data-state=waiting])[data-state]")


def test_the_page_shows_no_middle_where_the_terminal_shows_none() -> None:
    script = (resources.files("edge_tta.serve") / "page.js").read_text()
    assert f"const VAGUE = {VAGUE};" in script


def test_a_token_opens_the_page_and_is_not_left_in_the_address(browser: Any) -> None:
    with serving(token="0123456789abcdef") as page:
        page.publish()
        tab = _open(browser, page, [])
        assert "token" not in tab.url
        tab.click("#pause")
        _until(tab, lambda: page.asked == ["pause"])


def test_picture_and_caption_are_of_one_frame(browser: Any, page: Page) -> None:
    tab = _open(browser, page, [])
    tab.evaluate(_SAMPLING)
    for number in range(0, 200, 8):
        page.publish(number)
        tab.wait_for_timeout(30)
    pairs = tab.evaluate("window.pairs")
    assert len({name for name, _ in pairs}) > 5
    for name, level in pairs:
        assert abs(int(name.partition("#")[2]) - level) <= 4


def test_after_a_restart_the_new_run_is_shown_picture_too(browser: Any) -> None:
    with serving() as page:
        page.publish(50)
        tab = _open(browser, page, [])
        port = page.port
    tab.wait_for_selector("body[data-state=ended]")
    assert tab.is_disabled("#save")
    with serving(port=port) as page:
        page.publish(150)
        tab.wait_for_selector("body[data-state=learning]")
        assert tab.text_content("#name") == "clip#150"
        assert abs(tab.evaluate(_LEVEL) - 150) <= 4
        assert tab.is_enabled("#save")


def test_curves_are_drawn_as_seconds_pass_with_a_mark_for_what_the_guard_did(
    browser: Any, page: Page
) -> None:
    tab = _open(browser, page, [])
    for number in range(4):
        page.publish(number, guard=_GUARD)
        tab.wait_for_timeout(700)
    tab.wait_for_selector("#curves polyline.adapted", state="attached")
    assert tab.locator("#curves svg").count() == 2  # nothing estimates an accuracy here
    assert "adapted 0.50" in tab.get_attribute("#curves svg", "aria-label")
    assert tab.locator("#curves line.mark.fell").count() == 2


def test_a_new_token_and_a_full_house_are_told_and_mended(browser: Any) -> None:
    with serving(token="0123456789abcdef") as page:
        page.publish()
        tab = _open(browser, page, [])
        port = page.port
    with serving(token="f" * 16, port=port):
        tab.wait_for_selector("body[data-state='new token']")
        assert "new token" in tab.text_content("#banner")
    with serving() as page, contextlib.ExitStack() as stack:
        page.publish()
        viewers = [stack.enter_context(page.open("/live")) for _ in range(16)]
        tab = browser.new_context().new_page()
        tab.goto(page.server.url, wait_until="commit")
        tab.wait_for_selector("body[data-state=full]")
        assert "Too many viewers" in tab.text_content("#banner")
        assert all(viewer.status == 200 for viewer in viewers)
        stack.close()
        for number in range(100):
            page.publish(number)
            if tab.get_attribute("body", "data-state") == "learning":
                break
            tab.wait_for_timeout(100)
        assert tab.is_hidden("#banner")


def test_three_tabs_beside_dead_viewers_all_see_the_run_and_any_of_them_steers_it(
    browser: Any, page: Page
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(12):  # these never read what they asked for
            dead = stack.enter_context(socket.create_connection(("127.0.0.1", page.port)))
            dead.sendall(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        context = browser.new_context()
        tabs = [context.new_page() for _ in range(3)]
        for tab in tabs:
            tab.goto(page.server.url, wait_until="commit")
        page.publish(30)
        for tab in tabs:
            tab.wait_for_selector("#name:has-text('clip#30')")
        tabs[2].click("#pause")
        _until(tabs[2], lambda: page.asked == ["pause"])
        page.publish(31, state="paused", paused=True)
        for tab in tabs:
            tab.wait_for_selector("body[data-state=paused]")


def test_a_hidden_page_holds_no_stream(browser: Any, page: Page) -> None:
    tab = _open(browser, page, [])
    _until(tab, lambda: page.hub.watched)
    _see(tab, "hidden")
    _until(tab, lambda: page.publish(7) or not page.hub.watched)
    _see(tab, "visible")
    _until(tab, lambda: page.hub.watched)
    tab.wait_for_selector("body[data-state=learning]")


def test_what_became_of_a_save_is_told_with_its_time(browser: Any, page: Page) -> None:
    tab = _open(browser, page, [])
    tab.click("#save")
    _until(tab, lambda: page.asked == ["save"])
    tab.wait_for_selector("#outcome:has-text('Asked')")
    failed = {"number": 1, "wish": "save", "problem": "the disk is full", "at_s": 0.1}
    page.publish(8, done=[failed])
    tab.wait_for_selector("#outcome:has-text('full')")
    assert tab.text_content("#outcome").startswith("Not saved at ")
    for number in range(9, 12):
        page.publish(number, done=[failed])
        tab.wait_for_timeout(100)
    assert "the disk is full" in tab.text_content("#outcome")
    saved = {"at_s": 0.2, "there": True, "problem": None}
    page.publish(12, done=[{**failed, "number": 2, "problem": None}], saved=saved)
    tab.wait_for_selector("#outcome:has-text('Saved at')")
    assert tab.is_visible("#download")


def test_space_pauses_and_again_resumes_without_leaving_the_button(
    browser: Any, page: Page
) -> None:
    tab = _open(browser, page, [])
    tab.focus("#pause")
    tab.keyboard.press("Space")
    tab.keyboard.press("Space")
    _until(tab, lambda: sorted(page.asked) == ["pause", "resume"])
    assert tab.evaluate("document.activeElement.id") == "pause"


@pytest.mark.parametrize("size", [(844, 390), (390, 844), (1280, 800)])
def test_picture_and_buttons_are_seen_without_scrolling(
    browser: Any, page: Page, size: tuple[int, int]
) -> None:
    tab = _open(browser, page, [], viewport={"width": size[0], "height": size[1]})
    for part in ("#picture", "#pause", "#adapted-top"):
        box = tab.locator(part).bounding_box()
        assert box["y"] + box["height"] <= size[1], part


def test_a_page_of_another_origin_sees_nothing(browser: Any, page: Page) -> None:
    with serving() as other:
        other.publish()
        tab = _open(browser, other, [])
        for path in ("/", "/live", "/page.js"):
            tried = tab.evaluate(_FOREIGN, page.server.url.rstrip("/") + path)
            assert tried == ["no picture", "no answer"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_axe_finds_nothing_to_mend(
    browser: Any, page: Page, size: tuple[int, int], scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    view = {"width": size[0], "height": size[1]}
    tab = _open(browser, page, [], viewport=view, color_scheme=scheme)
    page.publish(9, guard=_GUARD, state="fell back", answer=_ANSWER, alarm_below=0.85)
    tab.wait_for_selector("body[data-state='fell back']")
    tab.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    found = tab.evaluate("axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert found == []


_SAMPLING = """() => {
  window.pairs = [];
  const canvas = document.createElement("canvas"), at = canvas.getContext("2d");
  (function sample() {
    const picture = document.getElementById("picture");
    if (picture.complete && picture.naturalWidth) {
      at.drawImage(picture, 0, 0, 8, 8, 0, 0, 8, 8);
      window.pairs.push([document.getElementById("name").textContent,
        at.getImageData(4, 4, 1, 1).data[0]]);
    }
    requestAnimationFrame(sample);
  })();
}"""
_LEVEL = """() => {
  const at = document.createElement("canvas").getContext("2d");
  at.drawImage(document.getElementById("picture"), 0, 0);
  return at.getImageData(4, 4, 1, 1).data[0];
}"""
_FOREIGN = """async (url) => [
  await new Promise((done) => {
    const image = new Image();
    image.onload = () => done("picture");
    image.onerror = () => done("no picture");
    image.src = url;
  }),
  await fetch(url, { mode: "no-cors" }).then(() => "answer", () => "no answer"),
]"""


def _see(tab: Any, state: str) -> None:
    tab.evaluate(
        """(state) => {
          Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


def _until(tab: Any, true: Any) -> None:
    for _ in range(200):
        if true():
            return
        tab.wait_for_timeout(50)
    pytest.fail("it did not come")


def _light(colour: str) -> float:
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
