"""The unit under a systemd that is process 1: what an administrator does with it, and what happens to it."""

import json
from collections.abc import Callable

from tests.long.vm.guest import Guest

UNIT, VOLUME, POINT = "rustfsfs@home", "/srv/volume", "/mnt/data"
KEY = "/etc/credstore/rustfsfs-home"
DROP_IN = f"/etc/systemd/system/{UNIT}.service.d"
EXPOSURE_MAX = 4.5
WATCHDOG = "[Service]\nWatchdogSec=30s\n"  # three minutes otherwise
LISTEN = "127.0.0.1:9464"
HEALTH = f"import urllib.request; print(urllib.request.urlopen('http://{LISTEN}/healthz').read().decode())"


def site(volume: str, point: str, key: str, *, more: str = "") -> str:
    return f'[mount]\nvolume = "{volume}"\npoint = "{point}"\n{key}\n{more}'


def set_up(guest: Guest) -> None:
    """As README says: a volume, its key a credential, a name, a unit that is enabled."""
    guest.run(f"install -d {POINT} && install -d -m 700 /etc/credstore")
    make_key(guest, KEY)
    guest.run(f"rustfsfs format {VOLUME} --key-file {KEY} --recovery-key-file /root/recovery")
    metrics = f'nfs = "strict"\n[metrics]\nlisten = "{LISTEN}"\n'
    guest.put("/etc/rustfsfs/home.toml", site(VOLUME, POINT, 'credential = "key"', more=metrics))
    guest.run("rustfsfs config check home")
    guest.run(f"systemctl enable --quiet --now {UNIT} && systemctl enable --quiet rustfsfs.target")
    is_served(guest)


def make_key(guest: Guest, path: str) -> None:
    guest.run(f"(umask 077; head -c 32 /dev/urandom >{path})")


def is_served(guest: Guest) -> None:
    """Ready, seen by everybody, and said so."""
    shown = shows(guest, "ActiveState", "StatusText", "Type")
    assert shown["ActiveState"] == "active" and shown["StatusText"], shown
    assert guest.run(f"findmnt --noheadings --output FSTYPE {POINT}").startswith("fuse"), (
        "the mount is hidden from the host"
    )
    guest.run("rustfsfs status home")


