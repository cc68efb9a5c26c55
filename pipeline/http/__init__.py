"""The HTTP face, on Hypercorn and Starlette in Trio: OpenAI's routes, health and metrics."""
