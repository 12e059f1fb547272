"""make test-apps: real programs on the mount, one module each; `__main__` has the table.

Each covers something and returns how much of it, or raises AssertionError; what it needs is listed, never left out.
"""
