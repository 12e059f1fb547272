"""Pages as plain text."""

from rustfsfs.man.markup import Page, parse
from rustfsfs.man.text import section, text

SOURCE = """# rustfsfs-x(7): what x is

## One

Some `words` that are
long enough to be wrapped.

### deep

- `--an-option F`: what it does
- a bullet

```
a line of code that is as long as it is, however wide the screen
```

### deeper

## Two

Other words.
"""
WANT = """rustfsfs-x(7): what x is

ONE

    Some words that are long enough to
    be wrapped.

  deep

    --an-option F
        what it does

    * a bullet

        a line of code that is as long as it is, however wide the screen

  deeper

TWO

    Other words.
"""


def page() -> Page:
    return parse(SOURCE)


def test_a_page() -> None:
    assert text(page(), width=40) == WANT


def test_a_narrow_or_wide_screen_changes_no_more_than_it_may() -> None:
    assert text(page(), width=1) == text(page(), width=40)
    assert text(page(), width=1000) == text(page(), width=100)


def test_a_section_ends_where_the_next_one_of_its_level_begins() -> None:
    deep, one = section(page(), "deep"), section(page(), "One")
    assert deep is not None and one is not None
    assert deep.blocks == page().blocks[2:6]
    assert one.blocks == page().blocks[:7]


def test_a_section_that_is_not_there() -> None:
    assert section(page(), "three") is None
