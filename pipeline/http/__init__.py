"""The HTTP edge, on Hypercorn and Starlette in Trio: OpenAI's and TEI's routes, and probes."""
