"""The few forms of Markdown that the pages are written in, as values. Pure; what is not one of them is refused.

A page begins with `# NAME(SECTION): summary`. Then: `## heading`, `### heading`, paragraphs, fenced code, lists of
`- item` (an item that begins with code, up to ": ", is a term and its explanation), and tables, of which each row is
a term, notes, and an explanation. Inside text: `code`, **bold**, *slanted*, [text](target).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

TITLE = re.compile(r"# ([a-z.-]+)\(([1-8])\): (.+)")
HEADING = re.compile(r"(##|###) (.+)")
INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^]]+)\]\(([^)]+)\)")
CELL_END = re.compile(r"(?<!\\)\|")
FENCE = "```"


class Span(NamedTuple):
    style: str  # "", "code", "bold", "slanted"
    text: str


Text = tuple[Span, ...]


class Heading(NamedTuple):
    level: int  # 2 or 3
    text: str


class Paragraph(NamedTuple):
    text: Text


class Code(NamedTuple):
    lines: tuple[str, ...]


class Item(NamedTuple):
    """Of a list; without a term it has a bullet."""

    term: Text
    text: Text


Block = Heading | Paragraph | Code | Item


class Page(NamedTuple):
    name: str  # "rustfsfs-ecs"
    section: int
    summary: str
    blocks: tuple[Block, ...]


class BadPage(ValueError):
    """A page has something that is none of the forms."""


def parse(source: str) -> Page:
    """Raises BadPage."""
    first, _, rest = source.partition("\n")
    title = TITLE.fullmatch(first)
    if title is None:
        raise BadPage(f"a page begins with # NAME(SECTION): summary, not with {first!r}")
    return Page(title[1], int(title[2]), title[3], tuple(_blocks(rest.split("\n"))))


def _blocks(lines: list[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        begin, line = at, lines[at]
        at += 1
        if not line:
            continue
        if line.startswith(FENCE):
            at = next((no for no in range(at, len(lines)) if lines[no] == FENCE), len(lines)) + 1
            if at > len(lines):
                raise BadPage(f"the code that begins in line {begin + 2} has no end")
            yield Code(tuple(lines[begin + 1 : at - 1]))
            continue
        while at < len(lines) and _goes_on(line, lines[at]):
            at += 1
        yield from _block(lines[begin:at])


def _goes_on(first: str, line: str) -> bool:
    """Does `line` belong to the block that `first` begins?"""
    if first.startswith("#"):
        return False
    if first.startswith("|"):
        return line.startswith("|")
    if first.startswith("- "):
        return line.startswith("  ")
    return bool(line) and not line.startswith(("- ", "|", "#", FENCE))


def _block(lines: list[str]) -> Iterator[Block]:
    first = lines[0]
    if first.startswith("#"):
        heading = HEADING.fullmatch(first)
        if heading is None:
            raise BadPage(f"{first!r} is no heading of this manual")
        yield Heading(len(heading[1]), heading[2])
    elif first.startswith("|"):
        yield from (_row(line) for line in lines[2:])  # the first names the columns
    elif first.startswith("- "):
        yield _item(" ".join(line.strip() for line in lines)[2:])
    elif first.startswith((" ", "*", ">", "1")):
        raise BadPage(f"{first!r} begins as no block of this manual does")
    else:
        yield Paragraph(inline(" ".join(lines)))


def _row(line: str) -> Item:
    cells = [cell.strip().replace("\\|", "|") for cell in CELL_END.split(line)[1:-1]]
    if len(cells) < 2:
        raise BadPage(f"{line!r} has less than two cells")
    notes = "".join(f" ({note})" for note in cells[1:-1] if note)
    return Item(inline(cells[0] + notes), inline(cells[-1]))


def _item(text: str) -> Item:
    if text.startswith("`"):
        for found in re.finditer(r"`[^`]*`|: ", text):
            if found[0] == ": ":
                return Item(inline(text[: found.start()]), inline(text[found.end() :]))
    return Item((), inline(text))


def inline(text: str) -> Text:
    """Its spans, in order; none is empty."""
    spans, at = [], 0
    for found in INLINE.finditer(text):
        spans.append(Span("", text[at : found.start()]))
        code, bold, slanted, link, target = found.groups()
        spans += [Span("code", code or ""), Span("bold", bold or ""), Span("slanted", slanted or "")]
        spans.append(Span("", f"{link} ({target})" if target and "://" in target else link or ""))
        at = found.end()
    spans.append(Span("", text[at:]))
    return tuple(span for span in spans if span.text)


def plain(text: Text) -> str:
    return "".join(span.text for span in text)
