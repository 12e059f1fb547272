"""PostgreSQL with data checksums: pgbench and noted inserts, the daemon killed under them; then all of it is checked.

After each kill PostgreSQL recovers by itself and has every transaction it acknowledged, its books balance, pg_amcheck
finds nothing, and pg_checksums no block that differs.
"""

import os
import re
import threading
import time
from pathlib import Path

from tests.long.apps.place import LIMIT_S, Place, end, finished, ran, start

USER = "postgres"
BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql/15/bin"))
PROGRAMS = tuple(
    str(BIN / name)
    for name in ("initdb", "postgres", "pg_ctl", "pg_isready", "psql", "pgbench", "pg_checksums", "pg_amcheck")
)
KILLS = 3
SCALE = 2  # of pgbench: 30 MB
CLIENTS = 3
WRITERS = 2
LOAD_S = 6.0  # and up to half as long again
READY_S_MAX = 120.0
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
shared_buffers = 16MB
max_wal_size = 32MB
checkpoint_timeout = 30s
autovacuum_naptime = 5s
"""
SCHEMA = "CREATE TABLE told (writer int, number int, filler text, PRIMARY KEY (writer, number))"
FILLER = "repeat(md5({number}::text), 1 + {number} % 300)"
BOOKS = (
    "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),"
    " (SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"
)


class Server:
    """One cluster on the mount, run as its own user; its socket and its log are outside."""

    def __init__(self, place: Place) -> None:
        self.data, self.sockets = place.folder("cluster"), place.scratch / "sockets"
        self.log = place.scratch / "postgres.log"
        self.sockets.mkdir()
        for path in (self.data, self.sockets):
            os.chmod(path, 0o700)
            ran("chown", f"{USER}:{USER}", path)
        self.run("initdb", "--data-checksums", "--auth=trust", "--wal-segsize=4", "-D", self.data)
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(SETTINGS.format(sockets=self.sockets))

    def run(self, program: str, *arguments: str | Path) -> str:
        return ran(BIN / program, *arguments, user=USER, cwd=self.sockets)

    def sql(self, statement: str) -> str:
        return self.run("psql", "-XAtq", "-h", self.sockets, "-d", "postgres", "-c", statement).strip()

    def start(self) -> None:
        self.child = start(BIN / "postgres", "-D", self.data, user=USER, cwd=self.sockets, output=self.log)
        deadline_s = time.monotonic() + READY_S_MAX
        while finished(start(BIN / "pg_isready", "-h", self.sockets, user=USER))[0] != 0:
            assert self.child.poll() is None and time.monotonic() < deadline_s, self.log.read_text()[-2000:]
            time.sleep(0.2)

    def stop(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")
        self.child.wait(LIMIT_S)

    def abort(self) -> None:
        """SIGKILL for the server and its processes, each of which has a session of its own."""
        others = [Path(f"/proc/{pid}") for pid in children_of(self.child.pid)]
        end(self.child)
        for process in others:
            try:
                os.kill(int(process.name), 9)
            except ProcessLookupError:
                pass
        deadline_s = time.monotonic() + READY_S_MAX
        while any(process.exists() for process in others):
            assert time.monotonic() < deadline_s, "PostgreSQL hangs on the dead mount"
            time.sleep(0.05)


def children_of(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[1]) == parent:
            found.append(int(path.parent.name))
    return found


class Writer(threading.Thread):
    """Inserts numbered rows by way of psql, and keeps the newest number that was acknowledged."""

    def __init__(self, server: Server, writer: int) -> None:
        super().__init__(daemon=True)
        self.writer = writer
        self.said = int(server.sql(f"SELECT coalesce(max(number), 0) FROM told WHERE writer = {writer}"))
        command: list[str | Path] = [BIN / "psql", "-XAtq", "-h", server.sockets, "-d", "postgres"]
        self.psql = start(*command, user=USER, cwd=server.sockets)

    def run(self) -> None:
        assert self.psql.stdin is not None and self.psql.stdout is not None
        try:
            while True:
                number = self.said + 1
                values = f"{self.writer}, {number}, {FILLER.format(number=number)}"
                self.psql.stdin.write(f"INSERT INTO told VALUES ({values}) RETURNING number;\n")
                self.psql.stdin.flush()
                if self.psql.stdout.readline().strip() != str(number):
                    return
                self.said = number
        except (OSError, ValueError):
            return

    def finish(self) -> None:
        end(self.psql)
        self.join(LIMIT_S)
        assert not self.is_alive(), "a client hangs"


def cover(place: Place) -> dict[str, int]:
    server = Server(place)
    server.start()
    server.run("pgbench", "-h", server.sockets, "-i", "-q", "-s", str(SCALE), "postgres")
    server.sql(SCHEMA)
    transactions = blocks = 0
    try:
        for _ in range(KILLS):
            transactions += one_kill(place, server)
            server.stop()
            blocks += blocks_verified(server)
            place.remount()
            server.start()
        server.stop()
    finally:
        server.abort()
    return {"kills": KILLS, "transactions": transactions, "blocks": blocks}


def one_kill(place: Place, server: Server) -> int:
    """The number of transactions acknowledged; the server runs again afterwards, and has them all."""
    history = int(server.sql("SELECT count(*) FROM pgbench_history"))
    writers = [Writer(server, number) for number in range(WRITERS)]
    had = sum(writer.said for writer in writers)
    command: list[str | Path] = [
        BIN / "pgbench",
        "-h",
        server.sockets,
        "-n",
        "-c",
        str(CLIENTS),
        "-T",
        "3600",
        "postgres",
    ]
    bench = start(*command, user=USER, cwd=server.sockets)
    for writer in writers:
        writer.start()
    time.sleep(LOAD_S * (1 + place.draw.random() / 2))
    place.mounted.kill()
    server.abort()
    for writer in writers:
        writer.finish()
    _, told = finished(bench, limit_s=60)
    found = re.search(r"actually processed: (\d+)", told)
    assert found, f"pgbench did not say how much it did: {told[-1000:]}"
    place.mount()
    server.start()
    for writer in writers:
        trouble = missing(server, writer)
        assert trouble is None, trouble
    now = int(server.sql("SELECT count(*) FROM pgbench_history"))
    assert now - history >= int(found[1]) > 0, f"pgbench was told of {found[1]}, {now - history} are there"
    books = server.sql(BOOKS).split("|")
    assert len(set(books)) == 1, f"the books do not balance: {books}"
    server.run("pg_amcheck", "-h", server.sockets, "--all", "--install-missing", "--heapallindexed")
    acknowledged = sum(writer.said for writer in writers) - had
    assert acknowledged > 0, "no writer heard anything"
    return acknowledged + int(found[1])


def missing(server: Server, writer: Writer) -> str | None:
    """What is not as it was acknowledged, or None. One more may have been committed before it could be said."""
    wrong = f"count(*) FILTER (WHERE filler <> {FILLER.format(number='number')})"
    rows = server.sql(f"SELECT count(*), max(number), {wrong} FROM told WHERE writer = {writer.writer}")
    count, newest, spoilt = map(int, rows.split("|"))
    if count != newest or newest not in (writer.said, writer.said + 1) or spoilt:
        return f"writer {writer.writer} heard of {writer.said}: {count} rows, the newest {newest}, {spoilt} spoilt"
    return None


def blocks_verified(server: Server) -> int:
    """pg_checksums fails if one is wrong."""
    told = server.run("pg_checksums", "--check", "-D", server.data)
    found = re.search(r"Blocks scanned: +(\d+)", told)
    assert found and re.search(r"Bad checksums: +0\b", told), told
    return int(found[1])
