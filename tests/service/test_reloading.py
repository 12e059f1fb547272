"""Settings read anew: every key either takes effect at once, or is named as waiting for the next mount."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from rustfsfs import ops
from rustfsfs.cache.pieces import Piece
from rustfsfs.config import KEYS, Config, parse_settings, value_of
from rustfsfs.errors import UsageError
from rustfsfs.service import sites
from rustfsfs.service.reloading import Sources, reload
from rustfsfs.siteconfig import SITE_KEYS, Site, config_for
from rustfsfs.store.cold import Knobs
from rustfsfs.tasks import scrubber, sealer
from rustfsfs.units import MIB
from rustfsfs.volume import status
from rustfsfs.volume.bucketfile import write_bucket_file
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log
from tests.volume.in_memory import InMemory, new_file
from tests.volume.test_connecting import FILE

NEW = {  # key -> another value, as in TOML; with these, `also` says so too
    "mount.volume": '"/srv/elsewhere"',
    "mount.point": '"/mnt"',
    "mount.options": '["noatime"]',
    "mount.key_file": '"/root/key"',
    "mount.passphrase_file": '"/root/words"',
    "mount.credential": '"key"',
    "mount.credential_kind": '"passphrase"',
    "mount.read_only": "true",
    "mount.degraded": "true",
    "mount.nfs": '"strict"',
    "metrics.listen": '"127.0.0.1:9464"',
    "journal.limit": '"2GiB"',
    "cache.ram": '"64MiB"',
    "cache.disk": '"128MiB"',
    "seal.quiet": '"1h"',
    "seal.recut_quiet": '"1min"',
    "collect.live_share": "0.7",
    "scrub.interval": '"never"',
    "scrub.rate": '"16MiB"',
    "snapshots.interval": '"2h"',
    "protect.enabled": "false",
    "protect.within": '"1min"',
    "demote.after": '"7d"',
    "demote.high": "0.95",
    "demote.low": "0.5",
    "bucket.class": '"IA"',
    "bucket.ia_after": '"60d"',
    "bucket.upload_rate": '"1MiB"',
    "bucket.download_rate": '"2MiB"',
    "bucket.concurrency": "4",
    "bucket.in_flight": '"64MiB"',
    "bucket.metadata": '"2h"',
    "cold.read_deadline": '"7s"',
    "cold.frozen": '"wait"',
    "cold.frozen_wait": '"2h"',
    "log.level": '"debug"',
}
PACKS = count(1)


def knobs(volume: Volume) -> Knobs:
    assert volume.tier.door is not None and volume.tier.door.knobs is not None
    return volume.tier.door.knobs


def is_scrub_due(volume: Volume) -> bool:
    volume.metadata.running.scrub_begun_ns = 1
    try:
        return scrubber.is_due(volume)
    finally:
        volume.metadata.running.scrub_begun_ns = 0


def is_quiet(volume: Volume) -> bool:
    volume.activity.last_write_s[7] = trio.current_time() - 60
    return sealer.is_quiet(volume, 7)


# What somebody made of a value, and would have kept: before and after. All else asks the settings each time.
EFFECTS: dict[str, tuple[Callable[[Volume], Any], Any, Any]] = {
    "cache.ram": (lambda volume: volume.cache.takes(32 * MIB), True, False),
    "cache.disk": (lambda volume: volume.tier.pieces.add(Piece(next(PACKS), 1, 0, 100 * MIB)) is not None, True, False),
    "seal.quiet": (is_quiet, True, False),
    "scrub.interval": (is_scrub_due, True, False),
    "protect.enabled": (lambda volume: (status.bucket(volume) or {})["protects"], True, False),
    "bucket.upload_rate": (lambda volume: knobs(volume).up.rate_bytes_s, 0, MIB),
    "bucket.download_rate": (lambda volume: knobs(volume).down.rate_bytes_s, 0, 2 * MIB),
    "bucket.concurrency": (lambda volume: {way.gate.size for way in knobs(volume).ways}, {16}, {4}),
    "cold.read_deadline": (lambda volume: {way.bucket.deadline_s for way in knobs(volume).readers}, {30}, {7}),
    "log.level": (lambda volume: log.level, logging.INFO, logging.DEBUG),
}


def written(folder: Path, text: str = "") -> Site:
    """home.toml in the folder."""
    (folder / "home.toml").write_text(f'mount.volume = "/srv/home"\n{text}')
    return sites.load("home", {sites.VARIABLE: str(folder)})


def sources(home: InMemory, site: Site | None) -> Sources:
    return Sources(own=f"{home.path}/config.toml", must_exist=False, site=site)


@pytest.fixture
def home(tmp_path: Path) -> InMemory:
    return InMemory(tmp_path)


@pytest.fixture
async def volume(home: InMemory) -> AsyncIterator[Volume]:
    """With a door to a bucket, at the defaults."""
    async with home.opened() as volume:
        new_file(volume, b"f")
        record(volume, ops.AttachBucket())
        write_bucket_file(home.files, str(home.path), FILE)
    async with home.opened() as volume:
        yield volume


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """That of the tests' own log is as before."""
    before = log.level
    log.setLevel(logging.INFO)
    yield
    log.setLevel(before)


