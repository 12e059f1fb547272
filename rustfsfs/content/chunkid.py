"""The name of a chunk: keyed BLAKE3 of its plain bytes. Nobody without the key can tell what is stored from it."""

from blake3 import blake3

from rustfsfs.units import ChunkId

ID_SIZE = 32


def chunk_id(plain: bytes | bytearray | memoryview, key: bytes) -> ChunkId:
    return ChunkId(blake3(plain, key=key).digest())
