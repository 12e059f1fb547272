"""`make man`: every page's man page, written beside it."""

from rustfsfs.man.pages import FOLDER, TOPICS, page
from rustfsfs.man.roff import roff

for file in TOPICS.values():
    (FOLDER / file).write_text(roff(page(file)), encoding="ascii")
