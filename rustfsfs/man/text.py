"""A page as plain text, as wide as it is asked for. Pure."""

import textwrap

from rustfsfs.man.markup import Block, Code, Heading, Item, Page, Paragraph, plain

INDENT, DEEP = " " * 4, " " * 8
WIDTH_MIN, WIDTH_MAX = 40, 100  # columns; longer lines are hard to read


def text(page: Page, *, width: int = 80) -> str:
    """Ends with a line break. Lines of code are as long as they are."""
    columns = max(WIDTH_MIN, min(width, WIDTH_MAX))
    title = f"{page.name}({page.section}): {page.summary}"
    parts = [_wrapped(title, columns, "", INDENT), *(_shown(block, columns) for block in page.blocks)]
    return "\n\n".join(parts) + "\n"


def section(page: Page, heading: str) -> Page | None:
    """Of the page only what stands below the heading of that text, with it; None: there is none."""
    begin = next((no for no, one in enumerate(page.blocks) if isinstance(one, Heading) and one.text == heading), None)
    if begin is None:
        return None
    level = page.blocks[begin]
    assert isinstance(level, Heading)
    end = begin + 1
    while end < len(page.blocks):
        block = page.blocks[end]
        if isinstance(block, Heading) and block.level <= level.level:
            break
        end += 1
    return page._replace(blocks=page.blocks[begin:end])


def _shown(block: Block, width: int) -> str:
    match block:
        case Heading(2, words):
            return words.upper()
        case Heading(_, words):
            return f"  {words}"
        case Paragraph(words):
            return _wrapped(plain(words), width, INDENT, INDENT)
        case Code(lines):
            return "\n".join(f"{DEEP}{line}".rstrip() for line in lines)
        case Item((), words):
            return _wrapped(plain(words), width, f"{INDENT}* ", f"{INDENT}  ")
        case Item(term, words):
            return f"{_wrapped(plain(term), width, INDENT, DEEP)}\n{_wrapped(plain(words), width, DEEP, DEEP)}"


def _wrapped(words: str, width: int, first: str, others: str) -> str:
    return textwrap.fill(
        words,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
