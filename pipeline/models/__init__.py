"""From MODEL_PATH to a local folder with a whole model in it.

:func:`resolve_model` is the door. Nothing here imports torch or is asynchronous:
call it in a thread.
"""

from pipeline.models.errors import ModelError, Unreachable
from pipeline.models.resolve import ResolvedModel, resolve_model

__all__ = ["ModelError", "ResolvedModel", "Unreachable", "resolve_model"]
