"""SQLite: schema, plain functions on a connection, and `apply(op)`, the only code that changes metadata."""
