"""A window on the screen, where there is a screen."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2

from edge_tta.closing import Closing
from edge_tta.frames.source import Pixels

_KEYS_TO_STOP = (ord("q"), ord("Q"), 27)
_LARGEST = (1280, 800)
_TRY_A_WINDOW = "import cv2; cv2.namedWindow('edge-tta'); cv2.destroyAllWindows()"


def display_problem(timeout_s: float = 10.0) -> str | None:
    """Return why no window can be opened, in one line; None when one can.

    Must be asked before the first `Window`: OpenCV's Qt ends the whole process, not with an
    exception, when the display does not answer or one of its libraries is missing. So a window is
    first tried in another process (about 0.3 s).
    """
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRY_A_WINDOW],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the display {_display()} does not answer within {timeout_s:g} s"
    except OSError as error:
        return f"a window could not be tried ({error})"
    if trial.returncode == 0:
        return None
    said = [line.strip() for line in trial.stderr.decode("utf-8", "replace").splitlines()]
    if any("function is not implemented" in line for line in said):
        return "this OpenCV has no windows (opencv-python-headless); install opencv-python"
    reason = next((line for line in said if line), f"exit status {trial.returncode}")
    return f"no window can be opened on display {_display()} ({reason[:160]})"


class Window(Closing):
    """A window that shows frames. Ask `display_problem` first."""

    def __init__(self, title: str) -> None:
        # Qt complains on stderr about fonts that only its tool bar would need.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        self._title = title
        self._shown = False
        self._open = True

    def show(self, pixels: Pixels) -> bool:
        """Show uint8 (H, W, 3) RGB; False when the user has pressed q or Esc or closed the window.

        After that nothing is shown any more.
        """
        if not self._open:
            return False
        if not self._shown:
            self._create(pixels.shape[1], pixels.shape[0])
        elif not self._visible():
            # imshow would open the window again.
            self.close()
            return False
        cv2.imshow(self._title, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1)
        if (key != -1 and key & 0xFF in _KEYS_TO_STOP) or not self._visible():
            self.close()
        return self._open

    def close(self) -> None:
        """Close the window. May be called twice."""
        if self._open and self._shown and self._visible():
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
        self._open = False

    def _create(self, width: int, height: int) -> None:
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        cv2.namedWindow(self._title, flags)
        shrink = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
        cv2.resizeWindow(self._title, round(width * shrink), round(height * shrink))
        self._shown = True

    def _visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            return False


def _display() -> str:
    return os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "of this system"
