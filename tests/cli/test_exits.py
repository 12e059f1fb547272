"""Exit codes, by what went wrong."""

import pytest

from rustfsfs import errors
from rustfsfs.cli import exits


@pytest.mark.parametrize(
    ("exc", "want"),
    [
        pytest.param(errors.CloudUnavailable("down"), exits.NETWORK, id="the bucket does not answer"),
        pytest.param(errors.CircuitOpen("down"), exits.NETWORK, id="it was not asked"),
        pytest.param(errors.CloudRefused("no"), exits.NETWORK, id="it refuses"),
        pytest.param(errors.ObjectMissing("gone"), exits.NETWORK, id="an object is lost"),
        pytest.param(errors.ObjectFrozen("ice"), exits.NETWORK, id="an object is frozen"),
        pytest.param(errors.UsageError("what?"), exits.USAGE, id="a bucket that is none"),
        pytest.param(errors.DamagedData("flipped"), exits.FINDINGS, id="damaged"),
        pytest.param(errors.StoreUnavailable("gone"), exits.MACHINE, id="a disk"),
        pytest.param(KeyboardInterrupt(), exits.INTERRUPTED, id="Ctrl-C"),
        pytest.param(KeyError(), exits.BUG, id="a bug"),
    ],
)
def test_codes(exc: BaseException, want: int) -> None:
    assert exits.code_of(exc) == want
