"""Rule 14 of STYLE.md: an exception group never leaves `volume/`."""

from collections.abc import Iterator
from contextlib import contextmanager

from rustfsfs.errors import RustfsfsError


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from leaves(exc)
        else:
            yield exc


@contextmanager
def ungrouped() -> Iterator[None]:
    """Around a nursery: what it raises leaves as one exception, a bug of ours before an error of ours."""
    try:
        yield
    except BaseExceptionGroup as group:
        found = sorted(leaves(group), key=lambda exc: isinstance(exc, RustfsfsError))
        raise found[0] from None
