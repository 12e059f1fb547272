"""Where a key comes from: a file, a credential of systemd (a file too), or the terminal. Never an argument."""

import getpass
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from rustfsfs.content.slots import KEY_FILE_SIZE_MIN, SlotKind, parse_recovery_key
from rustfsfs.errors import UsageError, WrongKey
from rustfsfs.siteconfig import CredentialKind, Site

F = TypeVar("F", bound=Callable[..., Any])
FILE_SIZE_MAX = 1 << 20
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5)


@dataclass(frozen=True, slots=True)
class Secret:
    kind: SlotKind
    value: bytes = field(repr=False)


def open_options(command: F) -> F:
    """OPEN: [--passphrase-file F | --key-file F | --recovery-key-file F]."""
    return _options(command, "file with the recovery key")


def new_options(command: F) -> F:
    """The same of a new volume, whose recovery key is written."""
    return _options(command, "write the recovery key to this new file, not to the terminal")


def _options(command: F, recovery: str) -> F:
    path = click.Path(dir_okay=False, readable=False)
    command = click.option("--recovery-key-file", type=path, help=recovery)(command)
    command = click.option("--key-file", type=path, help="file with at least 32 random bytes, mode 0600")(command)
    return click.option("--passphrase-file", type=path, help="file with the passphrase; without a key it is asked for")(
        command
    )


def read_secret(
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    *,
    site: Site | None = None,
    new: bool = False,
    what: str = "",
) -> Secret:
    """The secret that was named, else the one of the site, else one typed on the terminal (twice when `new`).

    Raises UsageError (two named), WrongKey (none to be had, or a file others can read).
    """
    named = [name for name in (passphrase_file, key_file, recovery_key_file) if name is not None]
    if len(named) > 1:
        raise UsageError("name one of --passphrase-file, --key-file and --recovery-key-file, not several")
    if passphrase_file is not None:
        return _passphrase_file(passphrase_file)
    if key_file is not None:
        return _key_file(key_file)
    if recovery_key_file is not None:
        return Secret(SlotKind.RECOVERY, parse_recovery_key(_read(recovery_key_file).decode("ascii", "replace")))
    return (None if site is None else _of_site(site)) or _passphrase(_ask(new=new, what=what))


def _of_site(site: Site) -> Secret | None:
    """What its file names; None: nothing."""
    mount = site.mount
    if mount.key_file:
        return _key_file(mount.key_file)
    if mount.passphrase_file:
        return _passphrase_file(mount.passphrase_file)
    return _credential(site) if mount.credential else None


def _credential(site: Site) -> Secret:
    """systemd.exec(5), Credentials: files in a folder that only the unit's user can look into."""
    name, folder = site.mount.credential, os.environ.get(CREDENTIALS)
    if not folder:
        raise WrongKey(
            f"the key of {site.name} is the credential {name}, which systemd hands to its unit only;"
            f" systemctl start rustfsfs@{site.name}, or name a key with --key-file or --passphrase-file"
        )
    path = f"{folder}/{name}"
    if not os.path.lexists(path):
        raise WrongKey(
            f"the credential {name} of {site.name} is not in {folder}; the unit needs LoadCredential={name}:FILE"
        )
    is_passphrase = site.mount.credential_kind is CredentialKind.PASSPHRASE
    _refuse_if_readable(path, 0o007)  # the bits of the group may be the mask of an ACL
    return _passphrase_file(path) if is_passphrase else _key(path)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(FILE_SIZE_MAX)
    except OSError as exc:
        raise WrongKey(f"{path} cannot be read ({exc.strerror})") from exc


def _refuse_if_readable(path: str, mask: int) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as exc:
        raise WrongKey(f"{path} cannot be read ({exc.strerror})") from exc
    if stat.S_IMODE(mode) & mask:
        raise WrongKey(f"others may read the key file {path}; chmod 600 {path}")


def _key_file(path: str) -> Secret:
    _refuse_if_readable(path, 0o077)
    return _key(path)


def _key(path: str) -> Secret:
    value = _read(path)
    if len(value) < KEY_FILE_SIZE_MIN:
        raise WrongKey(f"the key file {path} has {len(value)} bytes; it needs at least {KEY_FILE_SIZE_MIN} random ones")
    return Secret(SlotKind.KEY_FILE, value)


def _passphrase_file(path: str) -> Secret:
    """Its last newline does not count."""
    return _passphrase(_read(path).removesuffix(b"\n"))


def _passphrase(value: bytes) -> Secret:
    if not value:
        raise WrongKey("the passphrase is empty")
    return Secret(SlotKind.PASSPHRASE, value)


def _ask(*, new: bool, what: str) -> bytes:
    if sys.stdin is None or not sys.stdin.isatty():
        raise WrongKey("no key was named and there is no terminal to ask; use --passphrase-file or --key-file")
    prompt = what or ("New passphrase" if new else "Passphrase")
    value = getpass.getpass(f"{prompt}: ")
    if new and getpass.getpass("Again: ") != value:
        raise WrongKey("the two passphrases are not the same")
    return os.fsencode(value)