@pytest.mark.parametrize("key", SITE_KEYS, ids=lambda key: key.name)
async def test_every_key_takes_effect_or_waits_for_the_next_mount(
    key: Any, home: InMemory, volume: Volume, tmp_path: Path
) -> None:
    where = sources(home, written(tmp_path))
    effect, before, after = EFFECTS.get(key.name, (lambda _volume: None, None, None))
    assert effect(volume) == before
    text = NEW[key.name]
    if key.name == "mount.volume":
        (tmp_path / "home.toml").write_text(f"mount.volume = {text}\n")
    else:
        written(tmp_path, f"{key.name} = {text}\n")
    done = await reload(volume, where)
    told = {"key": key.name, "value": text}
    if key.fixed:
        assert done == {"changed": [], "waiting": [{**told, "why": key.fixed}]}
        assert volume.config == Config()
        assert (await reload(volume, where)) == done, "it waits still"
    else:
        assert done == {"changed": [told], "waiting": []}
        wanted = config_for(written(tmp_path, f"{key.name} = {text}\n"), parse_settings("", where="none"))
        assert volume.config == wanted != Config()
        assert value_of(volume.config, key) == value_of(wanted, key)
        assert effect(volume) == after
        assert (await reload(volume, where)) == {"changed": [], "waiting": []}
    written(tmp_path)
    await reload(volume, where)
    assert volume.config == Config() and effect(volume) == before


def test_no_key_is_left_out() -> None:
    assert set(NEW) == {key.name for key in SITE_KEYS}
    assert {key.name for key in KEYS if key.fixed} == {"journal.limit"}


async def test_the_volumes_own_file_is_read_anew_too(home: InMemory, volume: Volume, tmp_path: Path) -> None:
    own = home.path / "config.toml"
    own.write_text('[seal]\nquiet = "1h"\n[log]\nlevel = "error"\n')
    assert [one["key"] for one in (await reload(volume, sources(home, None)))["changed"]] == ["seal.quiet", "log.level"]
    site = written(tmp_path, 'log.level = "warning"\n')
    assert (await reload(volume, sources(home, site)))["changed"] == [{"key": "log.level", "value": '"warning"'}]
    assert volume.config.seal.quiet_s == 3600


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[cache\n", id="half written"),
        pytest.param("seal.quiet = '9s'\ncache.ramm = '64MiB'\n", id="an unknown key behind a good one"),
        pytest.param("seal.quiet = '9s'\ndemote.low = 0.95\n", id="a contradiction"),
    ],
)
@pytest.mark.parametrize("is_own", [True, False], ids=["the volume's", "the name's"])
async def test_a_broken_file_changes_nothing(
    home: InMemory, volume: Volume, tmp_path: Path, text: str, is_own: bool
) -> None:
    where = sources(home, written(tmp_path))
    file = home.path / "config.toml" if is_own else tmp_path / "home.toml"
    file.write_text(("" if is_own else 'mount.volume = "/srv/home"\n') + text)
    with pytest.raises(UsageError) as caught:
        await reload(volume, where)
    assert str(caught.value).startswith(str(file))
    assert volume.config == Config()
    if not is_own:
        file.unlink()
        with pytest.raises(UsageError, match="are not there"):
            await reload(volume, where)


async def test_a_smaller_cache_disk_gives_its_files_back(home: InMemory, volume: Volume, tmp_path: Path) -> None:
    tier = volume.tier
    assert tier.files is not None
    for number in range(4):
        piece = Piece(number, 1, 0, 17 * MIB)
        assert tier.pieces.add(piece) == []
        tier.files.write(piece, bytes(piece.size_bytes))
    await reload(volume, sources(home, written(tmp_path, 'cache.disk = "64MiB"\n')))
    assert len(tier.pieces) == len(home.files.names(f"{home.path}/cold")) == 3
