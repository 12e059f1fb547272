"""A mount with metrics: of a volume with a name, since its NAME.toml says where to serve them."""

import os
from pathlib import Path
from typing import Any
from unittest import mock

from rustfsfs.service import client
from rustfsfs.service.sites import VARIABLE
from tests.mounted import Mounted

NAME = "watched"


class WatchedMount(Mounted):
    """A volume whose mount serves metrics on base/metrics.sock, or where `listen` says."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.socket = base / "metrics.sock"
        self.listen = f"unix:{self.socket}"

    def mount(self, *more: str | Path, check: bool = True) -> Any:
        text = f'[mount]\nvolume = "{self.volume}"\npoint = "{self.point}"\nkey_file = "{self.key}"\n'
        (self.base / f"{NAME}.toml").write_text(f'{text}[metrics]\nlisten = "{self.listen}"\n')
        with mock.patch.dict(os.environ, {VARIABLE: str(self.base)}):
            return self.run("mount", NAME, *more, check=check)

    def call(self, name: str) -> Any:
        """A call of the control socket. Raises CallFailed."""
        return client.call(str(self.volume), name, {})
