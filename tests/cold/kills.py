"""A command is killed at each request it makes, before the bucket has carried it out and after; then it is given again.

Moments are counted by the server: it lets n requests through and holds the next ones, so that whatever the process has
done until then is done. The volume and the bucket are put back to what they were before each.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rustfsfs.store.cold import METADATA, PACKS, pack_key
from rustfsfs.store.terms import TERMS
from rustfsfs.volume import bucketcheck, commands, offline
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.owning import TERMS_KEPT
from rustfsfs.volume.volume import Volume
from tests.cold.scene import CONFIG, data_of
from tests.long.cold.place import ANY_DISK, PREFIX, ColdVolume, wait_until
from tests.mounted import TIMEOUT_S
from tests.oss_server import Clock, Fault, Hang, OssServer, serving
from tests.volume.on_disk import Key, change, format_in, write_file

OLD_S = 2 * 3600.0  # so old the bucket says everything is: leftovers are an hour old before they go
MET_S_MAX = 30.0
FILES = 3
ASKED_ONLY = CONFIG.replace('within = "1s"', "enabled = false")  # a mount makes no requests of its own accord


@dataclass(frozen=True, slots=True)
class Moment:
    skip: int
    executed: bool

    def __str__(self) -> str:
        return f"at request {self.skip + 1}, {'' if self.executed else 'not '}executed"


@dataclass
class Ground:
    """A volume that is not mounted, its bucket, and what both were at the start of a story."""

    volume: ColdVolume
    oss: OssServer
    files: int = 0
    _kept: Path = field(init=False)

    def __post_init__(self) -> None:
        self._kept = self.volume.base / "kept"

    @property
    def path(self) -> Path:
        return self.volume.volume

    @property
    def where(self) -> list[str | Path]:
        """How the bucket is named to `fsck --rebuild-from-bucket` in a new directory."""
        url, *rest = self.volume.place
        return ["--bucket", url, *rest]

    def add_files(self, count: int = FILES) -> None:
        for number in range(self.files, self.files + count):
            change(self.path, partial(self._add, number))
        self.files += count

    async def _add(self, number: int, volume: Volume) -> None:
        await write_file(volume, b"f%d" % number, data_of(number))
        await commands.seal(volume, {}, no_progress)

    def keep(self) -> None:
        """From now on `put_back` brings this."""
        self._forget_ballast()
        shutil.rmtree(self._kept, ignore_errors=True)
        if self.path.exists():
            shutil.copytree(self.path, self._kept / "volume")
        shutil.copytree(self.oss.folder / "packs", self._kept / "bucket")

    def put_back(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if (self._kept / "volume").exists():
            shutil.copytree(self._kept / "volume", self.path)
        with self.oss.store.lock:
            shutil.rmtree(self.oss.folder / "packs")
            shutil.copytree(self._kept / "bucket", self.oss.folder / "packs")
            self.oss.store.buckets = self.oss.store.disk.load()

    def _forget_ballast(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)  # 1 % of the disk that runs the tests

    def attach(self) -> None:
        url, *rest = self.volume.place
        options = dict(zip((name.removeprefix("--") for name in rest[::2]), rest[1::2], strict=True))
        offline.bucket_attach(str(self.path), Key(), {"url": url, "class": None, **options})
        self._forget_ballast()

    def tier(self, name: str, *paths: str) -> dict[str, Any]:
        """One of `tier`'s commands, in this process; what it says."""
        args = {"paths": list(paths)}
        said = offline.tier(str(self.path), Key(), f"tier_{name}", args, read_only=name == "status")
        self._forget_ballast()
        return said

    def check(self) -> None:
        """The volume is whole, and so is what it says of the bucket."""
        for number in range(self.files):
            found = bytearray()
            offline.cat(str(self.path), Key(), f"f{number}", found.extend)
            assert found == data_of(number), f"f{number} reads wrong"
        findings = offline.fsck(str(self.path), Key(), data=True, progress=no_progress)
        assert findings == [], findings[:3]
        self._forget_ballast()

    def check_bucket(self) -> None:
        """After one more copy of the metadata, every pack is named by a row, and nothing else is left there."""
        recorded = set[str]()
        self.tier("pin", "f1")

        async def look(volume: Volume) -> None:
            for table in ("objects", "doomed_objects"):
                rows = volume.metadata.rows(f"SELECT pack, disk FROM {table}")
                recorded.update(f"{PREFIX}/{pack_key(pack, disk)}" for pack, disk in rows)

        change(self.path, look)
        keys = self.keys()
        assert {key for key in keys if key.startswith(f"{PREFIX}/{PACKS}")} == recorded
        assert not [key for key in keys if bucketcheck.PROBE in key], keys
        metadata = [key for key in keys if key.startswith(f"{PREFIX}/{METADATA}") and key.count("/") == 3]
        took = {key for key in metadata if key.startswith(f"{PREFIX}/{TERMS}")}
        copies = {key.rpartition("/")[0] for key in metadata if key not in took}
        assert 1 <= len(took) <= TERMS_KEPT, keys
        assert 1 <= len(copies) <= 3 and all(f"{copy}/manifest" in keys for copy in copies), keys

    def keys(self) -> list[str]:
        with self.oss.store.lock:
            return list(self.oss.store.bucket("packs").keys_from(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A command, and what has to be so when it was killed and given again."""

    name: str
    prepare: Callable[[Ground], None]
    command: Callable[[Ground], Sequence[str | Path]]
    check: Callable[[Ground], None] = Ground.check
    writes: bool = True  # and the bucket is compared as well

    def begin(self, ground: Ground) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rustfsfs", *map(str, self.command(ground))]
        command += ["--key-file", str(ground.volume.key)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def start(self, ground: Ground) -> None:
        self.prepare(ground)
        ground.keep()

    def moments(self, ground: Ground) -> list[Moment]:
        """All there are, once it has started."""
        ground.oss.counts.clear()
        process = self.begin(ground)
        said, _ = process.communicate(timeout=MET_S_MAX)
        assert process.returncode == 0, f"{self.name}: {said}"
        count = len(ground.oss.counts.seen())
        assert count > 2, f"{self.name} asks the bucket for nothing"
        return [Moment(skip, executed) for skip in range(count) for executed in (False, True)]

    def strike(self, ground: Ground, moment: Moment) -> None:
        ground.put_back()
        try:
            self._kill(ground, moment)
            again = self.begin(ground)
            said, _ = again.communicate(timeout=MET_S_MAX)
            assert again.returncode == 0 and "Traceback" not in said, said
            self.check(ground)
            if self.writes:
                ground.check_bucket()
        except (AssertionError, OSError) as exc:
            raise AssertionError(f"{self.name} {moment}: {exc}") from exc

    def _kill(self, ground: Ground, moment: Moment) -> None:
        oss = ground.oss
        oss.faults.plan(Fault(effect=Hang(moment.executed), skip=moment.skip, count=None))
        process = self.begin(ground)
        try:
            wait_until(
                lambda: oss.hanging > 0 or process.poll() is not None, within_s=MET_S_MAX, otherwise="no such request"
            )
            assert process.poll() is None, f"it ended before: {process.communicate()[0]}"
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            oss.faults.plan()
            oss.release()


def _attach(ground: Ground) -> list[str | Path]:
    return ["bucket", "attach", ground.path, *ground.volume.place]


def _with_files(ground: Ground) -> None:
    ground.add_files()


def _attached(ground: Ground) -> None:
    ground.attach()
    ground.add_files()


def _demoted(ground: Ground) -> None:
    _attached(ground)
    ground.tier("demote")


def _without_database(ground: Ground) -> None:
    _demoted(ground)
    for path in ground.path.glob("metadata.*"):
        path.unlink()
    shutil.rmtree(ground.path / "snapshots")


def _burned(ground: Ground) -> None:
    _demoted(ground)
    shutil.rmtree(ground.path)


def _is_pinned(ground: Ground) -> None:
    ground.check()
    assert ground.tier("status")["pinned"] == ["/f0"]


class MountedAttach(Story):
    """`bucket attach` of a mounted volume and the copy of the metadata that follows at once: the daemon is killed."""

    def moments(self, ground: Ground) -> list[Moment]:
        ground.oss.counts.clear()
        ground.volume.mount()
        self._attach_and_publish(ground)
        count = len(ground.oss.counts.seen())
        ground.volume.kill()
        return [Moment(skip, executed) for skip in range(count) for executed in (False, True)]

    def strike(self, ground: Ground, moment: Moment) -> None:
        ground.put_back()
        ground.volume.mount()
        try:
            self._kill(ground, moment)
            ground.volume.mount()
            self._attach_and_publish(ground)
            ground.volume.umount()
            self.check(ground)
            ground.check_bucket()
        except (AssertionError, OSError) as exc:
            raise AssertionError(f"{self.name} {moment}: {exc}") from exc
        finally:
            ground.volume.end()

    def _kill(self, ground: Ground, moment: Moment) -> None:
        oss = ground.oss
        oss.faults.plan(Fault(effect=Hang(moment.executed), skip=moment.skip, count=None))
        process = self.begin(ground)
        try:
            wait_until(lambda: oss.hanging > 0, within_s=MET_S_MAX, otherwise="no such request")
            ground.volume.kill()
            said, _ = process.communicate(timeout=MET_S_MAX)
            assert process.returncode in (0, 5) and "Traceback" not in said, (process.returncode, said)
        finally:
            process.kill()
            process.communicate()
            oss.faults.plan()
            oss.release()

    def _attach_and_publish(self, ground: Ground) -> None:
        process = self.begin(ground)
        said, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, said
        wait_until(
            lambda: not ground.volume.tier()["metadata"]["is_due"],
            within_s=MET_S_MAX,
            otherwise="its metadata is not published",
        )


def _attach_mounted(ground: Ground) -> list[str | Path]:
    return ["bucket", "attach", ground.volume.point, *ground.volume.place]


STORIES = [
    Story(name="attach", prepare=_with_files, command=_attach),
    MountedAttach(name="attach, mounted", prepare=_with_files, command=_attach_mounted),
    Story(name="demote", prepare=_attached, command=lambda ground: ["tier", "demote", ground.path]),
    Story(name="recall", prepare=_demoted, command=lambda ground: ["tier", "recall", ground.path]),
    Story(
        name="publish",
        prepare=_demoted,
        command=lambda ground: ["tier", "pin", ground.path, "f0"],  # it moves nothing; at its end it publishes
        check=_is_pinned,
    ),
    Story(
        name="rebuild in place",
        prepare=_without_database,
        command=lambda ground: ["fsck", ground.path, "--rebuild-from-bucket"],
    ),
    Story(
        name="rebuild on a new host",
        prepare=_burned,
        command=lambda ground: ["fsck", ground.path, "--rebuild-from-bucket", *ground.where],
    ),
]


@contextmanager
def grounds(base: Path) -> Iterator[Callable[[str], Ground]]:
    """New ones: a formatted volume each, and one server whose bucket is emptied."""
    with serving(base / "oss", clock=Clock(_ahead_s=-OLD_S)) as oss:
        made: list[ColdVolume] = []

        def new(name: str) -> Ground:
            folder = base / name.replace(" ", "-")
            folder.mkdir()
            volume = ColdVolume(folder)
            made.append(volume)
            volume.name_place(oss)
            format_in(volume.volume)
            (volume.volume / "config.toml").write_text(ANY_DISK + ASKED_ONLY)
            with oss.store.lock:
                shutil.rmtree(oss.folder / "packs")
                oss.store.buckets.clear()
            oss.create_bucket("packs")
            return Ground(volume, oss)

        try:
            yield new
        finally:
            for volume in made:
                volume.clean_up()
