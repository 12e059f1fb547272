"""make test-apps: real programs from Debian's packages on the mount. APPS="git fio" chooses some.

Every application gets a new volume, and at the end of it fsck --data. A run does each at least once, whatever MINUTES
says, so that none is left out; then it goes on until they are over.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.conftest import can_mount
from tests.long.apps import cproject, dbench, fio, git, postgres, rsync, sqlite, stress, tar
from tests.long.apps.place import Place, new_place
from tests.long.results import Suite, run


@dataclass(frozen=True)
class Application:
    cover: Callable[[Place], dict[str, int]]  # how much was covered of what
    programs: tuple[str, ...]


APPLICATIONS = {
    "git": Application(git.cover, git.PROGRAMS),
    "sqlite": Application(sqlite.cover, sqlite.PROGRAMS),
    "postgres": Application(postgres.cover, postgres.PROGRAMS),
    "rsync": Application(rsync.cover, rsync.PROGRAMS),
    "tar": Application(tar.cover, tar.PROGRAMS),
    "fio": Application(fio.cover, fio.PROGRAMS),
    "dbench": Application(dbench.cover, dbench.PROGRAMS),
    "stress": Application(stress.cover, stress.PROGRAMS),
    "cproject": Application(cproject.cover, cproject.PROGRAMS),
}


def chosen() -> list[str]:
    """Exits if one is unknown, or cannot run for want of root, /dev/fuse or a program: that is no success."""
    reason = can_mount()
    if reason is not None:
        print(reason)
        sys.exit(2)
    names = os.environ.get("APPS", "").split() or list(APPLICATIONS)
    unknown = sorted(set(names) - set(APPLICATIONS))
    if unknown:
        print(f"unknown: {' '.join(unknown)}; there are: {' '.join(APPLICATIONS)}")
        sys.exit(2)
    missing = sorted({one for name in names for one in APPLICATIONS[name].programs if shutil.which(one) is None})
    if missing:
        print(f"missing: {' '.join(missing)}; as root `make apps-packages` installs what is needed")
        sys.exit(2)
    return names


def work(suite: Suite) -> None:
    names = chosen()
    rounds: dict[str, dict[str, float]] = suite.state.setdefault("applications", {})
    done = 0
    while done < len(names) or suite.has_time:
        name = names[done % len(names)]
        done += 1
        cover_one(suite, name, rounds.setdefault(name, {}))


def cover_one(suite: Suite, name: str, total: dict[str, float]) -> None:
    """One application on a new volume; what it covered is added to `total`, and said."""
    began_s = time.monotonic()
    with new_place(suite.seed * 1000 + int(total.get("rounds", 0))) as place:
        try:
            covered = APPLICATIONS[name].cover(place)
        except AssertionError as exc:
            raise AssertionError(f"{name}: {exc}") from exc
    took_s = time.monotonic() - began_s
    assert covered and all(covered.values()), f"{name} covered nothing: {covered}"
    for what, amount in {"rounds": 1, "seconds": round(took_s), **covered}.items():
        total[what] = total.get(what, 0) + amount
    print(
        f"  {name}: {', '.join(f'{amount:,} {what}' for what, amount in covered.items())} in {took_s:.0f} s", flush=True
    )
    suite.count(applications=1, **covered)


if __name__ == "__main__":
    run(Suite("apps", minutes=12), work, needs="applications")
