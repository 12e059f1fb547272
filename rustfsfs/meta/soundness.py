"""Does SQLite itself find a database whole? What the rows say of each other is `meta.checks`' question."""

import apsw

from rustfsfs.errors import DamagedMetadata, StoreUnavailable
from rustfsfs.meta.database import Metadata


def is_sound(metadata: Metadata) -> bool:
    """Every page can be read, and opens, and every tree hangs together. Reads the whole file."""
    try:
        return metadata.rows("PRAGMA quick_check(1)") == [("ok",)]
    except (DamagedMetadata, StoreUnavailable, apsw.Error):
        return False
