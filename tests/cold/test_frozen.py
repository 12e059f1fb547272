"""Packs that a rule of the bucket's owner has frozen, on a real mount: readers, `tier status`, `tier recall --wait`."""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rustfsfs.service import client
from tests.cold.scene import Scene, data_of, scene
from tests.long.cold.place import wait_until
from tests.oss_server import Kind, OssServer, Outage, StorageClass, serving

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # mounts, and processes

RULE = """<LifecycleConfiguration><Rule><ID>freeze</ID><Prefix>v/packs/</Prefix><Status>Enabled</Status>
<Transition><Days>1</Days><StorageClass>Archive</StorageClass></Transition></Rule></LifecycleConfiguration>"""
RESTORED_S = 61.0  # a minute, of Archive


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[OssServer]:
    with serving(tmp_path / "oss") as server:
        yield server


def freeze(oss: OssServer, storage_class: StorageClass = StorageClass.ARCHIVE) -> int:
    """Every pack, as a rule does; how many."""
    with oss.store.lock:
        bucket, count = oss.store.bucket("packs"), 0
        for key, versions in list(bucket.versions.items()):
            if "/packs/" in key:
                bucket.change(versions[-1], replace(versions[-1], storage_class=storage_class, restore=None))
                count += 1
    return count


def restores(oss: OssServer) -> int:
    return len(oss.counts.seen(operation="RestoreObject"))


def test_by_default_a_read_says_try_again_at_once_and_asks_for_the_restore(tmp_path: Path, oss: OssServer) -> None:
    with scene(tmp_path, oss, cold=2) as home:
        bucket, frozen = oss.store.bucket("packs"), home.unread()
        bucket.lifecycle = RULE.encode()
        oss.clock.advance(days=2)
        for _ in range(2):
            began_s = time.monotonic()
            assert refusal(home, frozen) == errno.EAGAIN and time.monotonic() - began_s < 2.0
        assert restores(oss) == 1
        told = [line for line in home.volume.log.splitlines() if "frozen" in line or "fetching ahead" in line]
        assert len(told) == 1 and "its restore is asked for" in told[0], told
        shown = home.volume.run("tier", "status", home.volume.point).stdout
        assert "Frozen   1 pack of those, " in shown and "to be restored first" in shown
        done = home.volume.run("tier", "recall", home.path(frozen))
        assert "1 pack frozen, and asked to be restored, within 1 min; --wait waits for that" in done.stdout
        home.lives()
        oss.clock.advance(RESTORED_S)
        home.read(frozen)


def refusal(home: Scene, number: int) -> int | None:
    """The errno of a read(2). Python's own files take EAGAIN for the end of what is there now, and raise nothing."""
    fd = os.open(home.path(number), os.O_RDONLY)
    try:
        os.read(fd, 1 << 20)
    except OSError as exc:
        return exc.errno
    finally:
        os.close(fd)
    return None


def reader(home: Scene, number: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["cat", str(home.path(number))], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_or_it_waits_is_killable_and_goes_on_by_itself(tmp_path: Path, oss: OssServer) -> None:
    with scene(tmp_path, oss, config='frozen = "wait"\n', cold=3) as home:
        freeze(oss)
        patient, killed = home.unread(), home.unread()
        waiting, leaving = reader(home, patient), reader(home, killed)
        wait_until(lambda: restores(oss) == 2, within_s=10.0, otherwise="no restore was asked for")
        assert waiting.poll() is None and leaving.poll() is None
        leaving.send_signal(signal.SIGKILL)
        began_s = time.monotonic()
        leaving.communicate()
        assert time.monotonic() - began_s < 1.0
        home.lives()
        oss.clock.advance(RESTORED_S)
        found, _ = waiting.communicate(timeout=30.0)
        assert found == data_of(patient)
        left = home.unread()
        with oss.outage(Outage.HANG):
            began_s = time.monotonic()
            assert refusal(home, left) == errno.EIO
            assert 2.0 < time.monotonic() - began_s < 2 * 3.0 + 2.0  # the kernel asks twice: ahead, and for the page


def test_recall_waits_for_the_restore_and_says_how_long_it_takes(tmp_path: Path, oss: OssServer) -> None:
    with scene(tmp_path, oss, cold=2) as home:
        assert freeze(oss, StorageClass.COLD_ARCHIVE) == 2
        home.volume.forget()
        texts: list[str] = []
        results: list[dict[str, Any]] = []

        def recall() -> None:
            args = {"paths": [], "wait": True}
            results.append(
                client.call(
                    str(home.volume.volume), "tier_recall", args, lambda _done, _total, text: texts.append(text)
                )
            )

        worker = threading.Thread(target=recall, daemon=True)
        worker.start()
        said = "waiting for the restore of 2 packs, within 5 h"
        wait_until(lambda: said in texts, within_s=20.0, otherwise=f"it does not say how long: {texts}")
        assert home.volume.call("tier_status", paths=[])["frozen_packs"] == 2
        assert worker.is_alive() and restores(oss) == 2
        oss.clock.advance(hours=5, seconds=1)
        worker.join(30.0)
        assert [(one["came_packs"], one["frozen"], one["missing"], one["stays"]) for one in results] == [(2, 0, [], [])]
        assert home.volume.call("tier_status", paths=[])["frozen_packs"] == 0
        assert len(home.volume.packs()) == 2
        oss.counts.clear()
        home.read(home.unread())
        assert not oss.counts.requests(Kind.GET)
