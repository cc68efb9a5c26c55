"""From MODEL_PATH to a warm model.

:func:`resolve_model` gives a local folder with a complete model in it. It neither imports
torch nor is asynchronous: call it in a thread. :mod:`pipeline.models.loading` makes it serve.
"""

from pipeline.models.errors import NoModel, Unreachable
from pipeline.models.resolve import ResolvedModel, resolve_model

__all__ = ["NoModel", "ResolvedModel", "Unreachable", "resolve_model"]
