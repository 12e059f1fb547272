"""A C program of sixty files, built by gcc and make on the mount and on the local file system: the same bytes."""

import hashlib
import random
from pathlib import Path

from tests.long.apps.place import Place, finished, ran, start

PROGRAMS = ("gcc", "make", "ar")
MODULES = 60
MAKEFILE = """
CFLAGS := -O2 -g -fPIC -MMD -ffile-prefix-map=$(CURDIR)=.
SOURCES := $(sort $(wildcard m*.c))
STATIC := $(filter %0.o %1.o %2.o %3.o %4.o,$(SOURCES:.c=.o))
SHARED := $(filter-out $(STATIC),$(SOURCES:.c=.o))

program: main.o libstatic.a libshared.so
\t$(CC) -o $@ main.o libstatic.a -L. -lshared -Wl,-rpath,'$$ORIGIN'
libstatic.a: $(STATIC)
\trm -f $@; ar rcsD $@ $^
libshared.so: $(SHARED)
\t$(CC) -shared -Wl,--build-id=none -o $@ $^
-include $(wildcard *.d)
"""
MODULE = """
#include "all.h"
#include "m{number}.h"
static const uint64_t table[] = {{ {table} }};
uint64_t m{number}(uint64_t x) {{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) x = mix(x, table[i]);
    return {call};
}}
"""
HEADER = """
#include <stdint.h>
static inline uint64_t mix(uint64_t x, uint64_t y) { x ^= y; x *= 0x9E3779B97F4A7C15u; return x ^ x >> 29; }
"""


def cover(place: Place) -> dict[str, int]:
    here, there = place.scratch / "project", place.folder("project")
    seed = place.draw.random()
    for folder in (here, there):
        folder.mkdir(exist_ok=True)
        write(folder, random.Random(seed))
        ran("make", "-j2", cwd=folder)
    compiled = same(here, there)
    place.remount()
    ran("make", "--question", cwd=there)  # nothing is out of date by its times
    for folder in (here, there):
        (folder / "m7.h").write_text((folder / "m7.h").read_text() + "#define ANSWER 42\n")
        told = ran("make", cwd=folder)
        assert told.count(" -c ") == 2, f"m7 and main include what changed, but: {told}"
    compiled += same(here, there)
    place.killed()
    same(here, there)
    ran("make", "--question", cwd=there)
    return {"files": compiled}


def write(folder: Path, draw: random.Random) -> None:
    """Each module calls one before it; main includes and calls all."""
    names = range(MODULES)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "all.h").write_text(HEADER + "".join(f"uint64_t m{number}(uint64_t);\n" for number in names))
    for number in names:
        table = ", ".join(f"{draw.getrandbits(64):#x}u" for _ in range(draw.randrange(10, 4000)))
        call = f"m{draw.randrange(number)}(x)" if number % 10 > 5 else "x"
        (folder / f"m{number}.c").write_text(MODULE.format(number=number, table=table, call=call))
        (folder / f"m{number}.h").write_text(f"/* of module {number} */\n")
    calls = "\n".join(
        f'    printf("{number} %016llx\\n", (unsigned long long)m{number}({number}));' for number in names
    )
    includes = "".join(f'#include "m{number}.h"\n' for number in names)
    text = f'#include <stdio.h>\n#include "all.h"\n{includes}int main(void) {{\n{calls}\n    return 0;\n}}\n'
    (folder / "main.c").write_text(text)


def same(here: Path, there: Path) -> int:
    """The number of compiled files that hold the same bytes; both programs say the same."""
    want, got = built(here), built(there)
    assert want == got, f"differ: {[name for name in want if want[name] != got.get(name)][:5]}"
    assert len(want) == MODULES + 4, sorted(want)
    code, said = finished(start(there / "program", cwd=there))
    assert code == 0 and said.count("\n") == MODULES and said == ran(here / "program"), said[-500:]
    return len(want)


def built(folder: Path) -> dict[str, str]:
    paths = [*folder.glob("*.o"), folder / "libstatic.a", folder / "libshared.so", folder / "program"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}
