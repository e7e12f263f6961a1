"""Addresses without their passwords, for messages and logs."""

from __future__ import annotations

import re

# Up to the last @ of the word, since passwords may hold @ and / themselves.
_USER_INFO = re.compile(r"(\w+://)([^\s:/@]*):\S*@")
_KEYS = re.compile(
    r"((?:pass(?:word|wd)?|pwd|pw|user-pw|token|secret|api_?key|key|auth|signature|sig)=)[^\s&;!]+", re.I
)


def redact(address: str) -> str:
    """Mask passwords in a URL or a GStreamer pipeline.

    >>> redact("rtsp://me:s3cret@10.0.0.2/live?token=abc&q=1")
    'rtsp://me:***@10.0.0.2/live?token=***&q=1'
    """
    return _KEYS.sub(r"\1***", _USER_INFO.sub(r"\1\2:***@", address))
