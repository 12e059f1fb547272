"""The file stressors of stress-ng, each with --verify, on the mount; each has to do something, and none may skip."""

import re

from tests.long.apps.place import Place, ran

PROGRAMS = ("stress-ng",)
TIMEOUT_S = 100  # an idle machine needs 10 at most; what counts are the operations
# Operations ("bogo ops"), and options that keep the stressor's files small.
STRESSORS: dict[str, tuple[int, str]] = {
    "access": (100, ""),
    "aio": (60, ""),
    "aiol": (20, ""),
    "chdir": (2000, "--chdir-dirs 300"),
    "chmod": (40, ""),
    "chown": (100, ""),
    "chroot": (40, ""),
    "copy-file": (20, ""),
    "dentry": (200, "--dentries 200"),
    "dir": (200, ""),
    "dirdeep": (200, "--dirdeep-inodes 4000000"),
    "dirmany": (100, ""),
    "dnotify": (40, ""),
    "dup": (60, ""),
    "fanotify": (100, ""),
    "fault": (60, ""),
    "fcntl": (300, ""),
    "fifo": (300, ""),
    "file-ioctl": (200, ""),
    "filename": (60, ""),
    "flock": (300, ""),
    "fsize": (1, ""),
    "fstat": (200, ""),
    "getdent": (200, ""),
    "handle": (300, ""),
    "hdd": (100, "--hdd-bytes 4M --hdd-opts direct,fsync,wr-rnd,rd-rnd"),
    "inotify": (6, ""),
    "io": (40, ""),
    "iomix": (20, "--iomix-bytes 4M"),
    "ioprio": (40, ""),
    "landlock": (5, ""),
    "lease": (100, ""),
    "link": (1, ""),
    "locka": (300, ""),
    "lockf": (300, ""),
    "lockofd": (300, ""),
    "loop": (3, ""),
    "madvise": (4, ""),
    "mknod": (200, ""),
    "mmap": (3, "--mmap-file --mmap-bytes 1M"),
    "msync": (60, "--msync-bytes 2M"),
    "msyncmany": (10, ""),
    "open": (200, "--open-fd"),
    "readahead": (60, "--readahead-bytes 1M"),
    "rename": (200, ""),
    "revio": (200, ""),
    "rmap": (4, ""),
    "seek": (100, "--seek-size 1M"),
    "sendfile": (60, "--sendfile-size 1M"),
    "stackmmap": (4, ""),
    "symlink": (1, ""),
    "sync-file": (6, "--sync-file-bytes 1M"),
    "touch": (200, "--touch-opts all"),
    "utime": (200, "--utime-fsync"),
    "xattr": (1, ""),
}
NOT_APPLICABLE = {
    "bind-mount": "mounts the machine's root somewhere; stress-ng calls it pathological",
    "binderfs": "mounts a file system of its own",
    "chattr": "inode flags need an ioctl, which FUSE's binding does not pass on",
    "eventfd": "has no file",
    "fallocate": "fallocate(2) is not passed on (README, limits)",
    "fiemap": "FS_IOC_FIEMAP is an ioctl of file systems on a block device; it skips FUSE itself",
    "fpunch": "punches holes by fallocate(2)",
    "inode-flags": "as chattr",
    "io-uring": "fails on ext4 too: it asks statx(2) of an empty name; fio has an io_uring job",
    "procfs": "reads /proc",
    "verity": "fs-verity is not offered by FUSE; it skips itself",
}


def cover(place: Place) -> dict[str, int]:
    offered = ran("stress-ng", "--class", "filesystem?").partition(":")[2].split()
    unknown = set(offered) - set(STRESSORS) - set(NOT_APPLICABLE)
    assert offered and not unknown, f"is it applicable or not? {sorted(unknown)}"
    folder = place.folder("stress")
    operations = 0
    for name, (count, options) in STRESSORS.items():
        limits = [f"--{name}", "1", f"--{name}-ops", str(count), *options.split(), "--timeout", f"{TIMEOUT_S}s"]
        told = ran("stress-ng", *limits, "--verify", "--metrics-brief", "--temp-path", folder)
        done = re.search(rf"\] {name} +(\d+) +\d+\.\d+ +\d+\.\d+ ", told)
        assert done and int(done[1]) > 0 and "skipp" not in told, f"{name} did nothing: {told[-1000:]}"
        operations += int(done[1])
        assert not any(folder.iterdir()), f"{name} left something behind: {list(folder.iterdir())[:3]}"
    return {"stressors": len(STRESSORS), "operations": operations}
