"""How fast background reading goes: within its rate, and out of the foreground's way."""


def rest_s(*, size_bytes: int, took_s: float, rate_bytes_s: int, is_busy: bool) -> float:
    """How long to rest after reading `size_bytes` in `took_s`, so that `rate_bytes_s` is kept (0: no limit).

    While the foreground works, at least as long as the reading took: half of the disk is left to it.
    """
    owed_s = size_bytes / rate_bytes_s - took_s if rate_bytes_s else 0.0
    return max(owed_s, took_s if is_busy else 0.0, 0.0)
