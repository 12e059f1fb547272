"""A new volume for one application, a folder of the local file system beside it, and running programs with a limit."""

import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mounted import Mounted

OPTIONS = "dev,suid,allow_other"
LIMIT_S = 300  # of one program; nothing here takes a minute on an idle machine
SHOWN = 2000  # characters of output in an error
LOG_NAME = "rustfsfs.log"  # where there is no syslog


@dataclass
class Place:
    """`point` is the mount; `scratch` lies outside of it, for references and for what was acknowledged."""

    mounted: Mounted
    scratch: Path
    draw: random.Random

    @property
    def point(self) -> Path:
        return self.mounted.point

    def folder(self, name: str) -> Path:
        """A new directory on the mount."""
        path = self.point / name
        path.mkdir()
        return path

    def mount(self) -> None:
        self.mounted.mount("-o", OPTIONS)

    def remount(self) -> None:
        self.mounted.remount("-o", OPTIONS)

    def killed(self) -> None:
        """SIGKILL of the daemon, and a new life."""
        self.mounted.kill()
        self.mount()


@contextmanager
def new_place(seed: int) -> Iterator[Place]:
    """Without trouble inside, the volume is unmounted and checked at the end, every byte, and its log read."""
    with tempfile.TemporaryDirectory(prefix="apps") as folder:
        os.chmod(folder, 0o755)
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        mounted = Mounted(Path(folder))
        mounted.format()
        place = Place(mounted, scratch, random.Random(seed))
        place.mount()
        try:
            os.chmod(place.point, 0o755)
            yield place
            mounted.umount()
            findings = mounted.fsck("--data")
            assert findings == [], findings[:5]
            log = mounted.volume / LOG_NAME
            assert not log.exists() or "Traceback" not in log.read_text(), log.read_text()[-SHOWN:]
        finally:
            mounted.clean_up()


def start(
    *arguments: str | Path, cwd: Path | None = None, user: str | None = None, output: Path | None = None
) -> subprocess.Popen[str]:
    """A program in a session of its own; its output goes into a pipe or, if named, appended to a file."""
    stream = open(output, "a") if output else subprocess.PIPE  # noqa: SIM115
    try:
        return subprocess.Popen(
            list(map(str, arguments)),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.PIPE if output is None else subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
    finally:
        if not isinstance(stream, int):
            stream.close()


def end(child: subprocess.Popen[str]) -> None:
    """SIGKILL to all of its session; for what hangs on a dead mount, and for what should stop."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait(LIMIT_S)


def finished(child: subprocess.Popen[str], text: str = "", limit_s: float = LIMIT_S) -> tuple[int, str]:
    """(exit code, output) of a program that gets `text` to read. Raises AssertionError if it takes too long."""
    try:
        output, _ = child.communicate(text, limit_s)
    except subprocess.TimeoutExpired as exc:
        end(child)
        raise AssertionError(f"{child.args!r} took more than {limit_s} s") from exc
    return child.returncode, output


def ran(
    *arguments: str | Path, cwd: Path | None = None, user: str | None = None, text: str = "", limit_s: float = LIMIT_S
) -> str:
    """The output of a program, which has to succeed in time."""
    code, output = finished(start(*arguments, cwd=cwd, user=user), text, limit_s)
    assert code == 0, f"{' '.join(map(str, arguments))[:300]}: exit code {code}: {output[-SHOWN:]}"
    return output
