"""Pages of names: prefix, marker, delimiter, at most so many. Pure; objects, versions and uploads are listed by it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Page:
    keys: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next_marker: str = ""  # the last key or prefix of this page; "": there is no more


def page_of(
    keys_from: Callable[[str], Iterator[str]], *, prefix: str, marker: str, delimiter: str, count_max: int
) -> Page:
    """The first page behind `marker`. Names with the delimiter behind the prefix are one entry for all of them.

    keys_from   every name not below the one given, in order
    count_max   keys and prefixes together
    """
    page, last = Page(), ""
    first = max(prefix, marker)
    while True:
        for key in keys_from(first):
            if not key.startswith(prefix):
                return page
            if key <= marker:
                continue
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            shared = key[: cut + len(delimiter)] if cut >= 0 else ""
            if shared and shared <= marker:  # a marker that is itself such a prefix hides all below it
                first = _behind(shared)
                break
            if len(page.keys) + len(page.prefixes) == count_max:
                page.next_marker = last
                return page
            last = shared or key
            if shared:
                page.prefixes.append(shared)
                first = _behind(shared)
                break
            page.keys.append(key)
        else:
            return page


def _behind(prefix: str) -> str:
    """The least name above all that start so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
