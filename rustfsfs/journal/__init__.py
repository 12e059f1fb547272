"""The journal: sealed records in preallocated segments. It knows bytes and addresses; what an op means it does not."""
