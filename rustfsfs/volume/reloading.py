"""Other settings for a volume that is open: which of them take effect at once, and what has to be told.

Everything else reads `volume.config` whenever it needs a setting. Which keys wait for the next mount, and why, stands
in `config.KEYS`.
"""

from typing import NamedTuple

from msgspec.structs import replace

from rustfsfs.config import KEYS, Config, Key, value_of
from rustfsfs.volume import connecting
from rustfsfs.volume.volume import Volume, log


class Taken(NamedTuple):
    config: Config  # in effect from now on
    changed: list[Key]
    waiting: list[Key]  # for the next mount


def plan(now: Config, wanted: Config) -> Taken:
    """What can be taken over of `wanted`. Pure."""
    differ = [key for key in KEYS if value_of(now, key) != value_of(wanted, key)]
    waiting = [key for key in differ if key.fixed]
    for key in waiting:
        table = replace(getattr(wanted, key.table), **{key.field: value_of(now, key)})
        wanted = replace(wanted, **{key.table: table})
    return Taken(wanted, [key for key in differ if not key.fixed], waiting)


async def take_over(volume: Volume, wanted: Config) -> Taken:
    """Settings that were read anew. Never raises: they have been checked."""
    taken = plan(volume.config, wanted)
    volume.settings.config = taken.config
    log.setLevel(taken.config.log.level.upper())
    volume.cache.resize(taken.config.cache.ram_bytes)
    await connecting.keep_to_settings(volume)
    volume.wishes.tier.set()  # the mover plans anew
    return taken
