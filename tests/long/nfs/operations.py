"""Everything NFSv3 can ask for, once, seen from the client and on the mount itself."""

import errno
import os
import random
from pathlib import Path

from tests.long.nfs.libnfs import Client
from tests.long.nfs.place import Place

NAMES, FEW = 10_000, 500
MIB = 1 << 20


def cover(place: Place, seed: int) -> dict[str, int]:
    client, draw = place.client(), random.Random(seed)
    contents(place, client, draw)
    names(place, client)
    many_names(place, client)
    client.close()
    return {"operations": NAMES + FEW + 40}


def contents(place: Place, client: Client, draw: random.Random) -> None:
    data = draw.randbytes(5 * MIB + 12_345)
    client.put("/large", data)
    assert client.get("/large") == data == on_mount(place, "large").read_bytes()
    with client.opened("/large") as file:
        file.write(3_000_000, b"over")
        file.write(len(data) + 100_000, b"beyond a hole")
        file.commit()
    wanted = data[:3_000_000] + b"over" + data[3_000_004:] + bytes(100_000) + b"beyond a hole"
    assert client.get("/large") == wanted
    client.truncate("/large", 1_000_000)
    assert client.get("/large") == wanted[:1_000_000]
    with client.opened("/stable", os.O_RDWR | os.O_CREAT | os.O_SYNC) as file:
        file.write(0, data[:MIB])
    place.mounted.seal()
    assert client.get("/stable") == data[:MIB]


def names(place: Place, client: Client) -> None:
    client.mkdir("/folder")
    client.put("/folder/a", b"first")
    client.link("/folder/a", "/folder/b")
    assert client.stat("/folder/a").nlink == 2 and client.stat("/folder/a").ino == client.stat("/folder/b").ino
    client.symlink("a", "/folder/c")
    assert client.readlink("/folder/c") == "a" == os.readlink(on_mount(place, "folder/c"))
    client.put("/folder/d", b"second")
    client.rename("/folder/d", "/folder/a")
    assert client.get("/folder/a") == b"second" and client.get("/folder/b") == b"first"
    client.chmod("/folder/a", 0o600)
    assert client.stat("/folder/a").mode & 0o7777 == 0o600
    assert sorted(client.names("/folder")) == ["a", "b", "c"]
    refused(lambda: client.rmdir("/folder"), errno.ENOTEMPTY, errno.EEXIST)
    refused(lambda: client.stat("/folder/nothing"), errno.ENOENT)
    client.mkdir("/other")
    client.rename("/folder/b", "/other/b")
    for path in ("/folder/a", "/folder/c", "/other/b"):
        client.unlink(path)
    client.rmdir("/folder")
    client.rmdir("/other")
    assert not on_mount(place, "folder").exists()
    removed_while_open(client)


def removed_while_open(client: Client) -> None:
    """NFSv3 knows no open files: one that somebody else removed is stale, and says so."""
    file = client.open("/goes")
    file.write(0, b"data")
    client.unlink("/goes")
    refused(lambda: file.read(0, 4), errno.ESTALE, errno.EFAULT)  # which is what libnfs makes of a short answer
    file.close()


def many_names(place: Place, client: Client) -> None:
    """A large directory is listed whole, in many replies."""
    client.mkdir("/many")
    wanted = {f"{number:05}-{'x' * (number % 60)}" for number in range(NAMES)}
    for name in wanted:
        client.open(f"/many/{name}").close()
    listed = client.names("/many")
    assert len(listed) == NAMES and set(listed) == wanted, f"{len(listed)} names, {len(set(listed))} different"
    place.stop_serving()
    place.serve()  # with no name in any cache
    assert set(client.names("/many")) == wanted
    gone = set(sorted(wanted)[:: NAMES // FEW])
    for name in gone:
        client.unlink(f"/many/{name}")
    assert set(client.names("/many")) == wanted - gone


def refused(act: object, *errnos: int) -> None:
    assert callable(act)
    try:
        act()
    except OSError as exc:
        assert exc.errno in errnos, exc
        return
    raise AssertionError(f"it was not refused with {errnos}")


def on_mount(place: Place, path: str) -> Path:
    return place.mounted.point / path
