"""`python -m rustfsfs`."""

from rustfsfs.cli.main import main

main()
