"""The page's server, asked as a browser and as others would."""

from __future__ import annotations

import socket
import threading
import time

import cv2
import numpy as np
import pytest

from edge_tta.errors import ConfigError
from edge_tta.serve.hub import HISTORY, LONGEST_SIDE, Hub
from edge_tta.serve.place import Place
from edge_tta.serve.server import PageServer
from tests.serve.pages import events, picture, serving, status

pytest.importorskip("bottle", reason="the page needs bottle: pip install 'edge-tta[serve]'")

TOKEN = "0123456789abcdef"


def test_page_style_and_script_come_from_the_server_alone() -> None:
    with serving() as page:
        for path, kind in (("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")):
            code, headers, body = page.request(path)
            assert code == 200
            assert kind in headers["Content-Type"]
            assert b"http://" not in body
            assert b"https://" not in body
            assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert page.request("/server.py")[0] == 404
        assert page.request("/page.txt")[0] == 404


def test_status_events_begin_with_the_history_and_end_with_the_run() -> None:
    with serving() as page:
        for number in range(3):
            page.publish(number)
        with page.open("/status") as answer:
            history, first = events(answer, 2)
            assert history == ("history", {"points": [[0.5, None]] * 3})
            assert first[1]["frame"] == 2
            page.publish(3, entropy=float("nan"))
            (third,) = events(answer, 1)
            assert third[1]["frame"] == 3
            assert third[1]["entropy"] is None
            page.hub.close()
            assert events(answer, 1) == [("end", {})]
            assert answer.read().strip() == b""


def test_the_picture_stream_is_jpeg_of_the_latest_frame() -> None:
    with serving() as page:
        page.publish(90)
        with page.open("/picture") as answer:
            assert answer.getheader("Content-Type", "").startswith("multipart/x-mixed-replace")
            for level in (90, 150):
                page.publish(level)
                found = _next_picture(answer)
                while abs(int(found.mean()) - level) > 3:  # the one before was still on its way
                    found = _next_picture(answer)
                assert found.shape == (48, 64, 3)


def test_large_pictures_are_shrunk() -> None:
    hub = Hub()
    hub.publish(picture(size=(1080, 1920)), status(), (0.0, None))
    _, jpeg = hub.jpeg(0)
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (540, LONGEST_SIDE, 3)


def test_nothing_is_encoded_or_copied_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr("edge_tta.serve.hub._encoded", never)
    hub = Hub()
    pixels = picture()
    for _ in range(2 * HISTORY):
        hub.publish(pixels, status(), (0.0, None))
    assert hub._pixels is pixels
    assert len(hub.history()) == HISTORY


def test_a_viewer_that_reads_nothing_does_not_slow_the_loop_or_other_viewers() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 960, 3), np.uint8)
    with serving() as page, socket.create_connection(("127.0.0.1", page.port)) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(b"GET /picture HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        _wait(lambda: page.hub.watched)
        taken = []
        with page.open("/status") as answer:
            for number in range(40):
                started = time.perf_counter()
                page.hub.publish(noise, status(number), (0.0, None))
                taken.append(time.perf_counter() - started)
                time.sleep(0.02)
            names = [content["frame"] for name, content in events(answer, 4) if name == "message"]
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
    hub.publish(picture(), status(), (0.0, None))
    found: list[tuple[int, bytes]] = []
    viewers = [threading.Thread(target=lambda: found.append(hub.jpeg(0))) for _ in range(5)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    assert found == [(1, b"jpeg")] * 5
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


@pytest.mark.parametrize("path", ["/", "/page.js", "/status", "/picture", "/ask/reset"])
def test_without_its_token_a_page_shows_and_does_nothing(path: str) -> None:
    method = "POST" if path.startswith("/ask") else "GET"
    with serving(token=TOKEN) as page:
        for headers in ({}, {"Cookie": "edge_tta=wrong"}, {"Authorization": "Bearer wrong"}):
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
        {"Cookie": b"edge_tta=\xff"},
        {"Cookie": b'edge_tta="\\377"; \xff=1'},
    ],
)
def test_bytes_that_are_no_token_are_refused_with_the_headers_of_any_answer(
    headers: dict[str, str],
) -> None:
    with serving(token=TOKEN) as page:
        for path in ("/", "/?token=%ff", "/?token=%ed%a0%80"):
            code, given, _ = page.request(path, **headers)
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
        with page.open("/picture") as answer:
            _next_picture(answer)
            started = time.monotonic()
            page.server.close()
            answer.read()
            assert time.monotonic() - started < 5
    again = PageServer(Place("127.0.0.1", page.port), Hub(), lambda wish: None)
    again.close()


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with serving() as page, pytest.raises(ConfigError, match="choose another port"):
        PageServer(Place("127.0.0.1", page.port), Hub(), lambda wish: None)


def test_more_viewers_than_there_are_places_are_turned_away_and_places_are_freed() -> None:
    with serving() as page:
        page.publish()
        for _ in range(3):  # left again each time
            with page.open("/status") as answer:
                events(answer, 1)
        _wait(lambda: not page.hub.watched, page.publish)
        for _ in range(20):  # pictures too, broken off while they are sent
            with page.open("/picture") as answer:
                assert answer.status == 200
            _wait(lambda: not page.hub.watched, page.publish)
        opened = [page.open("/status") for _ in range(16)]
        for viewer in opened:
            events(viewer.__enter__(), 1)
        assert page.request("/status")[0] == 503
        assert page.request("/")[0] == 200
        for viewer in opened:
            viewer.__exit__(None, None, None)
        _wait(lambda: not page.hub.watched, page.publish)
        with page.open("/status") as answer:
            assert answer.status == 200


def _next_picture(answer: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    length = 0
    while True:
        line = answer.readline().decode("latin-1").strip()  # type: ignore[attr-defined]
        if line.startswith("Content-Length: "):
            length = int(line.removeprefix("Content-Length: "))
        elif not line and length:
            jpeg = answer.read(length)  # type: ignore[attr-defined]
            return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), np.uint8)


def _wait(true: object, doing: object = None) -> None:
    deadline = time.monotonic() + 20
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        if doing is not None:
            doing()  # type: ignore[operator]
        time.sleep(0.02)
