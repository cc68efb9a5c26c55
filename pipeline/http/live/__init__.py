"""The live page at ``/``: the pipeline as it works, in a browser."""
