"""Tells a flight controller where a target is: MAVLink LANDING_TARGET messages from `onlinetada serve`.

    onlinetada serve /dev/video0 --udp 127.0.0.1:5005
    pip install pymavlink && python examples/serve_to_mavlink.py --listen 5005 --to udpout:127.0.0.1:14550 --fov-deg 62

Angles are from the picture's middle: right and down are positive. The camera is taken to have no distortion and square
pixels. While the target is lost nothing is sent, so the controller's own time limit applies.
"""

from __future__ import annotations

import argparse
import json
import math
import socket
from collections.abc import Iterator
from typing import Any


def reports(port: int) -> Iterator[dict[str, Any]]:
    """The JSON objects that arrive on a UDP port, one a frame."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", port))
        print(f"listening on {port}", flush=True)
        while True:
            yield json.loads(listener.recv(65536))


def angles(box: list[float], width: int, height: int, fov_deg: float) -> tuple[float, float, float, float]:
    """Where a box is and how large it looks, in radians: right, down, width, height.

    Args:
        fov_deg: what the picture's width spans.
    """
    focal_px = width / 2 / math.tan(math.radians(fov_deg) / 2)
    x, y, w, h = box
    right, down = x + w / 2 - width / 2, y + h / 2 - height / 2
    return (
        math.atan2(right, focal_px),
        math.atan2(down, focal_px),
        2 * math.atan2(w / 2, focal_px),
        2 * math.atan2(h / 2, focal_px),
    )


def main() -> None:
    """Pass on one target until interrupted."""
    from pymavlink import mavutil

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", type=int, default=5005, metavar="PORT", help="of --udp")
    parser.add_argument("--to", default="udpout:127.0.0.1:14550", help="as pymavlink's mavlink_connection takes it")
    parser.add_argument("--fov-deg", type=float, required=True, help="angle that the picture's width spans")
    parser.add_argument("--target", type=int, help="id; without it the first that is not lost")
    args = parser.parse_args()
    link = mavutil.mavlink_connection(args.to, source_system=1, source_component=191, dialect="common")  # 191: onboard
    for report in reports(args.listen):
        seen = [t for t in report["targets"] if t["box"] and args.target in (None, t["id"])]
        if seen:
            right, down, wide, high = angles(seen[0]["box"], report["width"], report["height"], args.fov_deg)
            time_us = int(report["timestamp_s"] * 1e6)
            frame = mavutil.mavlink.MAV_FRAME_BODY_FRD
            link.mav.landing_target_send(time_us, seen[0]["id"] % 256, frame, right, down, 0.0, wide, high)


if __name__ == "__main__":
    main()
