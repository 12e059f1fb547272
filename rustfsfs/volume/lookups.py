"""How often the front end was given each inode: FUSE's lookup count, in about a byte for each inode that it knows."""

PAGE_BITS = 12
COUNT_MAX = 255  # in the byte; what is above lies beside


class Lookups:
    """An inode is known while its count is above 0. A kernel may know millions: a dict would take 100 bytes each."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}  # inode >> PAGE_BITS -> counts
        self._known: dict[int, int] = {}  # page -> inodes in it that are known
        self._above: dict[int, int] = {}  # inode -> lookups above COUNT_MAX

    def add(self, inode: int) -> None:
        """It was given out once more."""
        number, at = inode >> PAGE_BITS, inode & ((1 << PAGE_BITS) - 1)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = bytearray(1 << PAGE_BITS)
            self._known[number] = 0
        if page[at] == COUNT_MAX:
            self._above[inode] = self._above.get(inode, 0) + 1
            return
        if not page[at]:
            self._known[number] += 1
        page[at] += 1

    def count(self, inode: int) -> int:
        page = self._pages.get(inode >> PAGE_BITS)
        return 0 if page is None else page[inode & ((1 << PAGE_BITS) - 1)] + self._above.get(inode, 0)

    def forget(self, inode: int, count: int) -> int:
        """So many lookups are forgotten; returns how many are left."""
        before = self.count(inode)
        left = max(0, before - count)
        if not before:
            return 0
        number, at = inode >> PAGE_BITS, inode & ((1 << PAGE_BITS) - 1)
        self._pages[number][at] = min(left, COUNT_MAX)
        if left > COUNT_MAX:
            self._above[inode] = left - COUNT_MAX
        else:
            self._above.pop(inode, None)
        if not left:
            self._known[number] -= 1
            if not self._known[number]:
                del self._pages[number], self._known[number]
        return left
