"""The window, and drawing a box with the mouse."""

from __future__ import annotations

import os
import sys
from typing import Literal

from onlinetada.errors import InputError
from onlinetada.trackers.images import as_bgr
from onlinetada.trackers.result import Box, Image

Key = Literal["quit", "pause", "select", ""]
_TITLE = "onlinetada"
_KEYS: dict[int, Key] = {ord("q"): "quit", 27: "quit", ord(" "): "pause", ord("p"): "pause", ord("r"): "select"}


def screen_problem() -> str | None:
    """Why no window can be shown here, in one line; None where one can."""
    import cv2

    gui = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    if gui.split(":")[-1].strip().upper() == "NONE":
        return "this OpenCV has no windows (a headless build): pip install opencv-python in its place"
    shown = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform.startswith("linux") and not shown and os.environ.get("QT_QPA_PLATFORM") != "offscreen":
        return "there is no screen (DISPLAY is not set)"  # Qt would end the whole process
    return None


def need_screen(what: str, instead: str) -> None:
    """Refuse what needs a screen where there is none.

    Raises:
        InputError: names the reason and what to do instead.
    """
    problem = screen_problem()
    if problem:
        raise InputError(f"{what} cannot be used: {problem}; {instead}")


class Window:
    """Shows pictures and hears keys: q or Esc quits, space pauses, r draws the target anew. Opens with the first."""

    def __init__(self) -> None:
        need_screen("--view window", "use --view none and --save-video FILE")
        self._open = False

    def show(self, picture: Image) -> Key:
        """Show a picture (H, W, 3) BGR and tell which key was pressed. Closing the window quits."""
        import cv2

        if not self._open:
            _open_window(_TITLE, picture)
            self._open = True
        cv2.imshow(_TITLE, picture)
        return self._key(1)

    def wait(self) -> Key:
        """Wait for a key."""
        key: Key = ""
        while not key:
            key = self._key(50)
        return key

    def close(self) -> None:
        """Take the window away."""
        import cv2

        if self._open:
            cv2.destroyWindow(_TITLE)
            cv2.waitKey(1)

    def _key(self, wait_ms: int) -> Key:
        import cv2

        key = _KEYS.get(cv2.waitKey(wait_ms) & 0xFF, "")
        if not key and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            return "quit"
        return key


def select_boxes(image: Image, *, several: bool = False) -> list[Box]:
    """Let the user draw boxes with the mouse; Enter or space takes one, Esc ends.

    Args:
        image: to draw on.
        several: ask for more until Esc is pressed.

    Raises:
        InputError: no screen, or nothing was drawn.
    """
    import cv2

    need_screen("--select", "give --init X,Y,W,H")
    title = "draw the target, Enter takes it, Esc ends" if several else "draw the target, Enter takes it"
    picture = as_bgr(image)
    _open_window(title, picture)
    if several:
        drawn = [list(map(float, box)) for box in cv2.selectROIs(title, picture, False, False)]
    else:
        drawn = [list(map(float, cv2.selectROI(title, picture, False, False)))]
    cv2.destroyWindow(title)
    cv2.waitKey(1)
    boxes: list[Box] = [(x, y, w, h) for x, y, w, h in drawn if w > 0 and h > 0]
    if not boxes:
        raise InputError("no target was drawn")
    return boxes


def _open_window(title: str, picture: Image) -> None:
    """A window of the picture's size where the screen has room for it, with nothing around."""
    import cv2

    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    height, width = picture.shape[:2]
    scale = min(1.0, 1600 / width, 850 / height)
    cv2.resizeWindow(title, round(width * scale), round(height * scale))
