"""Each form of Markdown becomes its value; anything else is refused."""

import pytest

from rustfsfs.man.markup import BadPage, Block, Code, Heading, Item, Paragraph, Span, inline, parse

TITLE = "# rustfsfs-x(7): what x is"


def blocks(source: str) -> tuple[Block, ...]:
    return parse(f"{TITLE}\n\n{source}\n").blocks


def words(text: str) -> tuple[Span, ...]:
    return (Span("", text),)


def test_the_title_says_name_section_and_summary() -> None:
    page = parse(f"{TITLE}\n")
    assert (page.name, page.section, page.summary, page.blocks) == ("rustfsfs-x", 7, "what x is", ())


@pytest.mark.parametrize(
    ("source", "want"),
    [
        pytest.param("## Synopsis", (Heading(2, "Synopsis"),), id="heading"),
        pytest.param("### mount\ntext", (Heading(3, "mount"), Paragraph(words("text"))), id="heading, then text"),
        pytest.param("one\ntwo\n\nthree", (Paragraph(words("one two")), Paragraph(words("three"))), id="paragraphs"),
        pytest.param("```sh\na  b\n\n- c\n```", (Code(("a  b", "", "- c")),), id="code is as it is"),
        pytest.param("text\n```\na\n```", (Paragraph(words("text")), Code(("a",))), id="code behind text"),
        pytest.param("- one\n  two\n- three", (Item((), words("one two")), Item((), words("three"))), id="bullets"),
        pytest.param(
            "- `--a`, `--b F`: it: does",
            (Item((Span("code", "--a"), *words(", "), Span("code", "--b F")), words("it: does")),),
            id="term",
        ),
        pytest.param("- `a: b` is", (Item((), (Span("code", "a: b"), *words(" is"))),), id="a colon in code ends none"),
        pytest.param("| T | M |\n|---|---|\n| a | b |", (Item(words("a"), words("b")),), id="table"),
        pytest.param(
            "| T | D | M |\n|---|---|---|\n| `a\\|b` | `1` | c |",
            (Item((Span("code", "a|b"), *words(" ("), Span("code", "1"), *words(")")), words("c")),),
            id="table with notes and a bar",
        ),
    ],
)
def test_every_form(source: str, want: tuple[Block, ...]) -> None:
    assert blocks(source) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("a `b*c*` d", (*words("a "), Span("code", "b*c*"), *words(" d")), id="code"),
        pytest.param("**a** *b*", (Span("bold", "a"), *words(" "), Span("slanted", "b")), id="fonts"),
        pytest.param("[x](y.md)", words("x"), id="link to a page"),
        pytest.param("[x](https://y)", words("x (https://y)"), id="link to elsewhere"),
    ],
)
def test_what_stands_inside_text(text: str, want: tuple[Span, ...]) -> None:
    assert inline(text) == want


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("", id="no title"),
        pytest.param("# Rustfsfs", id="another title"),
        pytest.param(f"{TITLE}\n\n#### deep", id="deep heading"),
        pytest.param(f"{TITLE}\n\n```\nno end", id="code without an end"),
        pytest.param(f"{TITLE}\n\n1. numbered", id="numbered list"),
        pytest.param(f"{TITLE}\n\n    indented", id="indented code"),
        pytest.param(f"{TITLE}\n\n> quoted", id="quotation"),
        pytest.param(f"{TITLE}\n\n* star", id="other bullets"),
        pytest.param(f"{TITLE}\n\n| a |\n|---|\n| b |", id="table of one column"),
    ],
)
def test_anything_else_is_refused(source: str) -> None:
    with pytest.raises(BadPage):
        parse(source)
