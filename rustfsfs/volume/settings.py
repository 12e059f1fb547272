"""config.toml, the volume's own or one that the command line names: read, and its one key that a command writes."""

import os
import re
import stat
import tomllib

from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Bucket, Parsed, parse_config, parse_settings
from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.units import MIB, format_size

TABLE = re.compile(r"^\[bucket\][^\n]*$", re.MULTILINE)
SIZE_MAX = MIB  # the longest that makes sense has a few KiB
COMMENTED = re.compile(r"^#class *=[^\n]*$", re.MULTILINE)  # as `default_config_text` has it


def read_settings(path: str, *, must_exist: bool) -> Parsed:
    """What a file says; nothing if it is not there and need not be. Raises UsageError, MachineTrouble."""
    return parse_settings(read_text(path, must_exist=must_exist), where=path)


def read_text(path: str, *, must_exist: bool) -> str:
    """Raises UsageError (also for what is no file, which is not waited for), MachineTrouble."""
    try:
        with open(path, encoding="utf-8-sig", opener=_open_unwaiting) as file:  # some editors begin with that mark
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"the settings {path} are no regular file; write them into one")
            if facts.st_size > SIZE_MAX:
                raise UsageError(f"the settings {path} are larger than {format_size(SIZE_MAX)}; that is another file")
            return file.read()
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text") from exc
    except FileNotFoundError as exc:
        if not must_exist:
            return ""
        raise UsageError(f"the settings {path} are not there") from exc
    except OSError as exc:
        kind = UsageError if must_exist else MachineTrouble
        raise kind(f"the settings {path} cannot be read ({exc.strerror})") from exc


def _open_unwaiting(path: str, flags: int) -> int:
    """A FIFO that nobody writes to would be waited for, and a terminal become the daemon's."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def with_class(text: str, placement: Placement, *, where: str) -> str:
    """`text`, saying that packs are of this class; as it is if it does, or if that is the default.

    Raises UsageError: it says something else, or is written so that a person has to change it.
    """
    before = parse_config(text, where=where).bucket.placement
    if before is placement:
        return text
    if "class" in tomllib.loads(text).get("bucket", {}) or before is not Bucket().placement:
        raise UsageError(f"{where} has bucket.class {before.value}; change it there, or leave --class out")
    line = f'class = "{placement.value}"'
    if COMMENTED.search(text):
        changed = COMMENTED.sub(line, text, count=1)
    elif TABLE.search(text):
        changed = TABLE.sub(lambda found: f"{found[0]}\n{line}", text, count=1)
    else:
        changed = f"{text.rstrip()}\n\n[bucket]\n{line}\n".lstrip()
    try:
        if parse_config(changed, where=where).bucket.placement is placement:
            return changed
    except UsageError as exc:
        raise UsageError(f"with bucket.class {placement.value}, {exc}") from exc
    raise UsageError(f'write bucket.class = "{placement.value}" into {where} yourself; it is not written as usual')
