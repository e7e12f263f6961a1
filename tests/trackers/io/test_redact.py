"""No password reaches a message."""

from __future__ import annotations

import pytest

from onlinetada.trackers.io.redact import redact


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://me:hidden@10.0.0.2:554/live",
        "rtsp://me:hid/den@hidden@10.0.0.2/live",
        "http://10.0.0.2/mjpg?user=me&password=hidden&x=1",
        "https://10.0.0.2/a.m3u8?token=hidden",
        "rtspsrc location=rtsp://me:hidden@cam/live ! decodebin ! appsink",
        "rtspsrc location=rtsp://cam/live user-id=me user-pw=hidden ! appsink",
    ],
)
def test_passwords_are_masked(address: str) -> None:
    shown = redact(address)
    assert "hidden" not in shown and "hid/den" not in shown and "***" in shown


@pytest.mark.parametrize("address", ["rtsp://10.0.0.2/live", "video@home.mp4", "/a/b:c@d.mp4", "http://h/x?q=1"])
def test_the_rest_is_left_alone(address: str) -> None:
    assert redact(address) == address
