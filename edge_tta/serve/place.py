"""Places that a page is served at, and who may see it."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from edge_tta.errors import ConfigError, one_line
from edge_tta.small_files import check_ordinary, read_small

_LEAST_TOKEN = 8
_MOST_BYTES = 1 << 16
_HOST = re.compile(
    r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{0,5})?", re.ASCII
)


@dataclass(frozen=True)
class Place:
    """An address to listen at.

    Attributes:
        host: address or name; the machine itself (127.0.0.1) unless told otherwise.
        port: 0: any that is free.
        token: what a visitor must know; None: nothing.
    """

    host: str
    port: int
    token: str | None = None

    @property
    def local(self) -> bool:
        """Return True where only programs on this machine can reach it."""
        return is_local(self.host)

    def url(self, port: int) -> str:
        """Return what to open in a browser, with the token; `port`: the one that was taken."""
        host = _reachable(self.host)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}/" + (f"?token={self.token}" if self.token else "")


def parse_place(text: str, token: str | None = None) -> Place:
    """Return the place of `[HOST:]PORT`.

    One that other machines can reach has a token, generated if none is given.

    Raises:
        ConfigError: no such form, a port out of range, or a token that is too easy.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else "127.0.0.1"
    if not (port.isascii() and port.isdecimal() and int(port) < 65536 and host):
        raise ConfigError(f"--serve {text!r} is not understood; expected [HOST:]PORT, as 8000")
    if token is not None and (
        len(token) < _LEAST_TOKEN or not token.isascii() or not token.isalnum()
    ):
        raise ConfigError(
            f"the page's token must be {_LEAST_TOKEN} letters and digits or more; leave it out to "
            "have one made"
        )
    if token is None and not is_local(host):
        token = secrets.token_hex(16)
    return Place(host, int(port), token)


def read_token(path: Path) -> str:
    """Return the token on the first line of a file.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        check_ordinary(path)
        text = read_small(path, _MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the token file {path} ({one_line(error, 120)}); expected a file with the "
            "token on its first line"
        ) from error
    return text.partition("\n")[0].strip()


def host_of(header: str) -> str:
    """Return the name or address that a Host header names; "" where it is none."""
    match = _HOST.fullmatch(header)
    return match["name"].removeprefix("[").removesuffix("]") if match else ""


def is_local(host: str) -> bool:
    """Tell whether a host is this machine's own loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reachable(host: str) -> str:
    """Return an address for other machines, where `host` stands for all of this machine's."""
    try:
        every = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    if not every:
        return host
    version6 = ":" in host
    try:
        # Connecting a datagram socket sends nothing: it only picks the route.
        with socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("2001:db8::1" if version6 else "192.0.2.1", 9))
            return str(s.getsockname()[0])
    except OSError:
        return socket.gethostname()
