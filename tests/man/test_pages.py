"""Every page is there, is what its man page was made of, refers to pages that there are, and renders without a word."""

import re
import shutil
import subprocess

import pytest

from rustfsfs.man.markup import Item, Paragraph
from rustfsfs.man.pages import FOLDER, TOPICS, page, source, topic_of
from rustfsfs.man.roff import roff

FOREIGN = {"mount(8)", "fstab(5)", "man(1)", "sync(1)"}  # pages of others
MANUAL = [*TOPICS.values()]


@pytest.mark.parametrize("file", MANUAL)
def test_the_man_page_is_made_of_the_page(file: str) -> None:
    assert (FOLDER / file).read_text() == roff(page(file)), "make man"


@pytest.mark.parametrize("file", MANUAL)
def test_name_and_section_are_those_of_the_file(file: str) -> None:
    found = page(file)
    assert f"{found.name}.{found.section}" == file


@pytest.mark.parametrize("file", MANUAL)
def test_it_renders_without_a_warning(file: str) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is missing; make setup installs it")
    done = subprocess.run([groff, "-ww", "-man", "-Tascii", "-z", FOLDER / file], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("file", MANUAL)
def test_what_it_refers_to_is_there(file: str) -> None:
    known = {f"{found.name}({found.section})" for found in map(page, MANUAL)} | FOREIGN
    assert set(re.findall(r"[a-z.-]+\([1-8]\)", source(file))) <= known


@pytest.mark.parametrize("file", MANUAL)
def test_it_is_ascii_and_all_its_markup_was_understood(file: str) -> None:
    assert source(file).isascii()
    for block in page(file).blocks:
        if isinstance(block, Paragraph | Item):
            spans = block.text if isinstance(block, Paragraph) else (*block.term, *block.text)
            assert not [span for span in spans if span.style != "code" and re.search(r"[`*]|\]\(", span.text)]


def test_there_are_no_other_pages() -> None:
    assert {path.name for path in FOLDER.glob("*.[1-8]")} == set(MANUAL)
    assert {path.name for path in FOLDER.glob("*.md")} == {f"{file}.md" for file in MANUAL}


@pytest.mark.parametrize("word", ["ecs", "rustfsfs-ecs", "rustfsfs-ecs.7", "rustfsfs-ecs(7)", "ECS"])
def test_a_page_has_several_names(word: str) -> None:
    assert topic_of(word) == "ecs"


@pytest.mark.parametrize(("word", "want"), [("rustfsfs", "commands"), ("rustfsfs.toml", "settings"), ("bcs", None)])
def test_topics(word: str, want: str | None) -> None:
    assert topic_of(word) == want
