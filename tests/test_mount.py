"""What the composition root does to its own process."""

import gc
import weakref

from rustfsfs.mount import spare_collector


class Node:
    """Garbage that only the collector can free, once it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_left_out_of_collections_and_what_comes_later_is_not() -> None:
    try:
        spare_collector()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1000
        later = weakref.ref(Node())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()
