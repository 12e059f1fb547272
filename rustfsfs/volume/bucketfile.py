"""VOLUME/bucket.toml: which bucket a volume has, how it is reached, and where its credentials are. No secret is in it.

Written by `rustfsfs bucket attach`; a person may edit it while the volume is not mounted.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.store.address import BucketAddress, parse_address
from rustfsfs.store.credentials import CredentialSource, EnvironmentSource, FileSource
from rustfsfs.values import nearest
from rustfsfs.world import Files, opened, publish

NAME = "bucket.toml"
KEYS = ("url", "endpoint", "region", "credentials")
ENVIRONMENT, ECS = "environment", "ecs"
ROLE = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of RAM
SIZE_MAX = 64 * 1024  # bytes
HEAD = "# rustfsfs: the bucket behind this volume. Written by `rustfsfs bucket attach`; no secret belongs in here."


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFile:
    address: BucketAddress
    credentials: str  # "environment", "ecs", "ecs:ROLE", or the absolute path of a credentials file


def parse_bucket_file(text: str, *, where: str = NAME) -> BucketFile:
    """Raises UsageError naming the key and what would be right; its text quotes no value of `credentials`."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{where} is not TOML: {exc}") from exc
    for name in found:
        if name not in KEYS:
            raise UsageError(f"{where}: unknown key {name}{nearest(name, KEYS)}")
    try:
        return bucket_file_of(found)
    except UsageError as exc:
        raise UsageError(f"{where}: {exc}") from exc


def bucket_file_of(values: Mapping[str, object]) -> BucketFile:
    """From the values of `KEYS`; without a region it is the one that the endpoint's name tells. Raises UsageError."""
    texts: dict[str, str] = {}
    for key in KEYS:
        value = values.get(key)
        if value is None and key != "region":
            raise UsageError(f"{key} is missing")
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{key} is a text, in quotes")
        texts[key] = value or ""
    address = parse_address(texts["url"], endpoint=texts["endpoint"], region=texts["region"] or None)
    return BucketFile(address=address, credentials=check_credentials(texts["credentials"]))


def check_credentials(text: str) -> str:
    """Where credentials are, as it was given. Raises UsageError, which does not repeat it: it may be a secret."""
    kind, colon, role = text.partition(":")
    if text in (ENVIRONMENT, ECS) or (kind == ECS and colon and ROLE.fullmatch(role)):
        return text
    if text.startswith("/") and text.isprintable():
        return text
    raise UsageError(
        "credentials are named by where they are: environment, ecs, ecs:ROLE or the path of a credentials file"
    )


def credential_source(credentials: str, *, now_s: Callable[[], float]) -> CredentialSource:
    """Nobody is asked yet. `now_s` is the wall clock."""
    if credentials == ENVIRONMENT:
        return EnvironmentSource()
    kind, _, role = credentials.partition(":")
    if kind == ECS:
        from rustfsfs.store.imds import RamRoleSource  # late: it brings an HTTP client, which others do not need

        return RamRoleSource(now_s=now_s, role=role or None)
    return FileSource(credentials, now_s=now_s)


def bucket_file_text(file: BucketFile) -> str:
    """Inverse of `parse_bucket_file`."""
    address = file.address
    values = (str(address), address.endpoint, address.region, file.credentials)
    # Of printable text, a string of JSON is one of TOML
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in zip(KEYS, values, strict=True)]
    return "\n".join([HEAD, *lines, ""])


def read_bucket_file(files: Files, volume_path: str) -> BucketFile | None:
    """None: there is none. Raises UsageError, MachineTrouble."""
    path = f"{volume_path}/{NAME}"
    try:
        with opened(files, path) as fd:
            data = files.pread(fd, SIZE_MAX, 0)
        return parse_bucket_file(data.decode(), where=path)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text") from exc
    except OSError as exc:
        raise MachineTrouble(f"{path} cannot be read ({exc.strerror})") from exc


def write_bucket_file(files: Files, volume_path: str, file: BucketFile | None) -> None:
    """Durable on return, mode 0600; None: it goes. Raises OSError."""
    path = f"{volume_path}/{NAME}"
    if file is not None:
        publish(files, path, bucket_file_text(file).encode())
        return
    files.unlink(path)
    files.sync_dir(volume_path)
