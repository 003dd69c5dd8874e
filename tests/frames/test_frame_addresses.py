"""Secrets in addresses: never shown, whatever the address looks like."""

from __future__ import annotations

import pytest

from bench.results import make_results
from edge_tta.errors import SourceError
from edge_tta.frames import open_source
from edge_tta.frames.addresses import checked_address, without_secrets

SECRET = "Word9"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:Word9@host:554/s?x=1", "rtsp://admin:***@host:554/s?x=1"),
        ("rtsp://admin:Word9#1@host/s", "rtsp://admin:***@host/s"),
        ("rtsp://admin:1/Word9@host/s", "rtsp://admin:***@host/s"),
        ("rtsp://admin:80?Word9@host/s", "rtsp://admin:***@host/s"),
        ("rtsp://admin:a@Word9@host/s", "rtsp://admin:***@host/s"),
        ("rtsp://admin:a@b/Word9@host/s", "rtsp://admin:***@host/s"),
        ("rtsp://admin:my Word9 x@host/s", "rtsp://admin:***@host/s"),
        ("rtsp://admin:Word9@[::1]:554/s", "rtsp://admin:***@[::1]:554/s"),
        ("rtsp://admin:Word9host/s", "rtsp://admin:***"),
        ("https://Word9@host/s", "https://***@host/s"),
        ("rtsp:/admin:Word9@host/s", "rtsp:/admin:***@host/s"),
        ("admin:Word9@host/s", "admin:***@host/s"),
        ("http://host/v?user=a&pwd=Word9", "http://host/v?user=a&pwd=***"),
        ("http://host/v?password=x#Word9&res=2", "http://host/v?password=***&res=2"),
        ("http://host/v?pwd=x&Word9&res=2", "http://host/v?pwd=***&res=2"),
        ("http://host/v?loginuse=a&loginpas=Word9", "http://host/v?loginuse=a&loginpas=***"),
        ("http://host/v?X-Amz-Signature=Word9", "http://host/v?X-Amz-Signature=***"),
        ("http://host/v?api_key=Word9&sig=Word9", "http://host/v?api_key=***&sig=***"),
        ("http://host/v?AUTH=Word9", "http://host/v?AUTH=***"),
        ("http://host/v?token=Word9==", "http://host/v?token=***"),
        ("srt://host:9?passphrase=Word9", "srt://host:9?passphrase=***"),
        (
            "rtsp://host/user=admin_password=Word9_channel=1_stream=0.sdp?real",
            "rtsp://host/user=admin_password=***",
        ),
        (
            "rtspsrc location=rtsp://a:Word9@host/s user-id=b user-pw='my Word9' ! appsink",
            "rtspsrc location=rtsp:***@host/s user-id=b user-pw=*** ! appsink",
        ),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_not(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://host:554/live/ch0?codec=h264&channel=1&subtype=0",
        "http://host/live@2x.mjpg?design=3&mail=me@there",
        "udp://@:1234",
        "udp://@239.0.0.1:1234",
        "http://[::1]:8080/stream",
        "tcp://0.0.0.0:8888?listen=1",
        "csi://0?width=640&fps=30",
        "holiday.mp4",
        "/data/2024-05-01T12:30:05.mp4",
    ],
)
def test_addresses_without_secrets_are_shown_as_they_are(address: str) -> None:
    assert without_secrets(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:Word9#@127.0.0.1:9/s",
        "rtsp://admin:Wo/Word9@127.0.0.1:9/s",
        "rtsp://admin:Wo?Word9@127.0.0.1:9/s",
        "rtsp://admin:Wo[Word9@127.0.0.1:9/s",
        "rtsp://localhost:9/Word9@127.0.0.1:9/s",
        "http://127.0.0.1:9/v.mjpg?user=a&pwd=Wo#Word9",
    ],
)
def test_an_error_says_how_to_write_the_characters_of_a_password(address: str) -> None:
    with pytest.raises(SourceError, match="write # as %23, / as %2F") as caught:
        open_source(address, reconnect_s=0.0)
    assert SECRET not in str(caught.value) or "localhost" in address


@pytest.mark.parametrize(
    "address",
    [
        "ftp://admin:Word9@host/s",
        "http://127.0.0.1:9/v?user=a&pwd=Word9",
        "http://a:Word9@127.0.0.1:9/v w",
        "rtsp://a:Word9@127.0.0.1:99999/v",
        "rtsp://a:Word9@/v",
        "rtsp:/admin:Word9@host/s",
        "admin:Word9@host/*.jpg",
        "rtspsrc location=rtsp://a:Word9@host/s ! appsink",
        "http://a:Word9@127.0.0.1:9\n/v",
    ],
)
def test_no_error_shows_a_secret(address: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(address, reconnect_s=0.0)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)
    assert caught.value.__cause__ is None or caught.value.__suppress_context__


def test_addresses_are_completed_as_browsers_do() -> None:
    assert checked_address("RTSP://host/s") == "rtsp://host/s"
    assert checked_address("http://host/my vidéo%20.mp4?a=b c") == (
        "http://host/my%20vid%C3%A9o%20.mp4?a=b%20c"
    )
    for same in ("udp://@:1234", "srt://host:9?streamid=#!::r=live,m=request", "http://h/a?b=c&d"):
        assert checked_address(same) == same


def test_the_command_in_a_result_file_has_no_secret() -> None:
    words = ("bench", "latency", "--source", "rtsp://admin:Word9@host/s")
    assert SECRET not in make_results("r.json", words, [], {}).command
