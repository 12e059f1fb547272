"""The library's face: `Volume`, a frozen bundle of parts, and its verbs as modules."""
