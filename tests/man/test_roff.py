"""Pages become man pages that say the same, and nothing in them is taken for a request."""

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rustfsfs.man.markup import Code, Heading, Item, Page, Paragraph, Span
from rustfsfs.man.roff import roff

ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


def page(*blocks: Heading | Paragraph | Code | Item) -> Page:
    return Page("rustfsfs-x", 7, "what x is", blocks)


def test_a_page() -> None:
    shown = roff(
        page(
            Heading(2, "Description"),
            Paragraph((Span("", "It's "), Span("code", "--a-b"), Span("", "."))),
            Heading(3, "mount"),
            Item((Span("code", "-o"),), (Span("", "says \\ so"),)),
            Item((), (Span("bold", "it"), Span("slanted", "is"))),
            Code((".not a request", "'nor this", "a~b")),
        )
    )
    assert shown.splitlines()[1:] == [
        '.TH "RUSTFSFS\\-X" 7 "" rustfsfs "rustfsfs manual"',
        ".SH NAME",
        "rustfsfs\\-x \\- what x is",
        '.SH "DESCRIPTION"',
        ".PP",
        "It's \\fB\\-\\-a\\-b\\fR.",
        '.SS "mount"',
        ".TP",
        "\\fB\\-o\\fR",
        "says \\e so",
        ".IP \\(bu 2",
        "\\fBit\\fR\\fIis\\fR",
        ".PP",
        ".RS 4",
        ".EX",
        "\\&.not a request",
        "\\(aqnor this",
        "a\\(tib",
        ".EE",
        ".RE",
    ]


def rendered(source: str) -> str:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is missing; make setup installs it")
    done = subprocess.run(
        [groff, "-ww", "-man", "-Tascii", "-P-cbou", "-rHY=0"], input=source, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@settings(max_examples=25)  # a process each
@example(code=".TH", word="'br")
@example(code="\\fB\\", word='"\\e')
@given(code=ASCII, word=ASCII)
def test_whatever_is_said_is_shown(code: str, word: str) -> None:
    shown = rendered(roff(page(Heading(2, word), Paragraph((Span("code", code),)), Code((word,)))))
    assert code in shown and shown.count(word) >= 1
