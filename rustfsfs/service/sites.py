"""The volumes of this machine by name: /etc/rustfsfs/NAME.toml, or in the folder that RUSTFSFS_CONFIG_DIR names."""

import os
from collections.abc import Mapping

from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.siteconfig import NAME, Site, parse_site
from rustfsfs.values import nearest
from rustfsfs.volume.settings import read_text

VARIABLE = "RUSTFSFS_CONFIG_DIR"
FOLDER = "/etc/rustfsfs"
SUFFIX = ".toml"


def folder(env: Mapping[str, str]) -> str:
    """An absolute path."""
    return os.path.abspath(env.get(VARIABLE) or FOLDER)


def path_of(name: str, env: Mapping[str, str]) -> str:
    return f"{folder(env)}/{name}{SUFFIX}"


def is_name(text: str, env: Mapping[str, str]) -> bool:
    """Is there such a NAME.toml? A path is never taken for one: it has a slash."""
    return NAME.match(text) is not None and os.path.lexists(path_of(text, env))


def names(env: Mapping[str, str]) -> list[str]:
    """Sorted; none if there is no folder. Raises MachineTrouble."""
    try:
        found = os.listdir(folder(env))
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise MachineTrouble(f"{folder(env)} cannot be read ({exc.strerror})") from exc
    stems = [file.removesuffix(SUFFIX) for file in found if file.endswith(SUFFIX)]
    return sorted(stem for stem in stems if NAME.match(stem))


def load(name: str, env: Mapping[str, str]) -> Site:
    """Raises UsageError (no such name, a mistake in the file), MachineTrouble."""
    if NAME.match(name) is None:
        raise UsageError(
            f"{name!r} cannot be a name in {folder(env)}: small letters, digits, _ . and - behind the first, 64 at most"
        )
    path = path_of(name, env)
    if not os.path.lexists(path):
        known = names(env)
        raise UsageError(f"{path} is not there{nearest(name, known) if known else ''}")
    return load_file(path)


def load_file(path: str) -> Site:
    """Any file; its name without the suffix is the site's. Raises UsageError, MachineTrouble."""
    name = os.path.basename(path).removesuffix(SUFFIX)
    return parse_site(read_text(path, must_exist=True), name=name, where=path)
