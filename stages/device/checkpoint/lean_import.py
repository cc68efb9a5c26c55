"""Imports without what serving does not need: scipy and, on a CPU, torch's compiler.

transformers imports scipy (40 MB) for the losses of vision models, and up to 5.17
scikit-learn, which needs scipy, for a way to generate text. It imports torch's compiler
for a few decorators and one context manager, and sharded tensors where torch was built
with them: 40 MB and 0.7 s of a start, and a model on a CPU never calls either. While
transformers is imported for one, torch says that it was built without
``torch.distributed``, as it is for some systems, and stand-ins take the compiler's place:
what they decorate is left as it is. Afterwards all is as before, so whoever asks for the
compiler gets it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any, Final

COMPILER: Final = "torch._dynamo"
INDEXING: Final = "torch._dynamo._trace_wrapped_higher_order_op"
OF_MODELS: Final = "transformers.generation.utils"  # what most models' own modules import
MARKS: Final = ("allow_in_graph", "assume_constant_result", "disable")  # of torch.compiler


def import_lean(module: str, *, compiler: bool) -> None:
    """Import ``module`` and transformers; in full where they cannot do without.

    ``compiler``: with all that compiling needs.
    """
    try:
        with hidden("scipy"), hidden("sklearn"), nullcontext() if compiler else without_compiler():
            import_module(module)
            import_module(OF_MODELS)
    except (ImportError, AttributeError):  # a transformers that needs more than the stand-ins
        import_module(module)


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Let ``package`` look as if it were not installed, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # what import takes for "not there"
    try:
        yield
    finally:
        del sys.modules[package]


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let torch look as if it could neither compile nor shard, unless its compiler is loaded."""
    import torch  # noqa: PLC0415 (it reads the environment once)

    if COMPILER in sys.modules:
        yield
        return
    available = torch.distributed.is_available
    torch.distributed.is_available = lambda: False
    sys.modules[COMPILER] = _stand_in(COMPILER, **dict.fromkeys(MARKS, _unmarked))
    sys.modules[INDEXING] = _stand_in(INDEXING, TransformGetItemToIndex=_item_as_index)
    try:
        yield
    finally:
        del sys.modules[COMPILER], sys.modules[INDEXING]
        torch.distributed.is_available = available


def _stand_in(name: str, **functions: Callable[..., Any]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(functions)
    return module


def _unmarked(function: Any = None, *_: object, **__: object) -> Any:
    """In place of a decorator, with or without arguments: the function as it is."""
    return _unmarked if function is None else function


def _item_as_index() -> AbstractContextManager[None]:
    """The compiler's own, imported when masks are first made with it."""
    made: AbstractContextManager[None] = import_module(INDEXING).TransformGetItemToIndex()
    return made
