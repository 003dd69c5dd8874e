"""The HTTP server below the page: a thread a connection, and bounds on connections and patience."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from edge_tta.errors import ConfigError
from edge_tta.serve.place import Place

STUCK_S = 20.0
"""A viewer that takes nothing for so long is let go."""
ASKING_S = 10.0
"""A request must be there within so long after its connection, however it trickles in."""
MOST_CONNECTIONS = 64


def listen(place: Place, app: Any) -> WSGIServer:
    """Return a server of a WSGI application at a place, bound but not serving.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """
    try:
        return make_server(place.host, place.port, app, _server_class(place), _Handler)
    except OSError as error:
        raise ConfigError(
            f"cannot serve at {place.host}:{place.port}: {error.strerror or error}; choose "
            "another port, or a host of this machine"
        ) from error


class _Handler(WSGIRequestHandler):
    """Says nothing on stderr, and lets stuck viewers go."""

    timeout = STUCK_S

    def address_string(self) -> str:
        return str(self.client_address[0])  # no look-up of its name

    def parse_request(self) -> bool:
        asked = super().parse_request()
        self.server.has_asked(self.request)  # type: ignore[attr-defined]
        return asked

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _server_class(place: Place) -> type[WSGIServer]:
    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
        block_on_close = False
        address_family = socket.AF_INET6 if ":" in place.host else socket.AF_INET

        def __init__(self, *arguments: Any) -> None:
            self._lock = threading.Lock()
            self._asking: dict[Any, float] = {}
            self._open = 0
            super().__init__(*arguments)

        def server_bind(self) -> None:
            # Without the base class's lookup of this machine's full name, which can take seconds.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
            self.server_name, self.server_port = place.host, self.server_address[1]
            self.setup_environ()

        def verify_request(self, request: Any, client_address: Any) -> bool:
            """Refuse what is one connection too many."""
            with self._lock:
                return self._open < MOST_CONNECTIONS

        def process_request(self, request: Any, client_address: Any) -> None:
            with self._lock:
                self._open += 1
                self._asking[request] = time.monotonic()
            super().process_request(request, client_address)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                with self._lock:
                    self._open -= 1
                    self._asking.pop(request, None)

        def has_asked(self, request: Any) -> None:
            """The request is there whole."""
            with self._lock:
                self._asking.pop(request, None)

        def service_actions(self) -> None:
            """Let those go that take too long to ask."""
            latest_s = time.monotonic() - ASKING_S
            with self._lock:
                slow = [request for request, since_s in self._asking.items() if since_s < latest_s]
                for request in slow:
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A viewer that goes away is no error of the run."""

    return Server
