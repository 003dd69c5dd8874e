"""Stopping from outside."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from edge_tta.run.stopping import Stopped, StopRequest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
every_signal = pytest.mark.parametrize("number", NUMBERS, ids=str)


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """Signals are not ignored, as they are in a shell's background; all is put back at the end."""
    kept = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@every_signal
def test_a_signal_is_noted_and_work_goes_on(number: signal.Signals) -> None:
    with StopRequest() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop
        assert stop.signal == number


@every_signal
def test_waiting_for_a_frame_is_broken_off(number: signal.Signals) -> None:
    with StopRequest() as stop:
        with pytest.raises(Stopped), stop.wait():
            signal.raise_signal(number)
        assert stop.signal == number
        assert not stop.waiting


def test_a_wait_that_blocks_ends_when_the_signal_comes() -> None:
    with StopRequest() as stop:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        stop.waiting = True
        with pytest.raises(Stopped):
            time.sleep(60)
        timer.join()
        assert stop.signal == signal.SIGTERM


def test_a_second_ctrl_c_ends_at_once() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.signal == signal.SIGINT


def test_ctrl_c_after_a_termination_signal_ends_at_once() -> None:
    with StopRequest():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_termination_signals_may_come_again_and_again() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM


def test_the_old_handlers_are_back_afterwards_even_after_a_failure() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(ZeroDivisionError), StopRequest():
        assert [signal.getsignal(number) for number in NUMBERS] != before
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with StopRequest() as stop:
            seen.append(signal.getsignal(signal.SIGTERM))
            seen.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL, False]
