"""Documents of OSS, written and read. Pure."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TypeAlias

from tests.oss_server import errors

Content: TypeAlias = "str | int | bool | Mapping[str, Content] | Sequence[Content]"


def document(root: str, content: Content) -> bytes:
    """A mapping becomes elements in its order, a sequence the same element again and again.

    document("A", {"B": ["x", "y"]}) == b"…<A><B>x</B><B>y</B></A>"
    """
    element = ElementTree.Element(root)
    _fill(element, content)
    text: str = ElementTree.tostring(element, encoding="unicode")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode("utf-8", "surrogateescape")


def _fill(element: ElementTree.Element, content: Content) -> None:
    if isinstance(content, Mapping):
        for name, value in content.items():
            several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            for one in several:
                _fill(ElementTree.SubElement(element, name), one)
    elif isinstance(content, bool):
        element.text = "true" if content else "false"
    else:
        element.text = str(content)


def parsed(raw: bytes, root: str) -> ElementTree.Element:
    """Raises MalformedXML."""
    try:
        element = ElementTree.fromstring(raw)
    except ElementTree.ParseError as exc:
        raise errors.malformed_xml() from exc
    if element.tag.rpartition("}")[2] != root:
        raise errors.malformed_xml()
    return element


def text_of(element: ElementTree.Element, path: str, default: str = "") -> str:
    return element.findtext(path) or default


def iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def http_time(seconds: float) -> str:
    return formatdate(int(seconds), usegmt=True)


def error_document(error: errors.OssError, *, request_id: str, host: str) -> bytes:
    facts: dict[str, Content] = {"Code": error.code, "Message": error.message, "RequestId": request_id, "HostId": host}
    return document("Error", facts | error.facts | ({"EC": error.ec} if error.ec else {}))
