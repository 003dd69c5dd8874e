"""A command that is given every update of the weights, for an engine of its own."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from edge_tta.errors import ConfigError
from edge_tta.files import write_whole
from edge_tta.frames.source import FrameSource
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.sinks import Sink

_PATIENCE_S = 60.0


class UpdateSink(Sink):
    """Runs a command on the adapted ONNX file at each update, beside the run.

    One command runs at a time; what was learned meanwhile is in the next file.

    Args:
        command: words of a command line; the file's name is put behind them.
        updated: returns the bytes of the file where an update is due, else None.
        tell: is told where the command fails, once.

    Raises:
        ConfigError: no command.
    """

    stage = "update"

    def __init__(
        self, command: str, updated: Callable[[], bytes | None], tell: Callable[[str], None]
    ) -> None:
        self._words, self._updated, self._tell = words_of(command), updated, tell
        self._running: subprocess.Popen[bytes] | None = None
        self._failed = False

    def open(self, source: FrameSource) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-tta-update-")

    def take(self, result: FrameResult) -> None:
        if self._running is not None and self._running.poll() is None:
            return
        self._check()
        data = self._updated()
        if data is None:
            return
        path = Path(self._folder.name) / "net.adapted.onnx"
        write_whole(path, data)
        try:
            self._running = subprocess.Popen([*self._words, str(path)], stdin=subprocess.DEVNULL)
        except OSError as error:
            self._say(error.strerror or str(error))

    def close(self) -> None:
        if self._running is not None:
            try:
                self._running.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._running.kill()
                self._running.wait()
        self._check()
        self._folder.cleanup()

    def _check(self) -> None:
        if self._running is not None and self._running.returncode:
            self._say(f"exit code {self._running.returncode}")
        self._running = None

    def _say(self, why: str) -> None:
        if not self._failed:
            self._tell(f"--on-update {self._words[0]} failed ({why}); the run goes on")
        self._failed = True


def words_of(command: str) -> list[str]:
    """Return the words of a command line. Raises ConfigError where there are none."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"--on-update {command!r} cannot be read: {error}") from error
    if not words:
        raise ConfigError("--on-update is empty; give a command, as 'python refit.py'")
    return words
