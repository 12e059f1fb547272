"""A page as a man page: the macros of man(7) that every troff knows. Pure."""

from rustfsfs.man.markup import Block, Code, Heading, Item, Page, Paragraph, Text

FONTS = {"code": "B", "bold": "B", "slanted": "I"}


def roff(page: Page) -> str:
    """Ends with a line break."""
    head = [
        f'.\\" Made from {page.name}.{page.section}.md by `make man`: change that.',
        f'.TH {_quoted(page.name.upper())} {page.section} "" rustfsfs "rustfsfs manual"',
        ".SH NAME",
        f"{_escaped(page.name, is_code=True)} \\- {_escaped(page.summary)}",
    ]
    return "\n".join([*head, *(line for block in page.blocks for line in _lines(block))]) + "\n"


def _lines(block: Block) -> list[str]:
    match block:
        case Heading(level, text):
            return [f".SH {_quoted(text.upper())}" if level == 2 else f".SS {_quoted(text)}"]
        case Paragraph(text):
            return [".PP", _text(text)]
        case Code(lines):
            return [".PP", ".RS 4", ".EX", *(_guarded(_escaped(line, is_code=True)) for line in lines), ".EE", ".RE"]
        case Item((), text):
            return [".IP \\(bu 2", _text(text)]
        case Item(term, text):
            return [".TP", _text(term), _text(text)]


def _text(text: Text) -> str:
    parts = []
    for style, words in text:
        escaped = _escaped(words, is_code=style == "code")
        parts.append(f"\\f{FONTS[style]}{escaped}\\fR" if style else escaped)
    return _guarded("".join(parts))


def _escaped(text: str, *, is_code: bool = False) -> str:
    """What is typed keeps its hyphens, quotes and tildes; of text they may become typographic ones."""
    escaped = text.replace("\\", "\\e")
    if is_code:
        for char, name in (("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
            escaped = escaped.replace(char, name)
    return escaped


def _guarded(line: str) -> str:
    """A line that begins like a request is none."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _quoted(text: str) -> str:
    escaped = _escaped(text, is_code=True).replace('"', "\\(dq")
    return f'"{escaped}"'