def shows(guest: Guest, *names: str) -> dict[str, str]:
    lines = guest.run(f"systemctl show {UNIT} --property {','.join(names)}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def cover(guest: Guest) -> int:
    """How many things were tried."""
    for trial in TRIALS:
        trial(guest)
        print(f"  {trial.__name__.replace('_', ' ')}", flush=True)
    return len(TRIALS)


def served(guest: Guest) -> None:
    guest.run(
        f"cp -r /usr/lib/python3/dist-packages {POINT}/tree && diff -r /usr/lib/python3/dist-packages {POINT}/tree"
    )
    health = guest.run(f'python3 -c "{HEALTH}"')
    assert json.loads(health)["healthy"], health


def hardened(guest: Guest) -> None:
    threshold = int(EXPOSURE_MAX * 10)
    said = guest.run(f"systemd-analyze security --no-pager --threshold={threshold} {UNIT}.service")
    print(f"  {said.splitlines()[-1].strip()}")
    guest.run(f"systemd-analyze verify --man=no {UNIT}.service rustfsfs.target")


def logged(guest: Guest) -> None:
    """journald finds the daemon's records by our fields."""
    lines = guest.run(f"journalctl -u {UNIT} RUSTFSFS_VOLUME={VOLUME} -o json").splitlines()
    assert lines, "journald has no record of the volume"
    record = json.loads(lines[-1])
    wanted = {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "RUSTFSFS_MOUNT_POINT", "CODE_FILE", "CODE_LINE"}
    assert wanted <= set(record), f"fields missing: {wanted - set(record)}"
    assert record["_SYSTEMD_UNIT"] == f"{UNIT}.service", record


def reloaded(guest: Guest) -> None:
    guest.run("printf '[seal]\\nquiet = \"7s\"\\n' >>/etc/rustfsfs/home.toml")
    guest.run(f"systemctl reload {UNIT}")
    assert "seal.quiet" in guest.run(f"journalctl -u {UNIT} -n 20 -o cat"), "it does not say what was reloaded"
    is_served(guest)


def stopped(guest: Guest) -> None:
    restarts = shows(guest, "NRestarts")
    guest.run(f"systemctl stop {UNIT}")
    gone(guest)
    guest.run(f"systemctl start {UNIT}")
    guest.run(f"systemctl restart {UNIT}")
    is_served(guest)
    assert shows(guest, "NRestarts") == restarts
    guest.run(f"diff -r /usr/lib/python3/dist-packages {POINT}/tree")


def gone(guest: Guest) -> None:
    shown = shows(guest, "ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}, shown
    code, _ = guest.ask(f"findmnt {POINT}")
    assert code != 0, "it is still mounted"


def stopped_while_hot(guest: Guest) -> None:
    guest.run("head -c 40M /dev/urandom >/root/hot")
    guest.run(f"cp /root/hot {POINT}/hot && systemctl stop {UNIT}")
    gone(guest)
    guest.run(f"systemctl start {UNIT} && cmp /root/hot {POINT}/hot")


def stopped_while_busy(guest: Guest) -> None:
    """Programs lose what they have open there; the stop does not wait for them."""
    guest.run(f"systemd-run --quiet --unit=holder bash -c 'exec 3>{POINT}/held; exec sleep 1000'")
    guest.wait_until(f"test -e {POINT}/held", "a program that has a file open")
    guest.run(f"systemctl stop {UNIT}")
    gone(guest)
    guest.run(f"systemctl stop holder; systemctl start {UNIT} && test -e {POINT}/held")


def encrypted_credential(guest: Guest) -> None:
    guest.run("install -d -m 700 /etc/credstore.encrypted")
    guest.run(f"systemd-creds encrypt --name=key {KEY} /etc/credstore.encrypted/rustfsfs-home && mv {KEY} /root/key")
    guest.put(f"{DROP_IN}/key.conf", "[Service]\nLoadCredentialEncrypted=key:rustfsfs-home")
    guest.run(f"systemctl daemon-reload && systemctl restart {UNIT}")
    is_served(guest)
    guest.run(f"mv /root/key {KEY} && rm {DROP_IN}/key.conf && systemctl daemon-reload && systemctl restart {UNIT}")


def two_for_one_volume(guest: Guest) -> None:
    """The second one fails, says why, and is not tried again and again. Its key is in a file: it has no credential."""
    guest.run("install -d /mnt/other")
    guest.put("/etc/rustfsfs/other.toml", site(VOLUME, "/mnt/other", f'key_file = "{KEY}"'))
    code, _ = guest.ask("systemctl start rustfsfs@other")
    assert code != 0, "two units have one volume"
    shown = guest.run("systemctl show rustfsfs@other --property ActiveState,NRestarts,ExecMainStatus")
    assert set(shown.splitlines()) == {"ActiveState=failed", "NRestarts=0", "ExecMainStatus=5"}, shown
    said = guest.run("journalctl -u rustfsfs@other -o cat")
    assert f"already mounted on {POINT}" in said, said
    guest.run("systemctl reset-failed rustfsfs@other")
    is_served(guest)


def from_fstab(guest: Guest) -> None:
    guest.run("install -d /mnt/tab")
    guest.run(f"rustfsfs format /srv/tab --key-file {KEY} --recovery-key-file /root/recovery-tab")
    guest.put("/etc/rustfsfs/tab.toml", site("/srv/tab", "/mnt/tab", f'key_file = "{KEY}"'))
    guest.run("echo 'tab /mnt/tab rustfsfs defaults,noauto,nofail 0 0' >>/etc/fstab && systemctl daemon-reload")
    guest.run("mount /mnt/tab && echo text >/mnt/tab/file && umount /mnt/tab")
    guest.wait_until("mount /mnt/tab", "mount what was just unmounted")
    assert guest.run("cat /mnt/tab/file && rustfsfs umount tab") == "text"


def restarted(guest: Guest, harm: str, result: str) -> str:
    """Something happens to the daemon; systemd starts another, and nothing is lost. What the log says of it."""
    before = int(shows(guest, "NRestarts")["NRestarts"])
    text = f"before {harm}"
    guest.run(f"echo {text} >{POINT}/before")
    since = guest.run("date +@%s")
    guest.run(f"systemctl kill --kill-whom=main --signal={harm} {UNIT}")
    again = f"test $(systemctl show -P NRestarts {UNIT}) -gt {before} && systemctl is-active -q {UNIT}"
    guest.wait_until(f"( {again} )", f"a restart after {harm}")
    is_served(guest)
    assert guest.run(f"cat {POINT}/before") == text
    said = guest.run(f"journalctl -u {UNIT} -o cat --since {since}")
    assert f"Failed with result '{result}'" in said, said
    return said


def killed(guest: Guest) -> None:
    restarted(guest, "SIGKILL", "signal")


def hung(guest: Guest) -> None:
    """The watchdog aborts it, and the log has its stacks: systemd sends SIGCONT behind the SIGABRT."""
    guest.put(f"{DROP_IN}/watchdog.conf", WATCHDOG)
    guest.run(f"systemctl daemon-reload && systemctl restart {UNIT}")
    said = restarted(guest, "SIGSTOP", "watchdog")
    assert "Fatal Python error: Aborted" in said and "most recent call first" in said, f"no stacks: {said}"
    guest.run(f"rm {DROP_IN}/watchdog.conf && systemctl daemon-reload && systemctl restart {UNIT}")


TRIALS: tuple[Callable[[Guest], None], ...] = (
    *(served, hardened, logged, reloaded, stopped, stopped_while_hot, stopped_while_busy, encrypted_credential),
    *(two_for_one_volume, from_fstab, killed, hung),
)
