"""The control socket's lines, version 1, and what each call takes (documented in man/rustfsfs-control.7.md). Pure.

→ {"v": 1, "call": NAME, "args": {...}}
← {"progress": {"done": N, "total": N, "text": "..."}}     any number of them
← {"result": ...}   or   {"error": "one sentence", "exit": 1..130}
"""

import json
from typing import Any, NamedTuple

from rustfsfs.errors import UsageError
from rustfsfs.values import nearest

VERSION = 1
NAME = "control.sock"
LINE_SIZE_MAX = 64 * 1024  # of a request
Argument = type[bool] | type[int] | type[float] | type[str] | type[list[str]]
_TREES: dict[str, Argument] = {"paths": list}
ARGUMENTS: dict[str, dict[str, Argument]] = {
    "status": {},
    "top": {},
    "reload": {},
    "seal": {},
    "collect": {"live_share": float},
    "fsck": {"data": bool},
    "scrub": {"repair": bool, "rate_bytes_s": int},
    "disk_list": {},
    "disk_add": {"path": str},
    "disk_remove": {"path": str},
    "bucket_attach": {"url": str, "endpoint": str, "region": str, "credentials": str, "class": str},
    "tier_status": _TREES,
    "tier_plan": _TREES,
    "tier_demote": _TREES | {"dry_run": bool},
    "tier_recall": _TREES | {"dry_run": bool, "wait": bool},
    "tier_pin": _TREES,
    "tier_unpin": _TREES,
}
KINDS: dict[Argument, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list of texts",
}


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


def check_arguments(call: str, args: dict[str, Any]) -> dict[str, Any]:
    """Those that are given: null is none. Whether a value is a sensible one the call says.

    Raises UsageError. One that is not known may be dry_run or paths, misspelt: to go on without would do harm.
    """
    known = ARGUMENTS[call]
    for name, value in args.items():
        if name not in known:
            hint = nearest(name, list(known)) if known else ""
            raise UsageError(f"{call} takes no argument {name}{hint}")
        if value is not None and not _is_a(value, known[name]):
            raise UsageError(f"{name} is {KINDS[known[name]]}")
    return {name: value for name, value in args.items() if value is not None}


def _is_a(value: object, kind: Argument) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)
