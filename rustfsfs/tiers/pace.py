"""How fast background reading goes: within its rate, and out of the foreground's way."""


def rest_s(*, size_bytes: int, took_s: float, rate_bytes_s: int, is_busy: bool) -> float:
    """How long to rest after reading `size_bytes` in `took_s`, so that `rate_bytes_s` is kept (0: no limit).

    While the foreground works, at least as long as the reading took: half of the disk is left to it.
    """
    owed_s = size_bytes / rate_bytes_s - took_s if rate_bytes_s else 0.0
    return max(owed_s, took_s if is_busy else 0.0, 0.0)


# Pages that COMMIT should write. 1 000 took 5 to 7 ms, at most 13 (measured where a sync takes 0.2 ms).
EPOCH_PAGES = 400
EPOCH_ROWS_MIN, EPOCH_ROWS_MAX = 250, 3000


def epoch_rows(before: int, *, rows: int, pages: int) -> int:
    """After how many rows the next epoch is due, not `before` as it was, now that COMMIT wrote `pages` for `rows`.

    Names in one directory share their pages, changes all over millions of inodes have a page or more each. Counted in
    pages and not in time: a disk whose every sync is slow would otherwise be asked for ever more of them.
    """
    if rows < EPOCH_ROWS_MIN:
        return before  # too few to tell
    return max(EPOCH_ROWS_MIN, min(EPOCH_ROWS_MAX, rows * EPOCH_PAGES // max(pages, 1)))
