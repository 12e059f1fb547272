"""The control socket's lines, version 1 (documented in DESIGN.md). Pure.

→ {"v": 1, "call": NAME, "args": {...}}
← {"progress": {"done": N, "total": N, "text": "..."}}     any number of them
← {"result": ...}   or   {"error": "one sentence", "exit": 1..130}
"""

import json
from typing import Any, NamedTuple

from rustfsfs.errors import UsageError

VERSION = 1
NAME = "control.sock"
LINE_SIZE_MAX = 64 * 1024  # of a request


class Request(NamedTuple):
    call: str
    args: dict[str, Any]


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def parse_request(line: bytes) -> Request:
    """Raises UsageError on anything that is not a request of this version."""
    try:
        found = json.loads(line)
    except ValueError as exc:
        raise UsageError("a request is one JSON object on a line") from exc
    if not isinstance(found, dict) or found.get("v") != VERSION:
        raise UsageError(f"a request has version {VERSION}")
    call, args = found.get("call"), found.get("args", {})
    if not isinstance(call, str) or not isinstance(args, dict):
        raise UsageError('a request names its "call", and its "args" are an object')
    return Request(call, args)
