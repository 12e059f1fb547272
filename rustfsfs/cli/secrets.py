"""Where a key comes from: a file, or the terminal. Never an argument, never the environment."""

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

F = TypeVar("F", bound=Callable[..., Any])
FILE_SIZE_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Secret:
    kind: SlotKind
    value: bytes = field(repr=False)


def open_options(command: F) -> F:
    """OPEN: [--passphrase-file F | --key-file F | --recovery-key-file F]."""
    path = click.Path(dir_okay=False, readable=False)
    command = click.option("--recovery-key-file", type=path, help="file with the recovery key")(command)
    command = click.option("--key-file", type=path, help="file with at least 32 random bytes, mode 0600")(command)
    return click.option("--passphrase-file", type=path, help="file with the passphrase")(command)


def read_secret(
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    *,
    new: bool = False,
    what: str = "",
) -> Secret:
    """The secret that was named, else one typed on the terminal (twice when `new`).

    Raises UsageError (two named), WrongKey (none to be had, or a file others can read).
    """
    named = [name for name in (passphrase_file, key_file, recovery_key_file) if name is not None]
    if len(named) > 1:
        raise UsageError("name one of --passphrase-file, --key-file and --recovery-key-file, not several")
    if passphrase_file is not None:
        value = _read(passphrase_file)
        return _passphrase(value[:-1] if value.endswith(b"\n") else value)
    if key_file is not None:
        return _key_file(key_file)
    if recovery_key_file is not None:
        return Secret(SlotKind.RECOVERY, parse_recovery_key(_read(recovery_key_file).decode("ascii", "replace")))
    return _passphrase(_ask(new=new, what=what))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(FILE_SIZE_MAX)
    except OSError as exc:
        raise WrongKey(f"{path} cannot be read ({exc.strerror})") from exc


def _key_file(path: str) -> Secret:
    try:
        mode = os.stat(path).st_mode
    except OSError as exc:
        raise WrongKey(f"{path} cannot be read ({exc.strerror})") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise WrongKey(f"others may read the key file {path}; chmod 600 {path}")
    value = _read(path)
    if len(value) < KEY_FILE_SIZE_MIN:
        raise WrongKey(f"the key file {path} has {len(value)} bytes; it needs at least {KEY_FILE_SIZE_MIN} random ones")
    return Secret(SlotKind.KEY_FILE, value)


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
