"""The ballast: a file that is given up when the disk is full, so that freeing, commits and recovery work (I4)."""

from rustfsfs.units import MIB
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import Files

SIZE_MIN = 512 * MIB
SHARE = 0.01
SHARE_MAX = 0.03  # of a tiny disk
PATH = "ballast"


def size_for(total_bytes: int) -> int:
    """512 MiB or 1 % of the disk, the larger; never more than 3 % of it. Whole MiB."""
    wanted = max(SIZE_MIN, int(total_bytes * SHARE))
    return min(wanted, int(total_bytes * SHARE_MAX)) // MIB * MIB


def take(volume: Volume) -> None:
    """Allocate the ballast if it is not there and the disk has room for twice its size. Blocking."""
    files, path = volume.world.files, f"{volume.path}/{PATH}"
    space = files.space(volume.path)
    size_bytes = size_for(space.total_bytes)
    if files.exists(path):
        volume.room.ballast_bytes = files.size(path)
        return
    if not size_bytes or space.free_bytes < 2 * size_bytes:
        return
    try:
        files.close(files.create(path, allocate_bytes=size_bytes))
    except OSError as exc:
        log.warning("no room for the ballast file %s: %s", path, exc)
        return
    volume.room.ballast_bytes = size_bytes


def make_room_to_open(files: Files, path: str, need_bytes: int) -> None:
    """Give the ballast of a volume that is not open up if opening it needs the room. Blocking, short."""
    if files.space(path).free_bytes < need_bytes and files.exists(f"{path}/{PATH}"):
        log.warning("the disk of %s is full: using its reserve", path)
        files.unlink(f"{path}/{PATH}")


def give_up(volume: Volume) -> bool:
    """Free the ballast; False if it was given up before. Blocking, short."""
    if not volume.room.ballast_bytes:
        return False
    log.warning("the disk of %s is full: using the reserve of %d MiB", volume.path, volume.room.ballast_bytes // MIB)
    volume.world.files.unlink(f"{volume.path}/{PATH}")
    volume.room.ballast_bytes = 0
    return True
