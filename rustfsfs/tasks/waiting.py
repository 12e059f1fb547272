"""Waiting for a wish or the next round, whichever comes first."""

import trio

from rustfsfs.volume.volume import Wishes


async def wait_for_wish(wishes: Wishes, name: str, seconds: float) -> bool:
    """True when the wish `name` was made before `seconds` passed; it counts as seen then."""
    event: trio.Event = getattr(wishes, name)
    with trio.move_on_after(seconds):
        await event.wait()
    if event.is_set():
        setattr(wishes, name, trio.Event())
        return True
    return False
