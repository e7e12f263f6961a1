"""Pictures for the page: made on a thread of their own, once for all who watch, and only while somebody does."""

from __future__ import annotations

import logging
import threading

import cv2
import numpy as np

from onlinetada.trackers.io.draw import draw_targets
from onlinetada.trackers.io.frames import Frame, scaled
from onlinetada.trackers.result import Image
from onlinetada.trackers.serve.broadcast import Broadcast
from onlinetada.trackers.serve.report import Report
from onlinetada.trackers.serve.scout import Album, Picture

_QUALITY = 80
_log = logging.getLogger("onlinetada.serve")


class Pictures:
    """Encodes the newest frame.

    Args:
        plain: gets the pictures as they are, which the page draws boxes on itself.
        drawn: gets them with the boxes drawn on them.
        width: pictures are scaled down to this width.
    """

    def __init__(self, plain: Broadcast[Picture], drawn: Broadcast[Picture], *, name: str, width: int) -> None:
        self.plain, self.drawn = plain, drawn
        self.album = Album()
        self._width = width
        self._newest: tuple[Frame, Report] | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"pictures {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout=3.0)

    def show(self, frame: Frame, report: Report) -> None:
        """Offer a frame; one that was not taken yet is forgotten."""
        if self.plain.subscribers or self.drawn.subscribers:
            with self._changed:
                self._newest = frame, report
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._newest is None and not self._stopped:
                    self._changed.wait()
                if self._newest is None or self._stopped:
                    return
                (frame, report), self._newest = self._newest, None
            try:
                self._send(frame, report)
            except Exception:  # a picture that cannot be encoded is no reason to show none from then on
                _log.exception("picture of frame %d left out", report.frame_index)

    def make(self, frame: Frame, report: Report, drawn: bool) -> Picture:
        """A frame for the page, with its targets drawn on it or without."""
        image = draw_targets(frame.image, report.results) if drawn else frame.image
        return make_picture(image, report, self._width)

    def _send(self, frame: Frame, report: Report) -> None:
        if self.plain.subscribers:
            picture = self.make(frame, report, False)
            self.album.add(picture)
            self.plain.send(picture)
        if self.drawn.subscribers:
            self.drawn.send(self.make(frame, report, True))


def make_picture(image: Image, report: Report, width: int) -> Picture:
    """A frame as JPEG, no wider than ``width`` pixels.

    Args:
        image: (H, W, 3) uint8 BGR.
    """
    height, full = image.shape[:2]
    scale = min(1.0, width / full)
    if scale < 1:
        size = (round(full * scale), max(1, round(height * scale)))
        image = scaled(Frame(image, report.frame_index, report.timestamp_s), size).image
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    data = np.asarray(jpeg).tobytes()
    return Picture(report.frame_index, report.timestamp_s, data, scale, full, height)
