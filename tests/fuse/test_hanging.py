"""A test that hangs on a mount fails, and says what the daemon did."""

import os
import signal
import time

import pytest

from tests.hanging import ending_daemons
from tests.mounted import Mounted

pytestmark = [pytest.mark.fuse, pytest.mark.slow]


def test_who_waits_for_a_daemon_that_hangs_gets_an_error_and_its_stacks_are_shown(
    mounted: Mounted, capfd: pytest.CaptureFixture[str]
) -> None:
    os.kill(mounted.pid, signal.SIGSTOP)
    began_s = time.monotonic()
    with ending_daemons(mounted.base, after_s=0.3) as timer, pytest.raises(OSError, match=str(mounted.point)):
        os.stat(mounted.point / "nobody asked for this before")
    assert 0.3 <= time.monotonic() - began_s < 20.0
    timer.join(20.0)
    told = capfd.readouterr().err
    assert f"{mounted.volume} (" in told and "Fatal Python error: Aborted" in told
