"""Every sealing of every life: in no future of a disk does one key see a nonce twice.

A life seals on a disk that earlier lives sealed on. What those sealed before the plug was pulled counts whether it is
still there or not: somebody may have read it before it was lost. What they sealed after that moment never happened. So
two lives after different cuts of one disk do not count against each other, and each does against what came before.

Stricter than AES-GCM needs (SP 800-38D §8): the same bytes under the same nonce would give the same ciphertext and tell
nobody more than that, but nothing of ours seals twice, so it is not allowed; nor does any life seal under a key that an
earlier one used. Pages of the database are sealed by SQLite3MC, with nonces of its own; they do not pass by here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rustfsfs.content import aead
from rustfsfs.content.aead import KEY_SIZE, Buffer

FOR_EVER = 1 << 62  # actions


class Disk(Protocol):
    """What is sealed on: `CrashFiles`."""

    actions: int
    past: "Past"


@dataclass(eq=False)
class Life:
    """What one life sealed."""

    before: "Past"
    pairs: set[bytes] = field(default_factory=set)  # key and nonce
    keys: dict[bytes, int] = field(
        default_factory=dict
    )  # key -> the actions of the disk that came before its first use

    def repeats(self, past: "Past") -> bool:
        """Does it use a key again that somebody in that past used?"""
        return any(_used(key, past) for key in self.keys)


Past = tuple[tuple[Life, int], ...]  # lives, each up to the action before which it was cut off


def _used(key: bytes, past: Past) -> bool:
    return any(key in life.keys and life.keys[key] <= until for life, until in past)


class Watch:
    """Is told of every sealing while `watched`, and whose it is."""

    def __init__(self) -> None:
        self.life: Life | None = None
        self.disk: Disk | None = None  # the one it lives on
        self.repeated: list[str] = []

    def note(self, key: bytes, nonce: bytes) -> None:
        life, disk = self.life, self.disk
        if life is None or disk is None:
            return
        if key + nonce in life.pairs:
            self.repeated.append(f"a key sees the nonce {nonce.hex()} twice in one life, after {disk.actions} actions")
        if key not in life.keys:
            life.keys[key] = disk.actions
            if _used(key, life.before):
                self.repeated.append(f"a key of an earlier life is used again, after {disk.actions} actions")
        life.pairs.add(key + nonce)


WATCH = Watch()


class WatchedCipher:
    """AESGCM, and the watch is told of what it seals."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_SIZE  # then a pair is its bytes one behind the other
        self._key, self._cipher = bytes(key), AESGCM(key)
        self.decrypt, self.decrypt_into = self._cipher.decrypt, self._cipher.decrypt_into

    def encrypt(self, nonce: Buffer, plain: Buffer, aad: bytes) -> bytes:
        WATCH.note(self._key, bytes(nonce))
        return self._cipher.encrypt(nonce, plain, aad)

    def encrypt_into(self, nonce: Buffer, plain: Buffer, aad: bytes, out: memoryview) -> int:
        WATCH.note(self._key, bytes(nonce))
        return self._cipher.encrypt_into(nonce, plain, aad, out)


def begin_life(disk: Disk) -> Life:
    """From now on it is another life that seals, on this disk."""
    life = WATCH.life = Life(disk.past)
    WATCH.disk = disk
    disk.past = (*disk.past, (life, FOR_EVER))
    return life


@contextmanager
def watched() -> Iterator[None]:
    """Raises AssertionError at the end if a life of the block used a nonce or a key again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aead, "AESGCM", WatchedCipher)
        for name, value in vars(Watch()).items():
            patch.setattr(WATCH, name, value)
        try:
            yield
        finally:
            assert not WATCH.repeated, WATCH.repeated[0]
