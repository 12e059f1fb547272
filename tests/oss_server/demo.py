"""`make demo-oss`: the cold tier from attaching a bucket to reading everything back from it, by the command line.

The server is this repository's own, on loopback; all that is made lies in a temporary directory and goes at the end.
"""

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from rustfsfs.demo import INTERRUPTED, SKIPPED, compare, rustfsfs, write_key
from rustfsfs.service import mounts
from rustfsfs.units import format_size
from tests.oss_server.operations import Kind
from tests.oss_server.server import OssServer, serving

BUCKET, PREFIX = "packs", "demo"


def show(base: Path, oss: OssServer, source: Path) -> None:
    """Each step says what it does; ends the demo at the first that fails."""
    volume, point, key = base / "volume", base / "mnt", base / "key"
    credentials = base / "credentials"
    write_key(key)
    point.mkdir()
    credentials.touch(mode=0o600)
    credentials.write_text(f'access_key_id = "{oss.key_id}"\naccess_key_secret = "{oss.secret}"\n')
    print(f"1. An OSS-compatible server listens on {oss.endpoint}, with an empty bucket {BUCKET}")
    print(f"2. Formatting {volume}, with that bucket behind it")
    rustfsfs("format", str(volume), "--key-file", str(key), "--recovery-key-file", str(base / "recovery-key"))
    url = f"oss://{BUCKET}/{PREFIX}"
    where = ["--endpoint", oss.endpoint, "--region", oss.region, "--credentials", str(credentials)]
    rustfsfs("bucket", "attach", str(volume), url, *where, "--key-file", str(key))
    print(f"3. Copying {source} to {point}")
    rustfsfs("mount", str(volume), str(point), "--key-file", str(key))
    shutil.copytree(source, point / "lib", symlinks=True, ignore=SKIPPED)
    print("4. Demoting everything: sealed, uploaded, proved, then off the disk")
    print(f"   {rustfsfs('tier', 'demote', str(point)).strip()}")
    left = list(volume.rglob("*.pack"))
    print(f"   Packs left on the disk: {len(left)}")
    show_requests(oss)
    print("5. Mounting anew with an empty cache, reading everything back, comparing every byte")
    rustfsfs("umount", str(point))
    shutil.rmtree(volume / "cold", ignore_errors=True)
    oss.counts.clear()
    rustfsfs("mount", str(volume), str(point), "--key-file", str(key))
    print(f"   {compare(source, point / 'lib'):,} files are the same, byte for byte.")
    show_requests(oss)
    rustfsfs("umount", str(point))


def show_requests(oss: OssServer) -> None:
    """Requests and bytes by kind and class."""
    rows: dict[tuple[Kind, str], list[int]] = {}
    for one in oss.counts.seen():
        if one.kind is not None:
            name = one.storage_class.value if one.storage_class else ""
            row = rows.setdefault((one.kind, name), [0, 0, 0])
            for column, amount in enumerate((1, one.bytes_in, one.bytes_out)):
                row[column] += amount
    for (kind, name), (requests, received, sent) in sorted(rows.items(), key=lambda item: list(Kind).index(item[0][0])):
        print(
            f"   {kind.value:7} {name:9} {requests:>5} requests, {format_size(received):>10} to the bucket,"
            f" {format_size(sent):>10} back"
        )


def main() -> None:
    base = Path(tempfile.mkdtemp(prefix="rustfsfs-demo-"))
    try:
        with serving(base / "oss", buckets=(BUCKET,)) as oss:
            try:
                show(base, oss, Path(sysconfig.get_path("stdlib")))
            finally:
                if mounts.ours_at(str(base / "mnt")) is not None:
                    rustfsfs("umount", str(base / "mnt"))
    except KeyboardInterrupt:
        print("\nThe demo was interrupted.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (OSError, shutil.Error) as exc:
        raise SystemExit(f"rustfsfs demo: {exc}") from exc
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print("Everything the demo made is removed. `make oss-server` starts such a server for you to try.")


if __name__ == "__main__":
    main()
