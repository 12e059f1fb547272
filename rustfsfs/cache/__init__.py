"""Bounded caches of decoded bytes."""
