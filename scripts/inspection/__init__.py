"""What scripts.inspect shows: one forward and one backward pass of a model, as a page that opens without a network."""
