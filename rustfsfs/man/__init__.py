"""The manual: pages in Markdown (*.md) beside this file, and what makes man pages and plain text of them.

The man pages (*.[1-8]) are made by `make man` and kept, so that whatever installs files needs nothing else.
"""
