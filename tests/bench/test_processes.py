"""What /proc says, as text."""

import os

import pytest

from rustfsfs.bench import machine, processes

STAT = "42 (a (bad) name 1) S 1 42 42 0 -1 4194304 100 0 0 0 700 300 5 6 20 0 5 0 1234"
STATUS = "Name:\tpython\nVmHWM:\t   1024 kB\nVmRSS:\t 512 kB\n"


def test_ticks_are_user_and_system_time_whatever_the_name() -> None:
    assert processes.parse_cpu_ticks(STAT) == 1000


def test_a_field_is_found_by_its_whole_name() -> None:
    assert processes.parse_field(STATUS, "VmHWM") == 1024
    assert processes.parse_field("cancelled_write_bytes: 3\nwrite_bytes: 7\n", "write_bytes") == 7


def test_this_process_has_cost_something() -> None:
    assert processes.cpu_s(os.getpid()) > 0
    assert processes.memory_bytes_max(os.getpid()) > 1 << 20


@pytest.mark.parametrize(
    ("cpuinfo", "want"),
    [
        pytest.param("processor\t: 0\nmodel name\t: Zen 9\nflags: x\n", "Zen 9", id="x86"),
        pytest.param("processor\t: 0\nFeatures\t: fp\n", os.uname().machine, id="Arm says no name"),
    ],
)
def test_processor(cpuinfo: str, want: str) -> None:
    assert machine.processor(cpuinfo) == want


def test_memory_of_the_machine() -> None:
    assert machine.memory_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n") == 2 << 20
