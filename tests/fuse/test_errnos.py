"""Our errors as errno: what an application hears."""

import errno

import pytest

from rustfsfs import errors
from rustfsfs.fuse.errnos import errno_of


@pytest.mark.parametrize(
    ("exc", "want"),
    [
        pytest.param(errors.CloudUnavailable("down"), errno.EIO, id="the bucket does not answer"),
        pytest.param(errors.CloudThrottled("slow", delay_s=1.0), errno.EIO, id="it answers too slowly"),
        pytest.param(errors.CircuitOpen("down"), errno.EIO, id="it was not asked"),
        pytest.param(errors.CloudRefused("no"), errno.EIO, id="it refuses"),
        pytest.param(errors.ObjectMissing("gone"), errno.EIO, id="a pack is lost"),
        pytest.param(errors.ObjectFrozen("ice"), errno.EAGAIN, id="a pack is frozen"),
        pytest.param(errors.DamagedData("flipped"), errno.EIO, id="damaged"),
        pytest.param(errors.NoSuchEntry("x"), errno.ENOENT, id="no such name"),
    ],
)
def test_errnos(exc: errors.RustfsfsError, want: int) -> None:
    assert errno_of(exc) == want
