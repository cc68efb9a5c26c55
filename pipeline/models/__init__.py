"""From MODEL_PATH to a warm model.

:func:`resolve_model` gives a local folder with a whole model in it. It neither imports torch
nor is asynchronous: call it in a thread. :mod:`pipeline.models.loading` makes it serve.
"""

from pipeline.models.errors import ModelError, Unreachable
from pipeline.models.resolve import ResolvedModel, resolve_model

__all__ = ["ModelError", "ResolvedModel", "Unreachable", "resolve_model"]
