"""The guest's disk: Debian's packages by mmdebstrap, and `make install` of this tree inside it.

Packages come by name from the archives that apt on this machine uses for Debian. Kept in .results/vm until what they
are made of changes: the packages as a tar file, and wheels of what rustfsfs needs, for the guest has no network.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
SUITE, PYTHON = "bookworm", (3, 11)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAMS = ("mmdebstrap", "qemu-system-x86_64", "mke2fs")
# beside those that `make install` wants
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd", "systemd-sysv", "udev", "dbus", "kmod", "make"),
    *("nfs-kernel-server", "nfs-common", "e2fsprogs"),
)
LEFT_OUT = ("doc", "man", "locale", "info")  # below /usr/share
TREE = ("LICENSE", "Makefile", "README.md", "pyproject.toml", "rustfsfs", "systemd")
INSIDE = "usr/local/lib/vm"
DISK_BYTES = 6 << 30  # sparse
AGENT_UNIT = f"""\
[Unit]
Description=does what the suite says
DefaultDependencies=no
After=systemd-udevd.service systemd-journald.socket local-fs.target
Conflicts=shutdown.target
Wants=dev-virtio\\x2dports-agent.device
After=dev-virtio\\x2dports-agent.device

[Service]
ExecStart=/usr/bin/python3 /{INSIDE}/agent.py
KillMode=process

[Install]
WantedBy=multi-user.target
"""
# Grace and lease are 90 s each otherwise, in which clients wait after each restart
NFS_CONF = "[nfsd]\ngrace-time=10\nlease-time=10\n"


@dataclass(frozen=True, slots=True)
class Image:
    kernel: Path
    initrd: Path


def build(cache: Path, disk: Path) -> Image:
    """Make the `disk`, as new, and what boots it. What takes long is taken from the cache, or put there."""
    cache.mkdir(parents=True, exist_ok=True)
    tar = _base(cache)
    wheels = _wheels(cache)
    tree = cache / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    try:
        _run("tar", "--extract", "--xattrs", "--numeric-owner", "--file", tar, "--directory", tree)
        _install(tree, wheels)
        image = Image(*(_kept(tree, cache, name) for name in ("vmlinuz", "initrd.img")))
        disk.unlink(missing_ok=True)
        with open(disk, "wb") as file:
            file.truncate(DISK_BYTES)
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, disk)
    finally:
        shutil.rmtree(tree)
    return image


def _base(cache: Path) -> Path:
    """A tar file of the packages, unpacked and configured."""
    found = re.search(r"^PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    names = sorted({*found[1].split(), *PACKAGES})
    tar = cache / f"debian-{_digest(SUITE, *names, *LEFT_OUT)}.tar"
    if tar.exists():
        return tar
    for old in cache.glob("debian-*.tar"):
        old.unlink()
    print(f"mmdebstrap: {len(names)} packages of Debian {SUITE} and what they need ...", flush=True)
    sources = cache / "sources.list"
    sources.write_text(_sources())
    new = cache / "new.tar"
    options = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in LEFT_OUT]
    options += ["--aptopt=Acquire::Check-Valid-Until false", f"--include={','.join(names)}"]
    _run("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", *options, SUITE, new, sources)
    new.rename(tar)
    return tar


def _sources() -> str:
    """Where apt on this machine gets Debian from, as a sources.list."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    found = _run("apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian").splitlines()
    lines = [line for line in dict.fromkeys(found) if line.split()[1].startswith(SUITE)]
    assert lines, f"apt knows no archive of Debian {SUITE} here; run apt-get update"
    return "".join(f"deb [signed-by={KEYRING}] {line}\n" for line in lines)


def _wheels(cache: Path) -> Path:
    """A folder of wheels: what rustfsfs needs, and what pip needs to build rustfsfs itself."""
    project = (ROOT / "pyproject.toml").read_text()
    folder = cache / f"wheels-{_digest(project)}"
    if folder.exists():
        return folder
    for old in cache.glob("wheels-*"):
        shutil.rmtree(old)
    print("pip: wheels of what rustfsfs needs ...", flush=True)
    new = cache / "wheels.new"
    shutil.rmtree(new, ignore_errors=True)
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", new, ROOT, "setuptools>=66", "wheel")
    for own in new.glob("rustfsfs-*.whl"):
        own.unlink()
    new.rename(folder)
    return folder


def _install(tree: Path, wheels: Path) -> None:
    """This tree by its own `make install`, as an administrator would, and what the suite needs inside."""
    source = tree / "usr/src/rustfsfs"
    source.mkdir(parents=True)
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    shutil.copytree(wheels, tree / "usr/src/wheels")
    pip = ["PIP_NO_INDEX=1", "PIP_FIND_LINKS=/usr/src/wheels"]
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    print(_run("chroot", tree, "env", "-i", path, *pip, "make", "-C", "/usr/src/rustfsfs", "install").strip())
    shutil.rmtree(tree / "usr/src/wheels")
    shutil.copytree(Path(__file__).parent / "inside", tree / INSIDE, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "etc/systemd/system/agent.service").write_text(AGENT_UNIT)
    (tree / "etc/hostname").write_text("guest\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost guest\n")
    (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (tree / "etc/nfs.conf.d").mkdir(exist_ok=True)
    (tree / "etc/nfs.conf.d/vm.conf").write_text(NFS_CONF)
    (tree / "var/log/journal").mkdir(exist_ok=True)  # so that the log outlives a boot
    _run("chroot", tree, "systemctl", "enable", "--quiet", "agent.service")
    _run("chroot", tree, "systemctl", "disable", "--quiet", "nfs-server.service", "apt-daily.timer")


def _kept(tree: Path, cache: Path, name: str) -> Path:
    """The kernel, or what it starts with, which qemu loads itself."""
    found = next((tree / "boot").glob(f"{name}-*"))
    return Path(shutil.copyfile(found, cache / name))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout[-3000:]}"
    return done.stdout


def missing() -> str | None:
    """Why there can be no image here, or None."""
    gone = [name for name in PROGRAMS if shutil.which(name) is None]
    if gone or not KEYRING.exists():
        return f"missing: {' '.join(gone) or KEYRING}; as root `make vm-packages` installs what is needed"
    if sys.version_info[:2] != PYTHON:
        return (
            f"the guest has Python {PYTHON[0]}.{PYTHON[1]}, and wheels for it are made by the same: make setup PYTHON="
        )
    if os.geteuid():
        return "needs root: mmdebstrap and chroot"
    return None
