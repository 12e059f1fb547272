"""2a. A cold sequential read reaches 80 % of what parallel GETs alone do, at the same server, in the same run."""

import hashlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rustfsfs.store.address import parse_address
from rustfsfs.store.cold import PACKS
from rustfsfs.store.credentials import FileSource
from rustfsfs.store.oss import OssBucket
from rustfsfs.units import GIB, MIB
from tests.long.cold.place import PREFIX, ColdVolume, Server, cold_volume, folder

SIZE = GIB
GET_SIZE = 4 * MIB
CONNECTIONS = 16
SHARE_MIN = 0.8
MB = 1_000_000
# 30 ms, 50 MB/s a connection, 200 MB/s in all
NETWORK = [
    "--latency-ms", "30", "--connection-mib-s", str(50 * MB / MIB), "--total-mib-s", str(200 * MB / MIB)
]  # fmt: skip


def gets_alone(server: Server, credentials: Path) -> float:
    """MB/s of all packs, read by ranges over as many connections as the volume has."""
    address = parse_address(f"oss://packs/{PREFIX}", endpoint=server.endpoint, region=server.region)
    source = FileSource(str(credentials), now_s=time.time)
    bucket = OssBucket(address, source, clock_s=time.monotonic, connections_max=CONNECTIONS)
    ranges = [
        (facts.key, offset, min(GET_SIZE, facts.size_bytes - offset))
        for facts in bucket.list(PACKS)
        for offset in range(0, facts.size_bytes, GET_SIZE)
    ]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        began_s = time.perf_counter()
        got = sum(pool.map(lambda one: len(bucket.get(*one)), ranges))
        return got / MB / (time.perf_counter() - began_s)


def read_cold(volume: ColdVolume, digest: bytes) -> float:
    """MB/s of the file, read in order."""
    volume.forget()
    size_bytes = (volume.point / "large").stat().st_size
    found = memoryview(bytearray(size_bytes))
    fd = os.open(volume.point / "large", os.O_RDONLY)
    try:
        began_s, done = time.perf_counter(), 0
        while count := os.readv(fd, [found[done : done + MIB]]):
            done += count
        took_s = time.perf_counter() - began_s
    finally:
        os.close(fd)
    assert done == size_bytes and hashlib.sha256(found).digest() == digest, "what was read is not what was written"
    return size_bytes / MB / took_s


def check(scale: float) -> str:
    size_bytes = int(SIZE * scale)
    with folder(need_bytes=4 * size_bytes) as base:
        server = Server(base / "oss")
        try:
            with cold_volume(base, server) as volume:
                draw, digest = random.Random(3), hashlib.sha256()
                with open(volume.point / "large", "xb", buffering=0) as file:
                    for _ in range(size_bytes // MIB):
                        file.write(data := draw.randbytes(MIB))
                        digest.update(data)
                volume.demote()
                server.stop()
                server.shape(*NETWORK)
                alone, cold = list[float](), list[float]()
                for _ in range(3):
                    alone.append(gets_alone(server, base / "credentials"))
                    cold.append(read_cold(volume, digest.digest()))
        finally:
            server.stop()
    shares = sorted(one / other for one, other in zip(cold, alone, strict=True))
    said = (
        f"{size_bytes // MIB} MiB: {', '.join(f'{rate:.0f}' for rate in cold)} MB/s cold,"
        f" {', '.join(f'{rate:.0f}' for rate in alone)} by GETs alone: {shares[1]:.2f} of them (at least {SHARE_MIN})"
    )
    assert shares[1] >= SHARE_MIN, said
    return said
