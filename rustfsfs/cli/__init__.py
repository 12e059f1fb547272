"""The command line: one module per command; click declares, plain functions do the work."""
