"""What the tokenizer's thread is asked to do, besides turning texts into ids."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray


@frozen(eq=False)
class BareTexts:
    """Texts whose ids are wanted without special tokens: int32 [length] each."""

    texts: Sequence[str]


@frozen(eq=False)
class Spelling:
    """Texts whose tokens are wanted, a :class:`stages.data.token_list.TokenList` each.

    ``special``: with special tokens.
    """

    texts: Sequence[str]
    special: bool


@frozen(eq=False)
class Decoding:
    """Ids, int32 [length] each, whose text is wanted; ``special``: with special tokens."""

    ids: Sequence[NDArray[np.int32]]
    special: bool


TokenizerWork: TypeAlias = Sequence[str] | BareTexts | Spelling | Decoding
