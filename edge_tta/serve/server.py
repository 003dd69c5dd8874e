"""The server: page, one stream a viewer (picture and status together), buttons, downloads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from edge_tta.closing import Closing
from edge_tta.errors import ConfigError, EdgeTTAError
from edge_tta.serve.access import Access, RefusedError, asked_token, cookie_name
from edge_tta.serve.hub import Hub
from edge_tta.serve.listening import listen
from edge_tta.serve.place import Place
from edge_tta.show.jsonl import jsonable

_FILES = {
    "": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "stream.js": "text/javascript",
    "charts.js": "text/javascript",
}
_MOST_STREAMS = 16
_EVERY_S = 1 / 15
_SILENCE_S = 5.0
_STATE, _ONNX = "state.safetensors", "adapted.onnx"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob: data:; "
    "connect-src 'self'; script-src 'self'; style-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(Closing):
    """Serves a hub until closed, in threads of its own.

    Args:
        ask: told `pause`, `resume`, `reset` or `save` when somebody presses a button; returns the
            number of the wish.
        state: the file that downloads give; None: there is none.
        onnx: makes the adapted network as an ONNX file, for one viewer at a time; None: it cannot.

    Raises:
        ConfigError: the port is taken or the host is not this machine's, or bottle is missing.
    """

    def __init__(
        self,
        place: Place,
        hub: Hub,
        ask: Callable[[str], int],
        state: Path | None = None,
        onnx: Callable[[], bytes] | None = None,
    ) -> None:
        self._hub = hub
        self._server = listen(place, _with_headers(_application(place, hub, ask, state, onnx)))
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


def _packaged(name: str) -> bytes:
    return (resources.files("edge_tta.serve") / name).read_bytes()


def _application(
    place: Place,
    hub: Hub,
    ask: Callable[[str], int],
    state: Path | None,
    onnx: Callable[[], bytes] | None,
) -> Any:
    try:
        import bottle
    except ImportError as error:
        raise ConfigError("--serve needs bottle: pip install 'edge-tta[serve]'") from error
    app = bottle.Bottle()
    access = Access(place)
    streams, making = threading.BoundedSemaphore(_MOST_STREAMS), threading.Lock()
    request, response = bottle.request, bottle.response

    def refuse(code: int, why: str) -> Any:
        kind = "text/plain; charset=utf-8"
        return bottle.HTTPResponse(why + "\n", code, **{"Content-Type": kind})

    def ask_for_token() -> Any:
        kind = "text/html; charset=utf-8"
        said = "That was not it." if asked_token(request.environ) else ""
        page = _packaged("token.html").replace(b"{said}", said.encode())
        return bottle.HTTPResponse(page, 401, **{"Content-Type": kind})

    @app.hook("before_request")  # type: ignore[untyped-decorator]
    def guarded() -> None:
        try:
            access.check(request.environ, request.get_cookie(cookie_name(request.environ)))
        except RefusedError as refused:
            if refused.code == 401 and request.path == "/":
                raise ask_for_token() from None
            raise refuse(refused.code, str(refused)) from None

    def file(name: str = "") -> bytes:
        if name not in _FILES:
            raise refuse(404, "not found")
        if access.knows(asked_token(request.environ)):
            # The token leaves the address bar for a cookie that scripts cannot read.
            answer = bottle.HTTPResponse(status=303, Location="/")
            answer.set_cookie(
                cookie_name(request.environ),
                place.token,
                httponly=True,
                samesite="strict",
                path="/",
            )
            raise answer
        response.content_type = f"{_FILES[name]}; charset=utf-8"
        return _packaged(name or "page.html")

    def live() -> Iterator[bytes]:
        if not streams.acquire(blocking=False):
            raise refuse(503, f"there are {_MOST_STREAMS} viewers already")
        response.content_type = "application/octet-stream"
        return _left(_messages(hub), streams.release)

    def press(wish: str) -> str:
        # Pages of other origins cannot set a header of their own without asking first.
        if "HTTP_X_EDGE_TTA" not in request.environ:
            raise refuse(403, "forbidden")
        try:
            number = ask(wish)
        except ValueError:
            raise refuse(404, "unknown wish") from None
        response.status, response.content_type = 202, "application/json"
        return json.dumps({"number": number})

    def saved() -> bytes:
        try:
            data = b"" if state is None else state.read_bytes()
        except OSError:
            data = b""
        if not data:
            raise refuse(404, "no state has been saved yet")
        return given(data, _STATE)

    def adapted() -> bytes:
        if onnx is None:
            raise refuse(404, "this run cannot make an ONNX file")
        if not making.acquire(blocking=False):
            raise refuse(503, "the file is being made for somebody else; try again in a minute")
        try:
            return given(onnx(), _ONNX)
        except EdgeTTAError as error:
            raise refuse(500, str(error)) from None
        finally:
            making.release()

    def given(data: bytes, name: str) -> bytes:
        response.content_type = "application/octet-stream"
        response.set_header("Content-Disposition", f'attachment; filename="{name}"')
        return data

    app.route("/", callback=file)
    app.route("/<name:re:[a-z]+[.](css|js)>", callback=file)
    app.route("/live", callback=live)
    app.route(f"/{_STATE}", callback=saved)
    app.route(f"/{_ONNX}", callback=adapted)
    app.route("/ask/<wish>", "POST", press)
    return app


def _left(parts: Iterator[bytes], then: Callable[[], None]) -> Iterator[bytes]:
    """The parts; `then` follows however they end. (A server that fails to write to a viewer who has
    gone drops the iterator without closing it; a generator notices that too.)"""
    try:
        yield from parts
    finally:
        then()


def _messages(hub: Hub) -> Iterator[bytes]:
    """Messages, each a line of JSON and as many bytes of JPEG after it as its `jpeg` says.

    `status` and `points` of a frame; nothing where none came for a while, which keeps the
    connection and tells when nobody is there any more; `end` when the run ends.
    """
    with hub.viewer():
        yield _message({})  # the answer's head leaves at once
        for view in hub.views(_EVERY_S, _SILENCE_S):
            if view is None:
                yield _message({})
            else:
                told = {"status": view.status, "points": view.points}
                yield _message(told, hub.jpeg(view))
        yield _message({"end": True})


def _message(told: dict[str, Any], jpeg: bytes = b"") -> bytes:
    return json.dumps({**jsonable(told), "jpeg": len(jpeg)}).encode() + b"\n" + jpeg


def _with_headers(app: Any) -> Any:
    """Return the application, every answer of which has _HEADERS, those of its failures too."""

    def answer(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, *_HEADERS.items()], *more)

        return app(environ, start)

    return answer
