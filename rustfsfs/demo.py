"""`make demo`: a volume in ./demo, from formatting to comparing every byte after a remount, by the command line."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from rustfsfs.service import mounts
from rustfsfs.units import format_size

SKIPPED = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__")
KEY_SIZE = 32
INTERRUPTED = 130  # as the commands say it
UNFINISHED = "unfinished"  # a file that is there while the demo is made
OURS = ("volume", "mnt", "key", "recovery-key", UNFINISHED)


def rustfsfs(*arguments: str) -> str:
    """Run a command of rustfsfs; its standard output. Ends the demo with its sentence if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "rustfsfs", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def start(base: Path) -> None:
    volume, point, key = base / "volume", base / "mnt", base / "key"
    if is_begun(base) and not is_complete(base):
        print(f"The demo in {base} was cut off: starting over.")
        remove(base)
    if mounts.ours_at(str(point)) is not None and not mounts.is_dead(str(point)):
        print(f"The demo is mounted already on {point}; `make demo-stop` ends it.")
        return
    base.mkdir(mode=0o700, exist_ok=True)
    if is_complete(base):
        print(f"A demo volume is there already: mounting {volume} on {point}.")
        rustfsfs("mount", str(volume), str(point), "--key-file", str(key))
    else:
        (base / UNFINISHED).touch()
        make(volume, point, key)
        (base / UNFINISHED).unlink()
    closing_words(volume, point)


def is_begun(base: Path) -> bool:
    return any((base / name).exists() for name in OURS)


def is_complete(base: Path) -> bool:
    return (base / "volume" / "header").exists() and not (base / UNFINISHED).exists()


def remove(base: Path) -> None:
    """What an earlier demo made, and nothing else."""
    point = base / "mnt"
    if mounts.ours_at(str(point)) is not None:
        rustfsfs("umount", str(point))
    for name in OURS:
        path = base / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def make(volume: Path, point: Path, key: Path) -> None:
    source = Path(sysconfig.get_path("stdlib"))
    write_key(key)
    point.mkdir(exist_ok=True)
    print(f"1. Formatting {volume}")
    rustfsfs("format", str(volume), "--key-file", str(key), "--recovery-key-file", str(key.with_name("recovery-key")))
    print(f"2. Mounting it on {point}")
    rustfsfs("mount", str(volume), str(point), "--key-file", str(key))
    for name in ("first", "second"):
        print(f"3. Copying {source} to {point / name}")
        shutil.copytree(source, point / name, symlinks=True, ignore=SKIPPED)
    print("4. Sealing: cut, deduplicate, compress, encrypt")
    rustfsfs("seal", str(point))
    show_cost(json.loads(rustfsfs("status", str(point), "--json")))
    print("5. Unmounting, mounting again, comparing every byte")
    rustfsfs("umount", str(point))
    rustfsfs("mount", str(volume), str(point), "--key-file", str(key))
    count = sum(compare(source, point / name) for name in ("first", "second"))
    print(f"   {count:,} files are the same, byte for byte.")


def write_key(key: Path) -> None:
    if not key.exists():
        fd = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(os.urandom(KEY_SIZE))


def show_cost(status: dict[str, int]) -> None:
    logical, unique, stored = status["logical_bytes"], status["unique_bytes"], status["stored_bytes"]
    print(f"   logical  {format_size(logical):>10}   what the files hold")
    print(f"   unique   {format_size(unique):>10}   deduplication saved {_saved(unique, logical)}")
    print(f"   stored   {format_size(stored):>10}   compression saved {_saved(stored, unique)} of that")


def _saved(after: int, before: int) -> str:
    return f"{100 * (1 - after / before):.0f} %" if before else "nothing"


def compare(source: Path, copy: Path) -> int:
    """Number of files compared. Ends the demo at the first difference."""
    count = 0
    for folder, folders, files in os.walk(source):
        ignored = SKIPPED(folder, folders)
        folders[:] = [name for name in folders if name not in ignored]
        for name in files:
            here, there = Path(folder) / name, copy / Path(folder).relative_to(source) / name
            same = (
                os.readlink(here) == os.readlink(there)
                if here.is_symlink()
                else filecmp.cmp(here, there, shallow=False)
            )
            if not same:
                raise SystemExit(f"rustfsfs demo: {there} differs from {here}")
            count += 1
    return count


def closing_words(volume: Path, point: Path) -> None:
    tool = Path(sys.executable).with_name("rustfsfs")
    print(f"It stays mounted: ls {point}/first")
    print(f"Try:   {tool} status {point}    cp -a SOMETHING {point}    {tool} seal {point}")
    print("Stop:  make demo-stop")


def stop(base: Path) -> None:
    point = base / "mnt"
    if mounts.ours_at(str(point)) is None:
        print("The demo is not mounted.")
        return
    rustfsfs("umount", str(point))
    print(f"The demo is unmounted; {base} can be deleted.")


def main() -> None:
    try:
        {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]).resolve())
    except KeyboardInterrupt:
        print("\nThe demo was interrupted; `make demo` starts over, `make demo-stop` unmounts it.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (OSError, shutil.Error) as exc:
        raise SystemExit(f"rustfsfs demo: {exc}") from exc


if __name__ == "__main__":
    main()
