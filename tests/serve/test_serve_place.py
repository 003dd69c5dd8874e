"""Where a page may be served."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tta.errors import ConfigError
from edge_tta.serve.place import parse_place, read_token


def test_a_port_alone_is_of_this_machine_only_and_needs_no_token() -> None:
    place = parse_place("8000")
    assert (place.host, place.port, place.token) == ("127.0.0.1", 8000, None)
    assert place.local
    assert place.url(8000) == "http://127.0.0.1:8000/"


@pytest.mark.parametrize("text", ["localhost:80", "127.0.0.2:80", "[::1]:80"])
def test_loopback_hosts_are_local(text: str) -> None:
    assert parse_place(text).local


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "192.168.1.7:80", "camera.local:80"])
def test_from_other_machines_there_is_always_a_token_and_never_the_same(text: str) -> None:
    one, other = parse_place(text), parse_place(text)
    assert not one.local
    assert one.token is not None
    assert len(one.token) >= 32
    assert one.token != other.token
    assert f"?token={one.token}" in one.url(80)
    assert "0.0.0.0" not in one.url(80)
    assert "[::]" not in one.url(80)


def test_a_token_that_is_given_is_taken_anywhere() -> None:
    assert parse_place("8000", "abcdefgh1").token == "abcdefgh1"
    assert parse_place("0.0.0.0:8000", "abcdefgh1").token == "abcdefgh1"


@pytest.mark.parametrize("text", ["", "x", "8000x", "70000", ":8000", "host:", "-1", "1.5"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected \[HOST:\]PORT"):
        parse_place(text)


@pytest.mark.parametrize("token", ["", "short", "has space", "under_scor", "ümlautümlaut"])
def test_a_token_that_is_easy_or_cannot_stand_in_an_address_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="token must be"):
        parse_place("8000", token)


def test_a_token_is_read_from_the_first_line_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abcdefgh1\nand a note\n")
    assert read_token(path) == "abcdefgh1"
    path.write_bytes(b"\xff" * 20)
    for place in (path, tmp_path / "gone", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match="cannot read the token file"):
            read_token(place)
