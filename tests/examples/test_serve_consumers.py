"""The examples that pass reports on, as programs of their own, fed with what the server's schema promises."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
REPORT = {
    "source": "front",
    "frame_index": 7,
    "timestamp_s": 1700000000.25,
    "loop": 0,
    "width": 640,
    "height": 480,
    "targets": [
        {"id": 1, "box": None, "score": 0.1, "state": "lost", "latency_ms": 9.0},
        {"id": 2, "box": [480.0, 220.0, 40.0, 40.0], "score": 0.75, "state": "tracking", "latency_ms": 9.0},
    ],
    "delay_ms": 20.0,
    "fps": 30.0,
    "dropped": 0,
}


def test_a_flight_controller_gets_the_angles_of_the_target_that_is_seen() -> None:
    mavutil = pytest.importorskip("pymavlink.mavutil", reason="pymavlink is not installed")
    controller = mavutil.mavlink_connection("udpin:127.0.0.1:0", dialect="common")
    port = controller.port.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        listen = probe.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / "serve_to_mavlink.py"), "--listen", str(listen), "--fov-deg", "90"]
    relay = subprocess.Popen([*command, "--to", f"udpout:127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    try:
        assert "listening" in relay.stdout.readline()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(json.dumps(REPORT).encode() + b"\n", ("127.0.0.1", listen))
        message = controller.recv_match(type="LANDING_TARGET", blocking=True, timeout=60)
    finally:
        relay.kill()
        relay.wait(10)
        controller.close()
    assert message is not None and message.target_num == 2 and message.time_usec == 1700000000250000
    assert message.angle_x == pytest.approx(math.atan(180 / 320)) and message.angle_y == pytest.approx(0, abs=1e-6)


FAKE_ROS = """
import sys, types

class Any(types.SimpleNamespace):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = [] if name in ("results", "detections") else Any()
        setattr(self, name, value)
        return value

Detection2D = Detection2DArray = ObjectHypothesisWithPose = Any

class Publisher:
    def publish(self, m):
        d = m.detections[0]
        print(m.header.frame_id, m.header.stamp.sec, m.header.stamp.nanosec, len(m.detections), d.id,
              d.bbox.center.position.x, d.bbox.size_x, d.results[0].hypothesis.class_id, d.results[0].hypothesis.score)

class Node:
    def create_publisher(self, kind, name, depth):
        return Publisher()
    def destroy_node(self):
        pass

def init(): pass
def shutdown(): pass
def create_node(name): return Node()
"""


def test_ros_2_gets_a_detection_for_the_target_that_is_seen(tmp_path: Path) -> None:
    """Against stand-ins for rclpy and vision_msgs: the names used are those of their documentation."""
    (tmp_path / "rclpy.py").write_text(FAKE_ROS)
    (tmp_path / "vision_msgs").mkdir()
    (tmp_path / "vision_msgs" / "msg.py").write_text(FAKE_ROS)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "serve_to_ros2.py")],
        input=json.dumps(REPORT) + "\n",
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["front", "1700000000", "250000000", "1", "2", "500.0", "40.0", "tracking", "0.75"]
