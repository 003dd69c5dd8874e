"""Real servers on the loopback, killed and started again in mid-stream."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable

import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import FrameSource, open_source
from tests.frames.servers import (
    Camera,
    camera,
    ffmpeg_command,
    free_port,
    mjpeg_command,
    number_in,
    numbered,
    rtsp_command,
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_numbers_can_be_read_from_pictures() -> None:
    assert [number_in(numbered(number)) for number in (0, 1, 77, 4095)] == [0, 1, 77, 4095]


def test_a_slow_consumer_gets_new_frames_and_the_others_are_counted() -> None:
    """Ten frames are sent for each that is read; one after another, the 15th were number 14."""
    port = free_port()
    with (
        camera(mjpeg_command(port, fps=50.0), port),
        open_source(f"http://127.0.0.1:{port}/stream") as source,
    ):
        read, number = 0, 0
        while read < 15:
            time.sleep(0.2)
            frame = source.read()
            assert frame is not None
            read, number = read + 1, number_in(frame.pixels)
            assert frame.name.endswith(f"#{number}")
            assert read + source.dropped["late"] == number + 1
    assert number > 2 * read
    assert set(source.dropped) == {"late"}


def test_jpegs_that_break_off_are_counted_and_never_given() -> None:
    port = free_port()
    with (
        camera(mjpeg_command(port, fps=60.0, break_every=3), port),
        open_source(f"http://127.0.0.1:{port}/stream", max_frames=12) as source,
    ):
        numbers = [number_in(frame.pixels) for frame in source]
    assert len(numbers) == 12
    assert all(number % 3 != 2 for number in numbers)
    assert source.dropped["damaged"] > 0


def _again(source: FrameSource, running: Camera) -> list[str]:
    """Reads, kills the server, starts it again, and reads on; what was told."""
    told: list[str] = []
    source.tell = told.append
    before = list(itertools.islice(source, 5))
    running.kill()
    later = threading.Timer(0.8, running.start)  # meanwhile nobody listens
    later.start()
    after = list(itertools.islice(source, 40))
    later.join()
    indices = [frame.index for frame in before + after]
    times = [frame.time_s for frame in before + after]
    assert indices == list(range(45))
    assert times == sorted(times)
    assert source.reconnected == 1
    return told


def _check_found_again(address: str, running: Camera) -> None:
    with open_source(address) as source:
        told = _again(source, running)
    assert len(told) == 2, told
    assert "looking for it again for 60 s" in told[0]
    assert "found again after" in told[1]


@pytest.mark.parametrize(
    ("command", "address", "probe"),
    [
        (mjpeg_command, "http://127.0.0.1:{}/stream", True),
        # FFmpeg serves one connection: a probe would take it.
        (ffmpeg_command, "tcp://127.0.0.1:{}", False),
        (rtsp_command, "rtsp://127.0.0.1:{}/cam", True),
    ],
    ids=["mjpeg", "ffmpeg-tcp", "rtsp"],
)
def test_a_server_that_is_killed_and_started_again_is_found_again(
    command: Callable[[int], list[str]], address: str, probe: bool
) -> None:
    port = free_port()
    with camera(command(port), port, probe=probe) as running:
        if not probe:
            time.sleep(1.0)
        _check_found_again(address.format(port), running)


def test_a_server_that_stays_away_ends_the_stream_with_advice() -> None:
    port = free_port()
    with (
        camera(mjpeg_command(port), port) as running,
        open_source(f"http://127.0.0.1:{port}/stream", reconnect_s=1.0) as source,
    ):
        assert source.read() is not None
        running.kill()
        with pytest.raises(SourceError) as caught:
            list(source)
    said = str(caught.value)
    assert re.search(r"not found again in [12] attempts", said)
    assert "Connection refused" in said
    assert said.endswith("check the connection and start again")
    assert source.reconnected == 0


def test_a_server_that_falls_silent_is_given_up_and_found_again() -> None:
    from edge_tta.frames.network import open_address
    from edge_tta.frames.source import Pick

    port = free_port()
    with camera(mjpeg_command(port, fps=0.2), port):
        source = open_address(f"http://127.0.0.1:{port}/stream", Pick(), timeout_s=1.0)
        with source:
            assert source.read() is not None
            assert source.read() is not None  # of a second connection: a frame comes at once
        assert source.reconnected == 1
