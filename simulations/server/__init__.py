"""One simulated server: the real pipeline; edge, device and tokenizer are models."""
