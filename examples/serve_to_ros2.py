"""Publishes what `onlinetada serve` follows as ROS 2 messages: vision_msgs/Detection2DArray on /targets.

    onlinetada serve /dev/video0 --jsonl | python3 examples/serve_to_ros2.py

Needs a sourced ROS 2 (Humble or later) with vision_msgs. A target that is lost is left out; a detection's id is the
target's, its class its state, its score the tracker's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import rclpy
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose


def message(report: dict[str, Any]) -> Detection2DArray:
    """A report as a message; its stamp is the time of the capture, its frame the name of the source."""
    array = Detection2DArray()
    array.header.frame_id = report["source"]
    seconds, micros = divmod(round(report["timestamp_s"] * 1e6), 1_000_000)
    array.header.stamp.sec, array.header.stamp.nanosec = seconds, 1000 * micros
    for target in report["targets"]:
        if target["box"] is None:
            continue
        x, y, w, h = target["box"]
        found = Detection2D()
        found.header, found.id = array.header, str(target["id"])
        found.bbox.center.position.x, found.bbox.center.position.y = x + w / 2, y + h / 2
        found.bbox.size_x, found.bbox.size_y = w, h
        belief = ObjectHypothesisWithPose()
        belief.hypothesis.class_id, belief.hypothesis.score = target["state"], target["score"]
        found.results.append(belief)
        array.detections.append(found)
    return array


def main() -> None:
    """Publish every line of standard input until it ends."""
    rclpy.init()
    node = rclpy.create_node("onlinetada")
    publisher = node.create_publisher(Detection2DArray, "targets", 10)
    for line in sys.stdin:
        publisher.publish(message(json.loads(line)))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
