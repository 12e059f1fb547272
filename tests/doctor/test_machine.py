"""Every finding about a machine, each from one fact that is not as it should be."""

from dataclasses import replace
from typing import Any

import pytest

from rustfsfs.doctor.finding import Level
from rustfsfs.doctor.machine import Machine, Swap, findings

WELL = Machine(
    kernel="6.1.0-13-amd64",
    is_root=True,
    fuse_trouble=None,
    fuse_is_known=True,
    fusermount="/usr/bin/fusermount3",
    allow_other=True,
    files_hard=65536,
    overcommit=0,
    swaps=(),
    clock_is_synchronised=True,
    versions=(("Python", "3.11.2"), ("SQLite", "3.54.0")),
)


def test_a_machine_that_is_well_has_nothing_to_do() -> None:
    found = findings(WELL)
    assert {one.level for one in found} == {Level.OK} and all(one.todo == "" for one in found)
    assert found[-1].text == "Python 3.11.2, SQLite 3.54.0"


@pytest.mark.parametrize(
    ("changed", "level", "about", "says"),
    [
        pytest.param({"kernel": "5.4.0-generic"}, Level.WARNING, "kernel", "older than 5.10", id="old kernel"),
        pytest.param({"fuse_is_known": False}, Level.PROBLEM, "FUSE", "the kernel has no FUSE", id="no module"),
        pytest.param(
            {"fuse_trouble": "Permission denied"}, Level.PROBLEM, "FUSE", "(Permission denied)", id="no device"
        ),
        pytest.param(
            {"is_root": False, "fusermount": None}, Level.PROBLEM, "fusermount3", "only root", id="no fusermount3"
        ),
        pytest.param(
            {"is_root": False, "allow_other": False}, Level.NOTE, "fuse.conf", "allow_other", id="no allow_other"
        ),
        pytest.param({"files_hard": 1024}, Level.WARNING, "limits", "1024 files", id="few files"),
        pytest.param({"overcommit": 2}, Level.NOTE, "memory", "overcommit_memory is 2", id="strict memory"),
        pytest.param(
            {"swaps": (Swap(path="/dev/vda2", is_in_ram=False, is_encrypted=False),)},
            Level.WARNING,
            "swap",
            "/dev/vda2 is not encrypted: what is in memory, keys",
            id="plain swap",
        ),
        pytest.param(
            {"swaps": (Swap(path="/swap", is_in_ram=False, is_encrypted=None),)},
            Level.WARNING,
            "swap",
            "may not be encrypted",
            id="unknown swap",
        ),
        pytest.param({"clock_is_synchronised": False}, Level.WARNING, "clock", "nobody keeps it right", id="clock"),
        pytest.param({"clock_is_synchronised": None}, Level.NOTE, "clock", "does not say", id="unknown clock"),
        pytest.param(
            {"stuck": ("swap",), "patience_s": 5.0}, Level.PROBLEM, "swap", "no answer within 5 s", id="it hangs"
        ),
    ],
)
def test_one_fact_makes_one_finding(changed: dict[str, Any], level: Level, about: str, says: str) -> None:
    (found,) = [one for one in findings(replace(WELL, **changed)) if one.level is not Level.OK]
    assert (found.level, found.about) == (level, about) and says in found.text
    assert found.todo or level is Level.NOTE


@pytest.mark.parametrize(
    "swap",
    [
        pytest.param(Swap(path="/dev/zram0", is_in_ram=True, is_encrypted=False), id="zram"),
        pytest.param(Swap(path="/dev/dm-1", is_in_ram=False, is_encrypted=True), id="dm-crypt"),
    ],
)
def test_swap_that_keeps_no_plain_memory_is_well(swap: Swap) -> None:
    assert {one.level for one in findings(replace(WELL, swaps=(swap,)))} == {Level.OK}


def test_no_limit_of_files_is_well() -> None:
    assert "any number of open files" in [one.text for one in findings(replace(WELL, files_hard=-1))]
