"""An OSS-compatible server on loopback, for tests and for people: oss2 talks to it unmodified.

exchange (one request) → actions → objects, lifecycle, listing (pure, on a clock) and disk (bytes); wire is HTTP, faults
the script of what goes wrong. rustfsfs imports nothing of it, and it nothing of rustfsfs. What it does not know: ACLs,
tags, encryption, append, websites; such requests get NotImplemented.
"""

from tests.oss_server.clock import Clock
from tests.oss_server.exchange import Outage
from tests.oss_server.faults import (
    Delay,
    Fault,
    FlipReceived,
    FlipSent,
    Hang,
    Headers,
    IgnoreRange,
    Refuse,
    Reset,
    Short,
    Slow,
    Stale,
    Swap,
    When,
    denied,
    missing,
    server_error,
    throttling,
)
from tests.oss_server.objects import StorageClass, Versioning
from tests.oss_server.operations import Kind, Operation
from tests.oss_server.pacing import Network
from tests.oss_server.server import OssServer, TemporaryKey, serving

__all__ = [
    "Clock",
    "Delay",
    "Fault",
    "FlipReceived",
    "FlipSent",
    "Hang",
    "Headers",
    "IgnoreRange",
    "Kind",
    "Network",
    "Operation",
    "OssServer",
    "Outage",
    "Refuse",
    "Reset",
    "Short",
    "Slow",
    "Stale",
    "StorageClass",
    "Swap",
    "TemporaryKey",
    "Versioning",
    "When",
    "denied",
    "missing",
    "server_error",
    "serving",
    "throttling",
]
