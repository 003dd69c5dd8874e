"""The page's server, asked as a browser and as others would."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.errors import ConfigError
from edge_tta.serve.access import GUESSES
from edge_tta.serve.hub import LONGEST_SIDE, Hub, View
from edge_tta.serve.place import Place
from edge_tta.serve.server import PageServer
from tests.serve.pages import VALUES, Page, message, picture, serving, status, statuses

pytest.importorskip("bottle", reason="the page needs bottle: pip install 'edge-tta[serve]'")

TOKEN = "0123456789abcdef"


def test_page_style_and_script_come_from_the_server_alone() -> None:
    with serving() as page:
        for path, kind in (
            ("/", "html"),
            ("/page.css", "css"),
            *((f"/{name}.js", "javascript") for name in ("page", "stream", "charts")),
        ):
            code, headers, body = page.request(path)
            assert code == 200
            assert kind in headers["Content-Type"]
            assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
            assert b"https://" not in body
            assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert page.request("/server.py")[0] == 404
        assert page.request("/page.txt")[0] == 404


def test_a_viewer_has_one_stream_of_statuses_with_the_pictures_they_are_of() -> None:
    with serving() as page:
        for number in range(3):
            page.publish(number)
        with page.open("/live") as answer:
            told, jpeg = message(answer)
            assert told["status"]["frame"] == 2
            assert _level(jpeg) == pytest.approx(2, abs=3)
            for number in (90, 150):
                page.publish(number, entropy=float("nan"))
                told, jpeg = message(answer)
                while told["status"]["frame"] != number:
                    told, jpeg = message(answer)
                assert told["status"]["entropy"] is None
                assert _level(jpeg) == pytest.approx(number, abs=3)


def test_the_end_comes_after_the_last_frame() -> None:
    with serving() as page:
        page.publish(0)
        with page.open("/live") as answer:
            statuses(answer, 1)
            page.publish(59)
            page.hub.close()
            assert statuses(answer, 1)[0]["frame"] == 59
            assert message(answer)[0]["end"]
            assert answer.read() == b""


def test_the_end_does_not_wait_for_viewers_that_read_nothing() -> None:
    hub = Hub()
    with hub.viewer():
        started = time.monotonic()
        hub.close()
        assert time.monotonic() - started < 5


def test_silence_is_filled_so_that_the_connection_is_known_to_be_alive() -> None:
    hub = Hub()
    views = hub.views(0.0, 0.01)
    assert next(views) is None
    hub.publish(picture(), status(), VALUES)
    view = next(views)
    assert view is not None
    assert view.number == 1


def test_large_pictures_are_shrunk() -> None:
    hub = Hub()
    hub.publish(picture(size=(1080, 1920)), status(), VALUES)
    jpeg = hub.jpeg(_view(hub))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (540, LONGEST_SIDE, 3)


def test_nothing_is_encoded_or_copied_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr("edge_tta.serve.hub._encoded", never)
    hub = Hub()
    pixels = picture()
    for _ in range(20):
        hub.publish(pixels, status(), VALUES)
    assert _view(hub).pixels is pixels


def test_a_viewer_that_reads_nothing_does_not_slow_the_loop_or_other_viewers() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 960, 3), np.uint8)
    with serving() as page, socket.create_connection(("127.0.0.1", page.port)) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(b"GET /live HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        _wait(lambda: page.hub.watched)
        taken = []
        with page.open("/live") as answer:
            for number in range(40):
                started = time.perf_counter()
                page.hub.publish(noise, status(number), VALUES)
                taken.append(time.perf_counter() - started)
                time.sleep(0.02)
            names = [told["frame"] for told in statuses(answer, 4)]
        assert names == sorted(set(names))
        # Not a timing of speed: a loop that waited for the viewer would take seconds.
        assert max(taken) < 2


def test_several_viewers_see_the_same_picture_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []

    def count(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
        encoded.append(1)
        time.sleep(0.05)
        return b"jpeg"

    monkeypatch.setattr("edge_tta.serve.hub._encoded", count)
    hub = Hub()
    hub.publish(picture(), status(), VALUES)
    found: list[bytes] = []
    view = _view(hub)
    viewers = [threading.Thread(target=lambda: found.append(hub.jpeg(view))) for _ in range(5)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    assert found == [b"jpeg"] * 5
    assert len(encoded) == 1


def test_buttons_ask_the_run_and_only_from_this_page() -> None:
    with serving() as page:
        assert page.request("/ask/pause", "POST", X_Edge_TTA="1")[0] == 202
        assert page.request("/ask/reset", "POST", X_Edge_TTA="1")[0] == 202
        assert page.asked == ["pause", "reset"]
        # What a form or an image of a page elsewhere could send.
        assert page.request("/ask/reset", "POST")[0] == 403
        assert page.request("/ask/reset", X_Edge_TTA="1")[0] == 405
        assert page.request("/ask/nonsense", "POST", X_Edge_TTA="1")[0] == 404
        assert page.asked == ["pause", "reset"]


@pytest.mark.parametrize("path", ["/", "/page.js", "/live", "/state.safetensors", "/ask/reset"])
def test_without_its_token_a_page_shows_and_does_nothing(path: str) -> None:
    method = "POST" if path.startswith("/ask") else "GET"
    with serving(token=TOKEN) as page:
        for headers in (
            {},
            {"Cookie": f"edge_tta_{page.port}=wrong"},
            {"Authorization": "Bearer wrong"},
        ):
            code, _, body = page.request(path, method, X_Edge_TTA="1", **headers)
            assert code == 401
            assert TOKEN.encode() not in body
        assert page.asked == []


def test_the_token_leaves_the_address_for_a_cookie() -> None:
    with serving(token=TOKEN) as page:
        code, headers, _ = page.request(f"/?token={TOKEN}")
        assert code == 303
        assert headers["Location"].endswith("/")
        assert "token" not in headers["Location"]
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert page.request("/", Cookie=cookie.partition(";")[0])[0] == 200
        assert page.request("/", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_a_name_that_was_made_to_point_here_is_turned_away() -> None:
    with serving() as page:
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "["):
            assert page.request("/", Host=host)[0] == 403
        for host in ("localhost", "127.0.0.1:1", "[::1]:8000"):
            assert page.request("/", Host=host)[0] == 200


ELSEWHERE = (
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
    {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
)


@pytest.mark.parametrize("headers", ELSEWHERE)
@pytest.mark.parametrize("path", ["/", "/live", "/page.js", "/state.safetensors"])
def test_a_page_of_another_origin_gets_nothing(path: str, headers: dict[str, str]) -> None:
    with serving() as page:
        page.publish()
        code, given, body = page.request(path, **headers)
        assert code == 403
        assert given["Cross-Origin-Resource-Policy"] == "same-origin"
        assert b"script" not in body
        assert not page.hub.watched


def test_a_link_elsewhere_leads_to_the_page_and_the_page_may_ask() -> None:
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    with serving() as page:
        assert page.request("/", Sec_Fetch_Dest="document", **link)[0] == 200
        assert page.request("/live", Sec_Fetch_Dest="document", **link)[0] == 403
        own = {"Sec_Fetch_Site": "same-origin", "Origin": f"http://127.0.0.1:{page.port}"}
        assert page.request("/ask/save", "POST", X_Edge_TTA="1", **own)[0] == 202


def test_two_runs_on_a_host_keep_their_visitors() -> None:
    with serving(token=TOKEN) as one, serving(token="f" * 16) as other:
        cookies = [
            page.request(f"/?token={token}")[1]["Set-Cookie"].partition(";")[0]
            for page, token in ((one, TOKEN), (other, "f" * 16))
        ]
        assert len({cookie.partition("=")[0] for cookie in cookies}) == 2
        for page in (one, other):
            assert page.request("/", Cookie="; ".join(cookies))[0] == 200


def test_who_guesses_is_not_listened_to_and_an_old_cookie_is_no_guess() -> None:
    with serving(token=TOKEN) as page:
        for _ in range(2 * GUESSES):
            old = f"edge_tta_{page.port}=old"
            assert page.request("/live", Cookie=old)[0] == 401
            assert page.request("/live")[0] == 401
        assert page.request(f"/?token={TOKEN}")[0] == 303
        codes = [page.request(f"/?token=guess{number}")[0] for number in range(GUESSES)]
        assert codes[: GUESSES - 2] == [401] * (GUESSES - 2)
        assert page.request(f"/?token={TOKEN}")[0] == 429
        assert page.request("/")[0] == 401  # nothing was guessed


def test_a_request_that_trickles_in_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_tta.serve.listening.ASKING_S", 0.3)
    with serving() as page, socket.create_connection(("127.0.0.1", page.port)) as slow:
        slow.settimeout(20)
        slow.sendall(b"GET / HTTP/1.0\r\nX: ")
        deadline = time.monotonic() + 15
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                slow.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < deadline


def test_there_is_a_bound_on_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_tta.serve.listening.MOST_CONNECTIONS", 3)
    with serving() as page, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port)))
        with socket.create_connection(("127.0.0.1", page.port)) as more:
            more.settimeout(20)
            assert more.recv(1) == b""
        stack.close()
        _wait(lambda: _answers(page))


def test_the_state_is_given_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "learned.safetensors"
    with serving(state=path) as page:
        assert page.request("/state.safetensors")[0] == 404
        path.write_bytes(b"saved")
        code, headers, body = page.request("/state.safetensors")
        assert (code, body) == (200, b"saved")
        assert headers["Content-Disposition"].startswith("attachment")
    with serving() as page:
        assert page.request("/state.safetensors")[0] == 404


@pytest.mark.parametrize(
    "host",
    [
        "evil@127.0.0.1",
        "a:b@127.0.0.1:80",
        "127.0.0.1/x",
        "127.0.0.1#x",
        "[::1",
        "\xff",
    ],
)
def test_a_host_that_no_browser_sends_is_turned_away(host: str) -> None:
    with serving() as page:
        code, headers, _ = page.request("/", Host=host)
        assert code == 403
        assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": b"\xed\xa0\x80"},
        {"Cookie": b"edge_tta_page=\xff"},
        {"Cookie": b'edge_tta_page="\\377"; \xff=1'},
    ],
)
def test_bytes_that_are_no_token_are_refused_with_the_headers_of_any_answer(
    headers: dict[str, str],
) -> None:
    with serving(token=TOKEN) as page:
        for path in ("/", "/?token=%ff", "/?token=%ed%a0%80"):
            code, given, _ = page.request(path, Host="127.0.0.1", **headers)
            assert code == 401
            assert given["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in given["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/gone", "/ask/nonsense", "/page.css/x"])
def test_every_answer_has_the_headers(path: str) -> None:
    with serving() as page:
        for method in ("GET", "POST", "PUT"):
            code, given, _ = page.request(path, method, X_Edge_TTA="\xff")
            assert 400 <= code < 500
            assert given["X-Content-Type-Options"] == "nosniff"
            assert "no-store" in given["Cache-Control"]


def test_closing_frees_the_port_and_lets_viewers_go_at_once() -> None:
    with serving() as page:
        page.publish()
        with page.open("/live") as answer:
            message(answer)
            started = time.monotonic()
            page.server.close()
            answer.read()
            assert time.monotonic() - started < 5
    again = PageServer(Place("127.0.0.1", page.port), Hub(), lambda wish: 0)
    again.close()


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with serving() as page, pytest.raises(ConfigError, match="choose another port"):
        PageServer(Place("127.0.0.1", page.port), Hub(), lambda wish: 0)


def test_more_viewers_than_there_are_places_are_turned_away_and_places_are_freed() -> None:
    with serving() as page:
        page.publish()
        for _ in range(3):  # left again each time
            with page.open("/live") as answer:
                statuses(answer, 1)
        _wait(lambda: not page.hub.watched, page.publish)
        for _ in range(20):  # pictures too, broken off while they are sent
            with page.open("/live") as answer:
                assert answer.status == 200
            _wait(lambda: not page.hub.watched, page.publish)
        opened = [page.open("/live") for _ in range(16)]
        for viewer in opened:
            statuses(viewer.__enter__(), 1)
        assert page.request("/live")[0] == 503
        assert page.request("/")[0] == 200
        for viewer in opened:
            viewer.__exit__(None, None, None)
        _wait(lambda: not page.hub.watched, page.publish)
        with page.open("/live") as answer:
            assert answer.status == 200


def _answers(page: Page) -> bool:
    try:
        return page.request("/")[0] == 200
    except OSError:
        return False


def _level(jpeg: bytes) -> float:
    return float(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).mean())


def _view(hub: Hub) -> View:
    view = next(hub.views(0.0, 0.0))
    assert view is not None
    return view


def _wait(true: object, doing: object = None) -> None:
    deadline = time.monotonic() + 20
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        if doing is not None:
            doing()  # type: ignore[operator]
        time.sleep(0.02)


def test_the_adapted_network_is_made_for_one_viewer_at_a_time_and_failures_are_told() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        assert go_on.wait(20)
        return b"graph"

    def failing() -> bytes:
        raise ConfigError("the disk is full")

    with serving(onnx=slow) as page:
        got: list[tuple[int, dict[str, str], bytes]] = []
        first = threading.Thread(target=lambda: got.append(page.request("/adapted.onnx")))
        first.start()
        assert begun.wait(20)
        assert page.request("/adapted.onnx")[0] == 503
        go_on.set()
        first.join()
        assert (got[0][0], got[0][2]) == (200, b"graph")
        assert "adapted.onnx" in got[0][1]["Content-Disposition"]
        assert page.request("/adapted.onnx")[0] == 200
    with serving(onnx=failing) as page:
        code, headers, body = page.request("/adapted.onnx")
        assert (code, body) == (500, b"the disk is full\n")
        assert "Content-Disposition" not in headers
    with serving() as page:
        assert page.request("/adapted.onnx")[0] == 404
