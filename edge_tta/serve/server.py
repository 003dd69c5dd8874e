"""The server: page, live picture (MJPEG), status (server-sent events), buttons."""

from __future__ import annotations

import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from edge_tta.closing import Closing
from edge_tta.errors import ConfigError
from edge_tta.serve.hub import Hub
from edge_tta.serve.place import Place, host_of, is_local
from edge_tta.show.jsonl import jsonable

_FILES = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_MOST_STREAMS = 16
_STATUS_S = 0.1
_PICTURE_S = 1 / 15
_SILENCE_S = 5.0
_STUCK_S = 20.0
"""A viewer that takes nothing for so long is let go."""
_COOKIE = "edge_tta"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(Closing):
    """Serves a hub until closed, in threads of its own.

    Args:
        ask: told `pause`, `resume`, `reset` or `save` when somebody presses a button.

    Raises:
        ConfigError: the port is taken or the host is not this machine's, or bottle is missing.
    """

    def __init__(self, place: Place, hub: Hub, ask: Callable[[str], None]) -> None:
        self._hub = hub
        app = _with_headers(_application(place, hub, ask))
        try:
            self._server = make_server(place.host, place.port, app, _server_class(place), _Quiet)
        except OSError as error:
            raise ConfigError(
                f"cannot serve at {place.host}:{place.port}: {error.strerror or error}; choose "
                "another port, or a host of this machine"
            ) from error
        self.url = place.url(self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Lets all viewers go and frees the port. May be called twice."""
        self._hub.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _application(place: Place, hub: Hub, ask: Callable[[str], None]) -> Any:
    try:
        import bottle
    except ImportError as error:
        raise ConfigError("--serve needs bottle: pip install 'edge-tta[serve]'") from error
    app = bottle.Bottle()
    streams = threading.BoundedSemaphore(_MOST_STREAMS)
    request, response = bottle.request, bottle.response

    def check() -> None:
        """Lets in who may see the page, and answers others."""
        if place.local and not is_local(host_of(request.environ.get("HTTP_HOST", ""))):
            # A web page elsewhere whose name was made to point here (DNS rebinding).
            raise bottle.HTTPResponse("unknown host", 403)
        if place.token is None:
            return
        # As it came: bottle takes headers for UTF-8, and fails where they are not.
        bearer = request.environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        given = (request.get_cookie(_COOKIE), request.query.get("token"), bearer)
        if not any(_same(word, place.token) for word in given):
            raise bottle.HTTPResponse(
                "This page needs its token: open the address that edge-tta printed.\n",
                401,
                **{"Content-Type": "text/plain; charset=utf-8"},
            )

    @app.hook("before_request")  # type: ignore[untyped-decorator]
    def guarded() -> None:
        check()

    def file(name: str = "") -> bytes:
        if name not in _FILES:
            raise bottle.HTTPResponse("not found", 404)
        if place.token is not None and _same(request.query.get("token"), place.token):
            # The token leaves the address bar for a cookie that scripts cannot read.
            answer = bottle.HTTPResponse(status=303, Location="/")
            answer.set_cookie(_COOKIE, place.token, httponly=True, samesite="strict", path="/")
            raise answer
        response.content_type = f"{_FILES[name]}; charset=utf-8"
        return (resources.files("edge_tta.serve") / (name or "page.html")).read_bytes()

    def enter() -> None:
        if not streams.acquire(blocking=False):
            raise bottle.HTTPResponse("too many viewers", 503)

    def picture() -> Iterator[bytes]:
        enter()
        response.content_type = "multipart/x-mixed-replace; boundary=frame"
        return _left(_pictures(hub), streams.release)

    def status() -> Iterator[bytes]:
        enter()
        response.content_type = "text/event-stream"
        return _left(_statuses(hub), streams.release)

    def press(wish: str) -> str:
        # Pages of other origins cannot set a header of their own without asking first.
        if "HTTP_X_EDGE_TTA" not in request.environ:
            raise bottle.HTTPResponse("forbidden", 403)
        try:
            ask(wish)
        except ValueError:
            raise bottle.HTTPResponse("unknown wish", 404) from None
        response.status = 202
        return "asked"

    app.route("/", callback=file)
    app.route("/<name:re:page[.](css|js)>", callback=file)
    app.route("/picture", callback=picture)
    app.route("/status", callback=status)
    app.route("/ask/<wish>", "POST", press)
    return app


def _left(parts: Iterator[bytes], then: Callable[[], None]) -> Iterator[bytes]:
    """The parts; `then` follows however they end. (A server that fails to write to a viewer who has
    gone drops the iterator without closing it; a generator notices that too.)"""
    try:
        yield from parts
    finally:
        then()


def _pictures(hub: Hub) -> Iterator[bytes]:
    """Parts of an MJPEG stream."""
    number = 0
    with hub.viewer():
        yield b"--frame\r\n"
        for _ in hub.statuses(_PICTURE_S, _SILENCE_S):
            number, jpeg = hub.jpeg(number)
            if jpeg:
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                # A browser shows a part when the next boundary comes: it is sent at once.
                yield head.encode() + jpeg + b"\r\n--frame\r\n"


def _statuses(hub: Hub) -> Iterator[bytes]:
    """Server-sent events: `history` once, then the status; `end` when the run ends."""
    with hub.viewer():
        yield _event({"points": hub.history()}, "history")
        for latest in hub.statuses(_STATUS_S, _SILENCE_S):
            # A comment keeps the connection, and tells when nobody is there any more.
            yield b": waiting\n\n" if latest is None else _event(latest[1])
        yield _event({}, "end")


def _event(data: Any, name: str | None = None) -> bytes:
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(jsonable(data))}\n\n".encode()


def _same(given: str | None, token: str) -> bool:
    return given is not None and hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), token.encode()
    )


def _with_headers(app: Any) -> Any:
    """Return the application, every answer of which has _HEADERS, those of its failures too."""

    def answer(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, *_HEADERS.items()], *more)

        return app(environ, start)

    return answer


class _Quiet(WSGIRequestHandler):
    """Says nothing on stderr, and lets stuck viewers go."""

    timeout = _STUCK_S

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _server_class(place: Place) -> type[WSGIServer]:
    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
        block_on_close = False
        address_family = socket.AF_INET6 if ":" in place.host else socket.AF_INET

        def server_bind(self) -> None:
            # Without the base class's lookup of this machine's full name, which can take seconds.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
            self.server_name, self.server_port = place.host, self.server_address[1]
            self.setup_environ()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A viewer that goes away is no error of the run."""

    return Server
