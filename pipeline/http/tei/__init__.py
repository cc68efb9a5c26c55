"""Text Embeddings Inference's routes: its clients work unchanged."""
