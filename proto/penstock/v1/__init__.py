"""The project's own service, ``penstock.v1.EmbeddingService``."""
