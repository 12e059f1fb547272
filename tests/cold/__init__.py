"""The cold tier end to end: the command line, real mounts, and the test server as the bucket."""
