"""The model's own tokenizer: texts to unpadded, untruncated token ids.

Cutting to the model's maximum is done later (:mod:`stages.text.token_rules`), so that
callers learn how long their texts are. Runs in the tokenizing thread, or, where that is
sooner, in Trio's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import frozen
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Normalizers

from stages.data.arrays import Int32
from stages.data.token_list import TokenList
from stages.text.pairs import PairTemplate
from stages.text.tokenizer_work import BareTexts, Decoding, Spelling, TokenizerWork

BRIEF_CHARACTERS: Final = 512  # 0.1 ms of English, 0.15 ms in words of five letters


@frozen(eq=False)
class TextTokenizer:
    """A loaded tokenizer.

    ``vocabulary`` counts its ids, ``base_vocabulary`` those that no token was added for.
    """

    vocabulary: int
    base_vocabulary: int
    prefix: tuple[int, ...]  # special ids before and after every text
    suffix: tuple[int, ...]
    pairs: PairTemplate | None  # None: it says nothing of pairs
    _tokenizer: Any
    _lower_case: bool  # texts, for a tokenizer that is not told to do so itself

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        control_tokens: Sequence[str] = (),
        lower_case: bool = False,
        trust_remote_code: bool = False,
    ) -> "TextTokenizer":
        """Load from a checkpoint folder; ``control_tokens`` are added as specials.

        Raises OSError when the folder holds no usable tokenizer.
        """
        tokenizer = _from_files(folder, trust_remote_code)
        if control_tokens:
            tokenizer.add_special_tokens(
                {"additional_special_tokens": list(control_tokens)}
                if "additional_special_tokens" in tokenizer.SPECIAL_TOKENS_ATTRIBUTES
                else {"extra_special_tokens": list(control_tokens)},
                replace_extra_special_tokens=False,
            )
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
            if lower_case:  # special tokens in a text stay whole
                own = [] if backend.normalizer is None else [backend.normalizer]
                backend.normalizer = Normalizers([Lowercase(), *own])
        prefix, suffix = _template(tokenizer)
        return cls(
            vocabulary=len(tokenizer),
            base_vocabulary=tokenizer.vocab_size,
            prefix=prefix,
            suffix=suffix,
            pairs=None
            if backend is None
            else _pair_template(backend, typed="token_type_ids" in tokenizer.model_input_names),
            tokenizer=tokenizer if backend is None else backend,
            lower_case=lower_case and backend is None,
        )

    def is_brief(self, work: TokenizerWork) -> bool:
        """Whether ``work`` takes about as long as a trip to a thread and back, or less.

        Only where the tokenizer is compiled: others take longer.
        """
        return (
            isinstance(work, list)
            and sum(map(len, work)) <= BRIEF_CHARACTERS
            and hasattr(self._tokenizer, "encode_batch_fast")
        )

    def run(self, work: TokenizerWork) -> Sequence[Any]:
        """What ``work`` asks for, one element per item."""
        match work:
            case BareTexts():
                return self.encode(work.texts, special=False)
            case Spelling():
                return self.spell(work.texts, special=work.special)
            case Decoding():
                return self.decode(work.ids, special=work.special)
            case _:
                return self.encode(work)

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[Int32]:
        """Ids of each text, int32 [length]; ``special``: special tokens included."""
        if hasattr(self._tokenizer, "encode_batch_fast"):
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=special)
            return [np.array(encoding.ids, np.int32) for encoding in encodings]
        given = [text.lower() for text in texts] if self._lower_case else list(texts)
        rows = self._tokenizer(given, truncation=False, padding=False, add_special_tokens=special)[
            "input_ids"
        ]
        return [np.array(row, np.int32) for row in rows]

    def spell(self, texts: Sequence[str], *, special: bool) -> list[TokenList]:
        """The tokens of each text; ``special``: special tokens included.

        Raises ValueError for a tokenizer that does not tell where its tokens are in the text.
        """
        if not hasattr(self._tokenizer, "encode_batch"):
            raise ValueError("this model's tokenizer does not tell where tokens are in a text")
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=special)
        return [
            TokenList(
                utf8=text.encode(),
                ids=encoding.ids,
                names=encoding.tokens,
                special=[bool(mark) for mark in encoding.special_tokens_mask],
                starts=places[[start for start, _ in encoding.offsets]].tolist(),
                stops=places[[stop for _, stop in encoding.offsets]].tolist(),
            )
            for text, encoding in zip(texts, encodings, strict=True)
            for places in (_byte_places(text),)
        ]

    def decode(self, ids: Sequence[Int32], *, special: bool) -> list[str]:
        """The text of each item; ``special``: with its special tokens."""
        decode = self._tokenizer.decode
        return [decode(item.tolist(), skip_special_tokens=not special) for item in ids]

    def token_ids(self, tokens: Sequence[str]) -> list[int]:
        """The ids of whole tokens, as settings name them.

        Raises ValueError naming a token that the vocabulary lacks.
        """
        lookup = getattr(self._tokenizer, "token_to_id", None)
        lookup = lookup or self._tokenizer.get_vocab().get
        ids = [lookup(token) for token in tokens]
        for token, token_id in zip(tokens, ids, strict=True):
            if token_id is None:
                raise ValueError(f"the tokenizer knows no token {token!r}")
        return ids


def _from_files(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer as transformers loads it, which for a folder without one is an empty one."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - heavy, and only a server needs it

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # of many classes, from several libraries
        reason = (str(error).splitlines() or [""])[0]
        raise OSError(f"{folder} has no usable tokenizer: {reason}") from error
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise OSError(f"{folder} has no usable tokenizer: its files are missing or empty")
    return tokenizer


def _pair_template(backend: Any, *, typed: bool) -> PairTemplate | None:
    """The special ids around and between two texts; None where their form is not known.

    ``typed``: the model was trained with token types.
    """
    bare = backend.encode("a", add_special_tokens=False).ids
    pair = backend.encode("a", "a")
    first, second = (
        [place for place, owner in enumerate(pair.sequence_ids) if owner == text] for text in (0, 1)
    )
    if not bare or len(first) != len(bare) or len(second) != len(bare):
        return None
    ids, types = pair.ids, pair.type_ids
    single = sum(kind == 0 for kind in types)  # tokens of the first text's type
    if types != [0] * single + [1] * (len(types) - single):
        return None
    if not (first[-1] < single <= second[0] or single == len(types)):
        return None
    between = slice(first[-1] + 1, second[0])
    return PairTemplate(
        tuple(ids[: first[0]]),
        tuple(ids[between]),
        tuple(ids[second[-1] + 1 :]),
        single - between.start if typed and single < len(types) else None,
    )


def _template(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special ids that surround every text: what an empty text has, split where a text goes."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if bare and full[start : start + len(bare)] == bare:
            return tuple(full[:start]), tuple(full[start + len(bare) :])
    return (), ()


def _byte_places(text: str) -> Int32:
    """Where each character begins in the text's UTF-8, and its end: int32 [characters + 1]."""
    code_points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    sizes = 1 + sum((code_points >= first).astype(np.int32) for first in (0x80, 0x800, 0x10000))
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
