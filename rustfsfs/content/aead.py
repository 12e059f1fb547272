"""AES-256-GCM (NIST SP 800-38D): the only door to it. Nonces come from the caller; none may repeat under one key."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rustfsfs.errors import DamagedData

KEY_SIZE = 32
NONCE_SIZE = 12  # bytes; 96 bits, SP 800-38D §8.2
TAG_SIZE = 16

Buffer = bytes | bytearray | memoryview


class Aead:
    """One key. Safe to use from several threads; the large calls let go of the GIL."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_SIZE, len(key)
        self._cipher = AESGCM(key)

    def seal(self, nonce: bytes, plain: Buffer, aad: bytes) -> bytes:
        """Ciphertext and tag: len(plain) + TAG_SIZE bytes."""
        return self._cipher.encrypt(nonce, plain, aad)

    def seal_into(self, nonce: Buffer, plain: Buffer, aad: bytes, out: memoryview) -> None:
        """As `seal`, into a buffer of exactly that size, without a copy."""
        self._cipher.encrypt_into(nonce, plain, aad, out)

    def open(self, nonce: Buffer, sealed: Buffer, aad: bytes) -> bytes:
        """The plain bytes. Raises DamagedData: not one bit of it may be used."""
        try:
            return self._cipher.decrypt(nonce, sealed, aad)
        except (InvalidTag, ValueError) as exc:
            raise DamagedData("sealed bytes do not open: damaged, moved, or of another key") from exc

    def open_into(self, nonce: Buffer, sealed: Buffer, aad: bytes, out: memoryview) -> None:
        """As `open`, into a buffer of exactly len(sealed) - TAG_SIZE bytes; what it holds after an error is void."""
        try:
            self._cipher.decrypt_into(nonce, sealed, aad, out)
        except (InvalidTag, ValueError) as exc:
            raise DamagedData("sealed bytes do not open: damaged, moved, or of another key") from exc
