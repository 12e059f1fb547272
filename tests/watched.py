"""`rustfsfs mount` with metrics: the daemon as it is, told where to serve them.

python -m tests.watched VOLUME MOUNTPOINT KEYFILE LISTEN
"""

import sys
from pathlib import Path
from typing import Any

from rustfsfs.cli.main import report
from rustfsfs.cli.mount import start_daemon
from rustfsfs.errors import OpeningError
from rustfsfs.mount import MountOptions, serve
from rustfsfs.service import client
from rustfsfs.world import real_world
from tests.daemon import KeyFile
from tests.mounted import Mounted


def main(volume: str, point: str, key: str, listen: str) -> int:
    options = MountOptions(
        volume=volume,
        mount_point=point,
        foreground=False,
        read_only=False,
        config_path=None,
        options=frozenset(),
        degraded=False,
        skip_seq=None,
        metrics_listen=listen,
    )
    secret = KeyFile(Path(key).read_bytes())
    try:
        return start_daemon(lambda ready: serve(real_world(), options, secret, ready), volume)
    except OpeningError as exc:
        return report(exc)


class WatchedMount(Mounted):
    """A volume whose mount serves metrics on base/metrics.sock, or where `listen` says."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.socket = base / "metrics.sock"
        self.listen = f"unix:{self.socket}"

    def mount(self, *more: str | Path) -> None:
        assert not more, "it takes no options"
        self.run(self.volume, self.point, self.key, self.listen, module="tests.watched")

    def call(self, name: str) -> Any:
        """A call of the control socket. Raises CallFailed."""
        return client.call(str(self.volume), name, {})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
