"""What `rustfsfs doctor` makes of what it found: facts in, findings out. Pure; `service` gathers the facts."""
