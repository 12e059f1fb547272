"""An OSS-compatible server on loopback, for tests and for people: oss2 talks to it unmodified.

wire (HTTP) → actions (one request, one answer) → objects (pure state on a clock) and disk (the bytes). Nothing here is
imported by rustfsfs. What it does not do: ACLs, tags, encryption, append, websites; such requests get NotImplemented.
"""

from tests.oss_server.clock import Clock
from tests.oss_server.server import OssServer, serving

__all__ = ["Clock", "OssServer", "serving"]
