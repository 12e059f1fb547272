"""Background tasks: `run_x`, started in `mount.py` only, stopped by cancelling."""
