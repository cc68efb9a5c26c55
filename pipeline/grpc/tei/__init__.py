"""``tei.v1``: clients of Text Embeddings Inference work unchanged."""
