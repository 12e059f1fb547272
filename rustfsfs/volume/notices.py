"""What a person at a terminal should hear while a command works: `notice.warning("one sentence")`. It is logged too."""

import logging

notice = logging.getLogger("rustfsfs.notice")  # a child of `volume.log`
