"""The interface as an OpenAPI 3.1 document; its schemas are JSON Schema, that of the WebSocket's objects included."""

from __future__ import annotations

from typing import Any

from onlinetada import __version__

Json = dict[str, Any]


def openapi() -> Json:
    """The document that ``/openapi.json`` serves."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "onlinetada serve",
            "version": __version__,
            "description": "Boxes are [x, y, width, height] in pixels of the frame, 0-based, x, y the top left corner.",
        },
        "security": [{}, {"bearer": []}, {"query": []}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "responses": {"Problem": _content("Problem", "What is wrong, in one line.")},
        },
    }


def _paths() -> Json:
    number = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    boxes = {"name": "boxes", "in": "query", "schema": {"enum": ["0", "1"]}, "description": "1: with boxes drawn."}
    picture = {"description": "A picture.", "content": {"image/jpeg": {}}}
    stream = {"description": "Pictures until one side ends.", "content": {"multipart/x-mixed-replace": {}}}
    text = {"description": "Text.", "content": {"text/plain": {}}}
    file = {"description": "The file.", "content": {"application/octet-stream": {}}}
    upgrade = _content("Frame", "After the upgrade, a text message with one such object for every frame.")
    health = _content("Health", "Every tracker's thread is alive.")
    return {
        "/healthz": {"get": _operation("Is it alive? Needs no token.", {"200": health, "503": health})},
        "/metrics": {"get": _operation("Metrics for Prometheus.", {"200": text})},
        "/openapi.json": {"get": _operation("This document.", {"200": {"description": "OpenAPI 3.1."}})},
        "/stream.mjpg": {"get": _operation("Motion JPEG.", {"200": stream}, [_SOURCE, boxes])},
        "/ws": {"get": _operation("WebSocket; source=all for every source.", {"101": upgrade}, [_SOURCE])},
        "/api/status": {"get": _operation("Sources and their state.", {"200": _content("Status", "Status.")})},
        "/api/targets": {
            "get": _operation("Targets as of the last frame.", {"200": _content("Targets", "Targets.")}, [_SOURCE]),
            "post": _operation("Follow a target.", {"201": _content("Target", "It is followed.")}, [], "NewTarget"),
        },
        "/api/targets/{id}": {
            "put": _operation("Begin it anew.", {"200": _content("Target", "Followed.")}, [number], "MovedTarget"),
            "delete": _operation("Follow it no more.", {"204": {"description": "It is gone."}}, [number]),
        },
        "/api/snapshot.jpg": {"get": _operation("The newest frame.", {"200": picture}, [_SOURCE, boxes])},
        "/api/recordings": {
            "get": _operation("Files in the record folder.", {"200": _content("Recordings", "Files.")}),
            "post": _operation("Record a source.", {"201": _content("Recording", "On.")}, [], "NewRecording"),
        },
        "/api/recordings/current": {
            "delete": _operation("Stop recording.", {"200": _content("Recording", "The last file.")}, [_SOURCE])
        },
        "/api/recordings/{name}": {"get": _operation("A recording.", {"200": file}, [name])},
    }


_SOURCE: Json = {
    "name": "source",
    "in": "query",
    "schema": {"type": "string"},
    "description": "Id of a source; the first without it.",
}


def _operation(summary: str, answers: Json, parameters: list[Json] | None = None, body: str | None = None) -> Json:
    problem = {"$ref": "#/components/responses/Problem"}
    values: Json = {"summary": summary, "responses": {**answers, "default": problem}}
    if parameters:
        values["parameters"] = parameters
    if body is not None:
        values["requestBody"] = {"content": {"application/json": {"schema": _ref(body)}}}
    return values


def _content(schema: str, text: str) -> Json:
    return {"description": text, "content": {"application/json": {"schema": _ref(schema)}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *, optional: tuple[str, ...] = (), closed: bool = False) -> Json:
    required = [name for name in properties if name not in optional]
    values: Json = {"type": "object", "properties": properties, "required": required}
    return {**values, "additionalProperties": False} if closed else values


_NUMBER, _INTEGER, _STRING, _BOOLEAN = ({"type": t} for t in ("number", "integer", "string", "boolean"))
_MAYBE_NUMBER, _MAYBE_INTEGER, _MAYBE_STRING = ({"type": [t, "null"]} for t in ("number", "integer", "string"))


def _schemas() -> Json:
    return {
        "Problem": _object({"error": _STRING}),
        "Health": _object({"status": {"enum": ["ok", "stuck"]}, "sources": {"type": "object"}}),
        **_target_schemas(),
        **_recording_schemas(),
        "Status": _object(
            {
                **{"version": _STRING, "model": _STRING, "uptime_s": _NUMBER, "records": _BOOLEAN},
                "sources": {"type": "array", "items": _source_schema()},
            }
        ),
    }


def _target_schemas() -> Json:
    target = {
        "id": {**_INTEGER, "description": "Never used again while the server runs."},
        "box": {"anyOf": [_ref("Box"), {"type": "null"}], "description": "null while the target is lost."},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "state": {"enum": ["tracking", "uncertain", "lost"]},
        "latency_ms": {**_NUMBER, "description": "That the tracker took for the frame."},
    }
    told = {"source": _STRING, "frame_index": {**_INTEGER, "description": "In a file, the number of its frame."}}
    frame = {
        **told,
        "timestamp_s": {**_NUMBER, "description": "Of the capture: Unix time of live sources, else from the start."},
        "loop": {**_INTEGER, "description": "How often a file was played before."},
        "width": {**_INTEGER, "description": "Of the picture that the boxes refer to."},
        "height": _INTEGER,
        "targets": {"type": "array", "items": _ref("TargetOnFrame")},
        "delay_ms": {**_NUMBER, "description": "From the capture of the frame to these boxes."},
        "fps": _NUMBER,
        "dropped": {**_INTEGER, "description": "Frames left out so far because newer ones had come."},
    }
    drawn_on = {**_INTEGER, "minimum": 0, "description": "The frame it was drawn on; the newest without it."}
    asked = {"box": _ref("Box"), "frame_index": drawn_on}
    return {
        "Box": {"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4},
        "TargetOnFrame": _object(target),
        "Frame": _object(frame),
        "Target": _object({**target, **told}),
        "Targets": _object({"targets": {"type": "array", "items": _object({**target, "source": _STRING})}}),
        "NewTarget": _object({**asked, "source": _STRING}, optional=("frame_index", "source"), closed=True),
        "MovedTarget": _object(asked, optional=("frame_index",), closed=True),
    }


def _recording_schemas() -> Json:
    file = _object({"name": _STRING, "size_bytes": _INTEGER, "modified_s": _NUMBER})
    asked = {"source": _STRING, "boxes": _BOOLEAN}
    return {
        "NewRecording": _object(asked, optional=("source", "boxes"), closed=True),
        "Recording": _object({"source": _STRING, "name": _STRING}),
        "Recordings": _object({"recordings": {"type": "array", "items": file}, "current": {"type": "object"}}),
    }


def _source_schema() -> Json:
    return _object(
        {
            **{"id": _STRING, "label": _STRING, "problem": _STRING, "live": _BOOLEAN, "recording": _MAYBE_STRING},
            "state": {"enum": ["connecting", "live", "stalled", "failed", "ended"]},
            **{"width": _MAYBE_INTEGER, "height": _MAYBE_INTEGER, "frame_index": _MAYBE_INTEGER, "fps": _NUMBER},
            **{"frames": _INTEGER, "dropped": _INTEGER, "restarts": _INTEGER},
            "delay_ms": _object({"p50": _MAYBE_NUMBER, "p99": _MAYBE_NUMBER}),
            "notices": {"type": "array", "items": _object({"time_s": _NUMBER, "text": _STRING})},
        }
    )
