"""What runs in the guest, with Debian's Python and its standard library only."""
