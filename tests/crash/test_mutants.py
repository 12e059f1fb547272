"""A few mutants of the many that `make test-crash` puts before the suite; and all of them still fit the code."""

import subprocess
import sys

import pytest

from tests.crash import mutants

SAMPLE = [  # quick to catch, one of each kind
    "without world.py:publish:sync",
    "without journal/journal.py:run:sync",
    "without journal/segments.py:make:sync_dir",
    "the header of a life's first segment does not name the cut",
    "all segments of one number have one key",
]


def test_every_mutant_still_fits_the_code() -> None:
    found = mutants.mutants()
    assert len(found) > 30
    for mutant in found.values():
        compile(mutants.source_of(mutant), mutant.path, "exec")


def test_every_exemption_is_a_call_that_is_there() -> None:
    sites = {site for relative, source in mutants.sources() for site in mutants.sites_in(relative, source)}
    assert set(mutants.EXEMPT) <= sites


@pytest.mark.slow  # a process and some stories each
@pytest.mark.parametrize("name", SAMPLE)
def test_a_mutant_is_caught(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.mutants", name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
