"""PURE: extents, cutting, names of chunks, frames, keys. Bytes in, bytes out; no file, no clock, no randomness."""
