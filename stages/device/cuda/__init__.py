"""What is done only on a GPU: graphs, pinned memory, batches launched without waiting."""
