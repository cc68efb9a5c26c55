"""A small random BERT; one token's embedding may be made not a number."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

POISON_ID = 60  # in the upper quarter, from which the self-check at the start takes no ids
VOCABULARY = 64
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_checkpoint(
    folder: Path, *, poisoned: bool = False, kind: str = "BertModel", **changes: object
) -> None:
    """A checkpoint in which a word is a token: w5 ... w63. POISON_ID is NaN when ``poisoned``.

    ``kind`` is a class of transformers, ``changes`` are to its config.
    """
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=64, initializer_range=0.2,
        **changes,
    )  # fmt: skip
    model = getattr(transformers, kind)(config)
    if poisoned:
        model.embeddings.word_embeddings.weight.data[POISON_ID] = torch.nan
    model.save_pretrained(folder)
    words = (*SPECIALS, *(f"w{number}" for number in range(len(SPECIALS), VOCABULARY)))
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **dict(zip(names, SPECIALS, strict=True)),
    ).save_pretrained(folder)
