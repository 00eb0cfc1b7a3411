"""The textbook: each layer as plain array code, a family a file, forward directly above backward."""
