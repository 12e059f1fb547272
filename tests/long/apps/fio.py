"""fio: writes by several I/O engines, every block with its crc32c, verified after a remount and after SIGKILL."""

import json

from tests.long.apps.place import Place, ran

PROGRAMS = ("fio",)
GLOBAL = """
[global]
directory={directory}
verify=crc32c
verify_fatal=1
allrandrepeat=1
randseed={seed}
fallocate=none
"""
JOBS = {
    "buffered": "ioengine=psync rw=randwrite bs=4k size=12m",
    "direct": "ioengine=libaio iodepth=8 direct=1 rw=randwrite bsrange=4k-128k size=48m",
    "uring": "ioengine=io_uring iodepth=4 rw=randwrite bs=16k size=24m",
    "odd": "ioengine=psync rw=randwrite bs=1500 size=3000000",
    "mapped": "ioengine=mmap rw=randwrite bs=4k size=8m",
    "synced": "ioengine=psync rw=randwrite bs=64k size=16m fsync=4",
    "sequential": "ioengine=psync rw=write bs=1m size=64m",
}


def cover(place: Place) -> dict[str, int]:
    """Each job once over a new file, and once over the old blocks."""
    place.folder("fio")
    verified = 0
    for again in (place.remount, place.killed):
        seed = place.draw.randrange(1 << 30)
        written = fio(place, seed, "--do_verify=0")["write"]
        again()
        read = fio(place, seed, "--verify_only")["read"]
        assert read == written, f"{written} bytes written, {read} verified"
        verified += read
    return {"verified_mib": verified >> 20}


def fio(place: Place, seed: int, *how: str) -> dict[str, int]:
    """Bytes read and written. fio fails for a block that does not verify."""
    jobs = place.scratch / "jobs"
    text = GLOBAL.format(directory=place.point / "fio", seed=seed)
    jobs.write_text(text + "".join(f"\n[{name}]\nstonewall\n" + "\n".join(job.split()) for name, job in JOBS.items()))
    output = place.scratch / "output"
    ran("fio", "--output-format=json", f"--output={output}", *how, jobs, cwd=place.scratch)
    found = json.loads(output.read_text()[output.read_text().index("{") :])["jobs"]
    assert len(found) == len(JOBS) and not any(job["error"] for job in found), found
    return {way: sum(job[way]["io_bytes"] for job in found) for way in ("read", "write")}
